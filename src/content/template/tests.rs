use super::*;
use serde_json::json;

/// A directory with these files; the first is the template.
fn load(files: &[(&str, &str)]) -> Result<Template, Vec<String>> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut read = BTreeMap::new();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    let file = directory.path().join(files[0].0);
    Template::load("template of target `/t`", &file, &mut read).map_err(|errors| {
        let lines = errors.into_iter().map(|error| {
            let shown = error.to_string();
            let shown = shown.replace(&format!("{}/", directory.path().display()), "");
            format!("{shown} {:?}", error.at)
        });
        lines.collect()
    })
}

fn rendered(files: &[(&str, &str)], config: Value) -> Result<String, String> {
    let template = load(files).expect("a template");
    let bytes = template.render(Some(&config), &[("p", Some(&config)), ("absent", None)])?;
    Ok(String::from_utf8(bytes).expect("UTF-8"))
}

fn one(source: &str, config: Value) -> Result<String, String> {
    rendered(&[("t.j2", source)], config)
}

#[test]
fn a_template_keeps_its_newline_its_characters_and_the_order_of_keys() {
    let source = "{% for key, value in config.limits|items %}{{ key }} <{{ value }}> {{ profiles['p'].name }};\n{% endfor %}\n";
    assert_eq!(
        one(
            source,
            json!({"limits": {"z": 1.5, "a": true}, "name": "a&'\"b"})
        ),
        Ok("z <1.5> a&'\"b;\na <true> a&'\"b;\n\n".to_owned())
    );
}

#[test]
fn values_print_as_json_and_strings_bare() {
    assert_eq!(
        one(
            "{{ config.a }} {{ config.b }} {{ config.c }} {{ config.d }} {{ config.e }}{{ 'x' if config.b }}",
            json!({"a": "\"é'", "b": false, "c": null, "d": [true, "x", {"k": 1}], "e": 18446744073709551615u64})
        ),
        Ok("\"é' false null [true,\"x\",{\"k\":1}] 18446744073709551615".to_owned())
    );
}

#[test]
fn an_undefined_value_names_template_line_and_expression() {
    for (source, message) in [
        (
            "a\nb\n{{ config.rate }}",
            "template `t.j2` line 3: undefined value: `config.rate`",
        ),
        (
            "{{ config.a.b.c }}",
            "template `t.j2` line 1: undefined value: `config.a.b`",
        ),
        (
            "{{ profiles['q'] }}",
            "template `t.j2` line 1: undefined value: `profiles['q']`",
        ),
        (
            "\n{{ other + 1 }}",
            "template `t.j2` line 2: undefined value: `other`",
        ),
        (
            "{% if config.rate %}x{% endif %}",
            "template `t.j2` line 1: undefined value: `config.rate`",
        ),
        (
            "{% for x in config.rate %}x{% endfor %}",
            "template `t.j2` line 1: undefined value: `config.rate`",
        ),
        (
            "{{ config.rate|tojson }}",
            "template `t.j2` line 1: undefined value: `config.rate`",
        ),
        (
            "{{ config.rate|upper }}",
            "template `t.j2` line 1: undefined value: `config.rate`",
        ),
    ] {
        assert_eq!(
            one(source, json!({"a": {"s": "hidden"}})),
            Err(message.to_owned()),
            "{source}"
        );
    }
}

#[test]
fn undefined_is_an_error_everywhere_but_where_it_is_asked_for() {
    let source =
        "{{ config.rate|default(5) }} {{ config.rate is defined }} {{ profiles.absent is none }}";
    assert_eq!(one(source, json!({})), Ok("5 false true".to_owned()));
}

#[test]
fn several_profiles_without_merge_have_no_config_and_the_message_says_so() {
    let template = load(&[("t.j2", "{{ config.a }}")]).expect("a template");
    let value = json!({"a": 1});
    let failure = template.render(None, &[("p", Some(&value)), ("q", Some(&value))]);
    assert_eq!(
        failure,
        Err("template `t.j2` line 1: undefined value: `config`; \
             `config` needs one profile or `merge: true`, several are `profiles['NAME']`"
            .to_owned())
    );
}

#[test]
fn a_failure_inside_an_include_names_the_included_template() {
    let files = [
        ("t.j2", "{% include 'parts/a.j2' %}"),
        ("parts/a.j2", "x\n{% include 'parts/b.j2' %}"),
        ("parts/b.j2", "\n\n{{ config.rate }}"),
    ];
    assert_eq!(
        rendered(&files, json!({})),
        Err("template `parts/b.j2` line 3: undefined value: `config.rate`".to_owned())
    );
    assert_eq!(
        rendered(&files, json!({"rate": 3})),
        Ok("x\n\n\n3".to_owned())
    );
}

#[test]
fn no_failure_quotes_a_value() {
    let config = json!({"s": "hidden", "l": ["hidden"], "o": {"k": "hidden"}});
    let mut failures = 0;
    for source in [
        "{{ config.s|int }}",
        "{{ config.s + 1 }}",
        "{{ config.s - config.l }}",
        "{{ config.s() }}",
        "{{ config.s.missing() }}",
        "{{ config.o[config.s].x }}",
        "{{ config.s|float }}",
        "{{ config.l|sum }}",
        "{{ 'x' is divisibleby(config.s) }}",
        "{{ '%d'|format(config.s) }}",
        "{% include config.s %}",
        "{% set a, b = config.l %}",
        "{{ range(config.s) }}",
        "{{ config|attr(config.s) + 1 }}",
        "{{ config.s|tojson(indent=config.s) }}",
        "{{ config.l|batch(config.s) }}",
        "{{ dict(config.s) }}",
        "{{ config.l|map(config.s)|list }}",
        "{{ config.l|select(config.s)|list }}",
        "{{ config.l|map(attribute=config.s)|join + 1}}",
        "{{ config.l|sort(attribute=config.s) + 1 }}",
    ] {
        let Err(failure) = one(source, config.clone()) else {
            continue;
        };
        failures += 1;
        assert!(!failure.contains("hidden"), "{source}: {failure}");
        assert!(failure.starts_with("template `t.j2` line 1: "), "{failure}");
    }
    assert!(failures > 15, "{failures}");
}

#[test]
fn a_value_that_a_template_nests_in_a_loop_ends_no_process_however_deep_it_is() {
    let nest = "{% set ns = namespace(of=[]) %}{% for item in config %}{% set ns.of = [ns.of] %}{% endfor %}";
    let levels = 20_000;
    let rendered = |end: &str| one(&format!("{nest}{end}"), json!(vec![0; levels]));
    assert_eq!(rendered("deep"), Ok("deep".to_owned()));
    let brackets = (levels + 1) * 2;
    assert_eq!(
        rendered("{{ (ns.of ~ '')|length }}"),
        Ok(brackets.to_string())
    );
    let refused = rendered("{{ ns.of }}").expect_err("no file is so deep");
    assert!(refused.contains("t.j2"), "{refused}");
}

#[test]
fn work_recursion_and_output_are_bounded() {
    for (source, message) in [
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}",
            "does more work",
        ),
        ("{{ 'x' * 999999999 }}", "does more work"),
        (
            "{% set n = namespace(l=[1]) %}{% for a in range(100) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l|tojson }}",
            "does more work",
        ),
        (
            "{% set n = namespace(l=[1]) %}{% for a in range(500) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
            "could not serialize",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "recursion limit exceeded",
        ),
        ("{% include 't.j2' %}", "recursion limit exceeded"),
        (
            "{% for a in range(9) %}{{ 'x' * 2000000 }}{% endfor %}",
            "writes more than 16 MiB",
        ),
    ] {
        let failure = one(source, json!({})).expect_err(source);
        assert!(failure.contains(message), "{source}: {failure}");
    }
}

#[test]
fn a_template_reaches_no_file_but_those_below_its_directory_that_it_names() {
    for (source, error) in [
        (
            "\n{% include '../x' %}",
            "template of target `/t` `t.j2`: `../x` is not a path below the template's directory Some((2, 1))",
        ),
        (
            "{% include '/etc/hostname' %}",
            "template of target `/t` `t.j2`: `/etc/hostname` is not a path below the template's directory Some((1, 1))",
        ),
        (
            "{% include 'gone' %}",
            "template of target `/t` `t.j2`: cannot load `gone`: cannot read it: No such file or directory (os error 2); put the file there, or correct the path that leads to it Some((1, 1))",
        ),
    ] {
        assert_eq!(
            load(&[("t.j2", source)]).err(),
            Some(vec![error.to_owned()])
        );
    }
    assert!(one("{% include 'gone' ignore missing %}x", json!({})).is_ok_and(|text| text == "x"));
    let chosen = rendered(
        &[("t.j2", "{% include config.name %}"), ("other", "other")],
        json!({"name": "other"}),
    );
    let message = "template `t.j2` line 1: no such template is loaded";
    assert!(
        chosen
            .as_ref()
            .is_err_and(|failure| failure.starts_with(message)),
        "{chosen:?}"
    );
    assert!(one("{{ debug() }}", json!({})).is_err());
    assert!(one("{{ env('HOME') }}", json!({})).is_err());
}

#[test]
fn a_template_that_does_not_compile_says_where() {
    let errors = load(&[("t.j2", "a\n  {% if x %}\n{{ + }}")]).err();
    let error = errors
        .and_then(|errors| errors.into_iter().next())
        .expect("an error");
    assert!(
        error.starts_with("template of target `/t` `t.j2`: "),
        "{error}"
    );
    assert!(error.ends_with("Some((3, 4))"), "{error}");
    let missing = Template::load("x", Path::new("/nonexistent/t.j2"), &mut BTreeMap::new());
    assert!(missing.is_err_and(|errors| errors[0].at.is_none()));
    let directory = tempfile::tempdir().expect("a directory");
    let folder = Template::load("x", directory.path(), &mut BTreeMap::new());
    assert!(folder.is_err_and(|errors| errors[0].message.starts_with("not a regular file")));
}

#[test]
fn json_and_yaml_are_written_without_escapes_for_html() {
    let config = json!({"z": "<a&'b>", "l": [1, {"on": "no"}]});
    assert_eq!(
        one("{{ config|tojson }}", config.clone()),
        Ok(r#"{"z":"<a&'b>","l":[1,{"on":"no"}]}"#.to_owned())
    );
    assert_eq!(
        one("{{ config.l|tojson(indent=1) }}", config.clone()),
        Ok("[\n 1,\n {\n  \"on\": \"no\"\n }\n]".to_owned())
    );
    assert_eq!(
        one("{{ config.l|toyaml }}!", config),
        Ok("- 1\n- \"on\": \"no\"!".to_owned())
    );
}
