//! `wait`, `events` and `doctor`: what an operator, or a script of theirs, asks a host.

use std::io::Read;
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};

use crate::documents::blocks;
use crate::double::{Double, error, reply};
use crate::fetch::{certificates, metadata_service};
use crate::sources::root;
use crate::stand::unwrapped;
use crate::world::{World, stderr, stdout, wait_for};

const LINES: &str = "profiles:\n  limits: {validate: {format: json}}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {check: [\"true\"], command: [\"true\"]}\n";
const SERVED: [(&str, &str); 1] = [("shop/prod/limits.json", "{}")];

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn wait_ends_when_all_is_in_place_or_when_only_an_operator_can_help() {
    let (world, server) = World::served(&SERVED, LINES);
    let nobody = world.output(&["wait", "--timeout", "0s"]);
    assert_eq!(code(&nobody), Some(3), "{}", stderr(&nobody));
    let daemon = world.run();
    let waited = world.output(&["wait"]);
    assert_eq!(
        code(&waited),
        Some(0),
        "{}\n{}",
        stderr(&waited),
        world.log()
    );
    assert_eq!(stdout(&waited) + &stderr(&waited), "");
    assert_eq!(world.status().unwrap()["state"], "healthy");
    assert_eq!(
        code(&world.output(&["wait", "limits", "--timeout", "0s"])),
        Some(0)
    );
    let unknown = world.output(&["wait", "limits", "limit"]);
    let said = stderr(&unknown);
    assert!(said.contains("no profile `limit`"), "{said}");
    assert_eq!(code(&unknown), Some(66), "{}", stderr(&unknown));

    world.deploy(SERVED[0].0, "{");
    world.wait_for_status("/profiles/limits/state", &json!("refused"));
    let refused = world.output(&["wait", "limits"]);
    assert_eq!(code(&refused), Some(1));
    let said = stderr(&refused);
    assert!(
        said.starts_with("error: profile `limits` is refused: not JSON"),
        "{said}"
    );

    world.deploy(SERVED[0].0, "{\"n\": 1}");
    world.wait_for_status("/state", &json!("healthy"));
    server.stop();
    world.wait_for_status("/profiles/limits/state", &json!("unreachable"));
    let lost = world.output(&["wait", "--timeout", "100ms"]);
    assert_eq!(code(&lost), Some(75));
    let said = stderr(&lost);
    assert!(
        said.starts_with("error: not in time: profile `limits` is unreachable: "),
        "{said}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn events_are_the_latest_outcomes_whatever_the_log_level_is_and_go_on_when_followed() {
    let (world, _server) = World::served(&SERVED, LINES);
    assert_eq!(code(&world.output(&["events"])), Some(3));
    let daemon = world.run_by(world.command(&["run", "--log-level", "error"]));
    assert_eq!(code(&world.output(&["wait"])), Some(0));
    wait_for("ready", || {
        stdout(&world.output(&["events"]))
            .contains(" ready\n")
            .then_some(())
    });
    let output = world.output(&["events", "--json"]);
    assert_eq!(code(&output), Some(0));
    let events: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|one| one["event"].as_str().unwrap())
        .collect();
    for name in ["received", "installed", "service_notified", "ready"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let installed = events
        .iter()
        .find(|one| one["event"] == "installed")
        .unwrap();
    assert_eq!(installed["targets"], "/etc/app/limits.json");
    assert_eq!(installed["level"], "info");
    assert_eq!(world.log(), "", "the log has errors only");

    let mut follow = world.command(&["events", "--follow"]);
    let heard = std::fs::File::create(world.path("heard")).unwrap();
    let follow = follow.stdout(heard).stderr(Stdio::null()).spawn();
    let mut follow = Killed(follow.unwrap());
    let hears = |words: &str| {
        wait_for(words, || {
            let heard = world.read("heard")?;
            heard.lines().any(|line| line.contains(words)).then_some(())
        });
    };
    hears(" received profiles=limits ");
    world.deploy(SERVED[0].0, "{");
    hears(" ERROR version refused profiles=limits ");
    assert_eq!(daemon.stop(), Some(0));
    let ended = wait_for("the follower ends", || follow.0.try_wait().unwrap());
    assert_eq!(ended.code(), Some(3));
}

#[test]
fn a_watched_status_says_each_change_once() {
    let (world, _server) = World::served(&SERVED, LINES);
    let _daemon = world.run();
    assert_eq!(code(&world.output(&["wait"])), Some(0));
    world.wait_for_status("/state", &json!("healthy"));
    let mut watch = world.command(&["status", "--watch", "--json"]);
    let seen = std::fs::File::create(world.path("seen")).unwrap();
    let _watch = Killed(watch.stdout(seen).spawn().unwrap());
    let states = || -> Vec<Value> {
        let seen = world.read("seen").unwrap_or_default();
        let whole = seen.lines().filter(|line| line.ends_with('}'));
        let parsed = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
        parsed
            .map(|status| status["profiles"]["limits"]["state"].clone())
            .collect()
    };
    wait_for("the first", || (states() == ["current"]).then_some(()));
    world.deploy(SERVED[0].0, "{");
    wait_for("the refusal", || {
        (states().last()? == "refused").then_some(())
    });
    let before = states().len();
    let polled = || world.status().unwrap()["profiles"]["limits"]["last_poll"].clone();
    // It looks once a second: three polls later it has looked.
    for _ in 0..3 {
        let last = polled();
        wait_for("another poll", || (polled() != last).then_some(()));
    }
    assert_eq!(states().len(), before, "a poll alone is no news");
}

#[test]
fn what_goes_on_ends_when_nobody_reads_any_more_though_nothing_changes() {
    let (world, _server) = World::served(&SERVED, LINES);
    let _daemon = world.run();
    assert_eq!(code(&world.output(&["wait"])), Some(0));
    world.wait_for_status("/state", &json!("healthy"));
    let all: [&[&str]; 3] = [
        &["status", "--watch"],
        &["status", "--watch", "--json"],
        &["events", "--follow"],
    ];
    for arguments in all {
        let mut command = world.command(arguments);
        let mut child = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut read = [0; 65536];
        let length = child.0.stdout.take().unwrap().read(&mut read).unwrap();
        assert!(length > 0, "{arguments:?}");
        let ended = wait_for(&format!("{arguments:?} ends"), || {
            child.0.try_wait().unwrap()
        });
        assert_eq!(ended.code(), Some(0), "{arguments:?}");
    }
}

/// Of `doctor`, with secrets in the environment that must not come out.
fn doctor(world: &World, more: &[&str]) -> (Option<i32>, Vec<String>, String) {
    let mut command = world.command(&[&["doctor"], more].concat());
    command.env("AWS_SECRET_ACCESS_KEY", "hunter2hunter2");
    command.env("AWS_SESSION_TOKEN", "hunter3hunter3");
    let output = command.output().unwrap();
    let screen = stdout(&output);
    assert_eq!(stderr(&output), "");
    assert!(!screen.contains("hunter"), "{screen}");
    let said = unwrapped(&screen);
    for line in &said {
        let verdicts = ["ok ", "warning ", "failure ", "all is well"];
        let verdict = verdicts.iter().any(|word| line.starts_with(word));
        let sum = line.contains(" failure") && line.contains(" warning");
        assert!(verdict || sum, "{line}\n{screen}");
        let unwell = line.starts_with("warning ") || line.starts_with("failure ");
        assert!(!unwell || line.contains(" next: "), "{line}");
    }
    (code(&output), said, screen)
}

fn has(said: &[String], begin: &str) -> bool {
    said.iter().any(|line| line.starts_with(begin))
}

#[test]
fn doctor_says_why_no_endpoint_can_be_resolved() {
    let (world, _server) = World::served(&SERVED, LINES);
    let mut command = world.command(&["doctor"]);
    let output = command
        .env("AWS_USE_FIPS_ENDPOINT", "true")
        .output()
        .unwrap();
    let said = unwrapped(&stdout(&output));
    let found = |line: &String| {
        line.starts_with("failure endpoint no endpoint can be resolved: ")
            && line.contains("FIPS")
            && line.contains("AWS_USE_FIPS_ENDPOINT")
    };
    assert!(said.iter().any(found), "{said:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn doctor_walks_the_whole_way_and_says_what_to_do() {
    let (world, server) = World::served(&SERVED, LINES);
    let (code, said, screen) = doctor(&world, &[]);
    assert_eq!(code, Some(0), "{screen}");
    for line in [
        "ok settings ",
        "warning daemon no daemon is running next: ",
        "ok state ",
        "ok endpoint http://127.0.0.1:",
        "ok proxy none",
        "ok dns ",
        "ok tls the endpoint answers (status 404), no TLS",
        "ok clock agrees",
        "ok credentials access key AKIDEXAMPLE by provider EnvironmentVariable",
        "ok permissions profile `limits`: 2 bytes",
        "ok targets 1 target",
        "ok services 1 service",
        "ok unit ",
        "0 failures, 1 warning",
    ] {
        assert!(has(&said, line), "{line}\n{screen}");
    }
    // What the daemon reaches is not asked for: each session is a member of a rollout.
    let daemon = world.run();
    assert_eq!(world.output(&["wait"]).status.code(), Some(0));
    let before = server.count("shop/prod/limits", "start");
    let (code, said, screen) = doctor(&world, &[]);
    assert_eq!(code, Some(0), "{screen}");
    assert!(has(&said, "all is well"), "{screen}");
    assert_eq!(server.count("shop/prod/limits", "start"), before);
    assert_eq!(daemon.stop(), Some(0));

    let other = LINES
        .replace("limits:", "limit:")
        .replace("from: limits", "from: limit");
    let other = other.replace("/etc/app/limits.json", "/etc/none/limits.json");
    world.settings(&server, &other);
    std::fs::remove_dir_all(world.target("/etc/none")).unwrap();
    let (code, said, screen) = doctor(&world, &[]);
    assert_eq!(code, Some(1), "{screen}");
    let gone =
        "failure permissions profile `limit`: StartConfigurationSession: ResourceNotFoundException";
    assert!(has(&said, gone), "{screen}");
    assert!(
        has(&said, "failure targets cannot find the directory "),
        "{screen}"
    );

    world.settings(&server, LINES);
    server.stop();
    let (code, said, screen) = doctor(&world, &[]);
    assert_eq!(code, Some(75), "{screen}");
    assert!(
        has(&said, "failure network cannot reach http://127.0.0.1:"),
        "{screen}"
    );
    assert!(!has(&said, "failure permissions"), "{screen}");
    let (code, _, screen) = doctor(&world, &["--offline"]);
    assert_eq!(code, Some(0), "{screen}");

    // A template that cannot be used is a mistake in the settings, too.
    world.write("t.j2", "{{ config.n ");
    let templated = LINES.replace("{from: limits,", "{from: limits, template: t.j2,");
    let local =
        "local: {directory: store}\nroot: root\ndefaults: {application: shop, environment: prod}\n";
    world.write("appconfigd.yaml", &format!("{local}{templated}"));
    let (code, said, screen) = doctor(&world, &[]);
    assert_eq!(code, Some(78), "{screen}");
    assert!(has(&said, "failure settings "), "{screen}");
    assert!(
        has(&said, "ok endpoint the embedded server over "),
        "{screen}"
    );
}

#[test]
fn doctor_says_whose_the_credentials_are_and_when_nobody_takes_them() {
    let (world, server) = World::served(&SERVED, LINES);
    let said_of = |status: &'static str, body: &'static str| {
        let sts = Double::start(move |_, _| {
            reply(status, &[("Content-Type", "text/xml")], body.as_bytes())
        });
        let mut command = world.command(&["doctor"]);
        let output = command
            .env("AWS_ENDPOINT_URL_STS", sts.url())
            .output()
            .unwrap();
        let asked = sts.requests();
        assert!(
            asked[0].body.contains("Action=GetCallerIdentity"),
            "{}",
            asked[0].body
        );
        (
            output.status.code(),
            unwrapped(&stdout(&output)),
            stdout(&output),
        )
    };
    let known = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/app/i-1</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>";
    let (code, said, screen) = said_of("200 OK", known);
    assert_eq!(code, Some(0), "{screen}");
    let line = "ok credentials access key AKIDEXAMPLE by provider EnvironmentVariable, that is arn:aws:sts::111122223333:assumed-role/app/i-1";
    assert!(has(&said, line), "{screen}");

    let refused = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>The security token included in the request is invalid.</Message></Error></ErrorResponse>";
    let (code, said, screen) = said_of("403 Forbidden", refused);
    assert_eq!(code, Some(1), "{screen}");
    let line = "failure credentials access key AKIDEXAMPLE by provider EnvironmentVariable, which STS does not take (InvalidClientTokenId: ";
    assert!(has(&said, line), "{screen}");

    // A host without a way to STS works all the same.
    let (code, said, screen) = said_of("503 Service Unavailable", "");
    assert_eq!(code, Some(0), "{screen}");
    let line = "ok credentials access key AKIDEXAMPLE by provider EnvironmentVariable; whose they are cannot be asked (STS: it answers with status 503)";
    assert!(has(&said, line), "{screen}");
    server.stop();
}

#[test]
fn doctor_prints_the_statement_that_allows_what_was_refused() {
    let refused = "User: arn:aws:iam::111122223333:user/a is not authorized to perform: appconfig:StartConfigurationSession on resource: arn:aws:appconfig:eu-west-1:111122223333:application/a/environment/b/configuration/c";
    let double =
        Double::start(move |_, _| error("403 Forbidden", "AccessDeniedException", refused, ""));
    let world = World::new();
    let port = double.port;
    world.write("appconfigd.yaml", &format!("aws: {{region: eu-west-1, endpoint_url: \"http://127.0.0.1:{port}\"}}\nroot: root\nprofiles:\n  limits: {{application: a, environment: b}}\ntargets:\n  /limits: {{from: limits}}\n"));
    let (code, said, screen) = doctor(&world, &[]);
    assert_eq!(code, Some(1), "{screen}");
    let statement = "{\"Effect\": \"Allow\", \"Action\": [\"appconfig:StartConfigurationSession\", \"appconfig:GetLatestConfiguration\"], \"Resource\": \"arn:aws:appconfig:eu-west-1:111122223333:application/a/environment/b/configuration/c\"}";
    assert!(
        said.iter().any(|line| line.ends_with(statement)),
        "{screen}"
    );

    let mut command = world.command(&["doctor"]);
    command.env("HTTPS_PROXY", "socks5://user:hunter2@proxy:1");
    let output = command.output().unwrap();
    let screen = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{screen}");
    assert!(
        screen.contains("HTTPS_PROXY") && !screen.contains("hunter2"),
        "{screen}"
    );

    let text = world.read("appconfigd.yaml").unwrap();
    let (head, rest) = text.split_once(", endpoint_url").unwrap();
    let (_, rest) = rest.split_once('}').unwrap();
    world.write("appconfigd.yaml", &format!("{head}}}{rest}"));
    let mut command = world.command(&["doctor"]);
    let endpoint = "http://user:hunter2@127.0.0.1:1";
    command.env("AWS_ENDPOINT_URL_APPCONFIGDATA", endpoint);
    let output = command.output().unwrap();
    let screen = stdout(&output);
    assert_eq!(output.status.code(), Some(75), "{screen}");
    let said = unwrapped(&screen);
    let line = "failure network cannot reach http://127.0.0.1:1: ";
    assert!(has(&said, line) && !screen.contains("hunter2"), "{screen}");
}

#[test]
fn doctor_prints_what_its_page_shows_of_a_role_that_may_not_read_the_profile() {
    let page = std::fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let blocks = blocks(&page).into_iter();
    let shown: Vec<_> = blocks.filter(|block| block.info == "text doctor").collect();
    let [shown] = shown.as_slice() else {
        panic!("the output of `doctor` on its page");
    };
    let refused = "User: arn:aws:sts::111122223333:assumed-role/shop/i-1 is not authorized to perform: appconfig:StartConfigurationSession on resource: arn:aws:appconfig:eu-west-1:111122223333:application/a/environment/b/configuration/c";
    let (authority, tls) = certificates();
    let service = Double::start_tls(tls, move |_, _| {
        let answer = error("403 Forbidden", "AccessDeniedException", refused, "");
        let answer = String::from_utf8(answer).unwrap();
        let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        let dated = answer.replacen("\r\n", &format!("\r\nDate: {now}\r\n"), 1);
        dated.into_bytes()
    });
    let metadata = metadata_service();
    let sts = Double::start(|_, _| {
        let arn = "arn:aws:sts::111122223333:assumed-role/shop/i-1";
        let body = format!(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        reply("200 OK", &[("Content-Type", "text/xml")], body.as_bytes())
    });
    let world = World::new();
    world.write("authority.pem", &authority);
    let port = service.port;
    let lines = LINES.replace("/etc/app/", "/etc/");
    world.write("appconfigd.yaml", &format!("aws: {{region: eu-west-1, ca_bundle: authority.pem, endpoint_url: \"https://localhost:{port}\"}}\ndefaults: {{application: shop, environment: prod}}\n{lines}"));
    let mut command = world.command(&["doctor", "--runtime-directory", "run"]);
    command
        .arg("--state-directory")
        .arg(world.path("state"))
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url())
        .env("AWS_ENDPOINT_URL_STS", sts.url());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    // What differs from host to host, by what stands before it and its first character that is not its own.
    let normal = |screen: &str| -> Vec<String> {
        let own = [
            ("ok settings ", ':'),
            ("ok state ", ','),
            (", room for ", 'M'),
            ("ok endpoint ", ','),
            ("ok dns ", '\0'),
            (" access key ", ' '),
            (", until ", ','),
            (", request id ", ' '),
        ];
        let lines = unwrapped(screen).into_iter();
        lines
            .map(|line| {
                own.iter().fold(line, |line, (before, end)| {
                    let Some((head, rest)) = line.split_once(before) else {
                        return line;
                    };
                    let end = rest.find(*end).unwrap_or(rest.len());
                    format!("{head}{before}…{}", &rest[end..])
                })
            })
            .collect()
    };
    let screen = stdout(&output);
    assert_eq!(normal(&screen), normal(&shown.text), "{screen}");
}
