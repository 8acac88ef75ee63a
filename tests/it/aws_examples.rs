//! `examples/aws`: what can be said of it without AWS. The policy allows what `doctor` asks for and no more, the instance's
//! settings pass `check`, the agent there asks where metrics are told, the Terraform files are what terraform would write.

use std::process::Command;

use serde_json::Value;

use crate::skip::skip;
use crate::sources::root;
use crate::world::{World, stderr, stdout};

fn example(name: &str) -> String {
    std::fs::read_to_string(root().join("examples/aws").join(name)).unwrap()
}

/// What the program asks for when it may not read, by its source.
fn demanded() -> Vec<String> {
    let source = std::fs::read_to_string(root().join("src/cli/doctor/permission.rs")).unwrap();
    let (_, rest) = source.split_once("const ACTIONS: &str =").unwrap();
    let (actions, _) = rest.split_once(';').unwrap();
    actions_in(actions)
}

/// `appconfig:…` in the order of their names.
fn actions_in(text: &str) -> Vec<String> {
    let mut actions: Vec<String> = text
        .match_indices("appconfig:")
        .map(|(at, _)| {
            let end = text[at..].find(|c: char| c != ':' && !c.is_ascii_alphanumeric());
            text[at..][..end.unwrap()].to_owned()
        })
        .collect();
    actions.sort();
    actions
}

/// A file that the user data writes.
fn written(path: &str) -> String {
    let user_data = example("cloud-init.yaml");
    let start = format!("  - path: {path}\n");
    let (_, rest) = user_data.split_once(&start).expect(path);
    let (_, rest) = rest.split_once("    content: |\n").unwrap();
    let lines = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("      "));
    lines
        .map(|line| format!("{}\n", line.get(6..).unwrap_or_default()))
        .collect()
}

#[test]
fn the_policies_allow_what_doctor_asks_for_and_no_more() {
    let demanded = demanded();
    assert_eq!(demanded.len(), 2, "{demanded:?}");
    let policy: Value = serde_json::from_str(&example("iam-policy.json")).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(
        (policy["Version"].as_str(), statements.len()),
        (Some("2012-10-17"), 1)
    );
    let statement = &statements[0];
    assert_eq!(statement["Effect"], "Allow");
    let mut allowed: Vec<&str> = statement["Action"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| action.as_str().unwrap())
        .collect();
    allowed.sort_unstable();
    assert_eq!(allowed, demanded);
    for resource in statement["Resource"].as_array().unwrap() {
        let parts: Vec<&str> = resource.as_str().unwrap().split(['/', ':']).collect();
        assert_eq!(parts[..3], ["arn", "aws", "appconfig"]);
        let kinds = [parts[5], parts[7], parts[9]];
        assert_eq!(kinds, ["application", "environment", "configuration"]);
        assert!(!parts.contains(&"*"), "{resource}");
    }
    assert_eq!(actions_in(&example("terraform/hosts.tf")), demanded);
}

#[test]
fn the_settings_of_the_user_data_pass_check_and_its_agent_asks_for_what_they_tell() {
    let settings = written("/etc/appconfigd/appconfigd.yaml");
    let world = World::new();
    world.write("appconfigd.yaml", &settings);
    let output = world.output(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("ok: 1 profile, 1 target, 1 service"));
    assert_eq!(stderr(&output), "", "nor does it warn");

    let scraped = written("/etc/appconfigd/cloudwatch/scrape.yaml");
    let address = "\"127.0.0.1:9464\"";
    assert!(settings.contains(&format!("metrics: {{listen: {address}}}")));
    assert!(
        scraped.contains(&format!("targets: [{address}]")),
        "{scraped}"
    );

    let agent: Value =
        serde_json::from_str(&written("/etc/appconfigd/cloudwatch/agent.json")).unwrap();
    let prometheus = &agent["logs"]["metrics_collected"]["prometheus"];
    assert_eq!(
        prometheus["prometheus_config_path"],
        "/etc/appconfigd/cloudwatch/scrape.yaml"
    );
    let declaration = &prometheus["emf_processor"]["metric_declaration"][0];
    // These are words of the metrics' page, which a test of theirs holds against a scrape.
    let page = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let name = declaration["metric_selectors"][0].as_str().unwrap();
    let name = name.trim_matches(['^', '$']);
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| `{name}` |")))
        .expect(name);
    assert!(row.contains("| `profile`, `state` |"), "{row}");
    let states = declaration["label_matcher"].as_str().unwrap();
    let states: Vec<&str> = states
        .trim_matches(['^', '(', ')', '$'])
        .split('|')
        .collect();
    assert_eq!(states, ["refused", "quarantined"]);
    assert!(
        states
            .iter()
            .all(|state| row.contains(&format!("`{state}`"))),
        "{row}"
    );

    let alarm = example("terraform/alarm.tf");
    assert!(alarm.contains(&format!("metric_name         = \"{name}\"")));
    for same in ["metric_namespace", "log_group_name"] {
        let value = match same {
            "log_group_name" => &prometheus[same],
            _ => &prometheus["emf_processor"][same],
        };
        let quoted = format!("= \"{}\"\n", value.as_str().unwrap());
        assert!(alarm.contains(&quoted), "no {same} {quoted} in the alarm");
    }
    let variables = example("terraform/variables.tf");
    for (key, value) in [
        ("application", "shop"),
        ("environment", "prod"),
        ("profile", "limits"),
    ] {
        let (_, rest) = variables
            .split_once(&format!("variable \"{key}\" {{"))
            .unwrap();
        let (body, _) = rest.split_once('}').unwrap();
        assert!(
            body.contains(&format!("= \"{value}\"\n")),
            "{key} in {body}"
        );
    }
    assert!(settings.contains("  limits:\n    application: shop\n    environment: prod\n"));
}

#[test]
fn the_terraform_files_are_formatted_and_valid() {
    let directory = root().join("examples/aws/terraform");
    let home = tempfile::tempdir().unwrap();
    let terraform = |arguments: &[&str]| {
        let mut command = Command::new("terraform");
        command.args(arguments).current_dir(&directory);
        command
            .env("HOME", home.path())
            .env("CHECKPOINT_DISABLE", "1");
        command.env_remove("TF_CLI_CONFIG_FILE").output()
    };
    let Ok(formatted) = terraform(&["fmt", "-check", "-diff"]) else {
        skip("terraform is not installed");
        return;
    };
    assert_eq!(formatted.status.code(), Some(0), "{}", stdout(&formatted));
    // The provider of AWS is some hundred megabytes: who has it has said `terraform init` there.
    if !directory.join(".terraform").is_dir() {
        skip(
            "`terraform init` was not run in examples/aws/terraform: files are formatted, not validated",
        );
        return;
    }
    let valid = terraform(&["validate", "-no-color"]).unwrap();
    assert_eq!(valid.status.code(), Some(0), "{}", stderr(&valid));
}
