//! Credentials of one daemon: those that end are looked up again, and a provider that hangs stops nothing else.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::json;

use crate::double::{Double, Request, reply, started};
use crate::run::Manager;
use crate::world::{Server, World, wait_for};

const ROLE: &str = "arn:aws:iam::111122223333:role/app";

/// Credentials are replaced ten seconds before they end: these after three.
fn soon() -> String {
    let end = Timestamp::now() + SignedDuration::from_secs(13);
    end.round(Unit::Second).unwrap().to_string()
}

/// AppConfig Data, which wants to be asked every second.
fn service() -> Double {
    Double::start(|request, _| match request.starts_session() {
        true => started("token-0"),
        false => {
            let headers = [
                ("Next-Poll-Configuration-Token", "token-0"),
                ("Next-Poll-Interval-In-Seconds", "1"),
                ("Content-Type", "application/json"),
            ];
            reply("200 OK", &headers, b"{}")
        }
    })
}

/// Whose signature it is.
fn signer(request: &Request) -> Option<String> {
    let signed = request.header("authorization")?;
    let (_, rest) = signed.split_once("Credential=")?;
    Some(rest.split('/').next()?.to_owned())
}

fn settings(world: &World, endpoint: &str, seconds: u32) {
    world.write("appconfigd.yaml", &format!("aws: {{region: eu-west-1, endpoint_url: \"{endpoint}\"}}\nroot: root\ndefaults: {{application: shop, environment: prod, poll_interval: {seconds}s}}\nprofiles:\n  limits:\ntargets:\n  /limits.json: {{from: limits}}\n"));
}

/// The program without keys in its environment.
fn keyless(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONFIG_FILE", world.path("config"))
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

/// Calls of a daemon with these variables are signed by AKID1, then AKID2, and so on.
fn is_signed_by_one_after_the_other(world: &World, environment: &[(&str, &str)]) {
    let service = service();
    settings(world, &service.url(), 1);
    let mut command = keyless(world, &["run", "--log-level", "debug"]);
    command.envs(environment.iter().copied());
    let daemon = world.run_by(command);
    let all = wait_for("calls are signed by the third", || {
        let mut all: Vec<String> = service.requests().iter().filter_map(signer).collect();
        // Loopback needs no credentials where they come too late.
        all.retain(|who| who.starts_with("AKID"));
        all.dedup();
        (all.len() >= 3).then_some(all)
    });
    assert!(all.is_sorted(), "{all:?}");
    let status = world.status().unwrap();
    assert_eq!(status["state"], "healthy", "{}", world.log());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_credential_process_is_run_again_before_what_it_gave_ends() {
    let world = World::new();
    let process = world.write(
        "process",
        "echo asked >> asked\nn=$(wc -l < asked)\nend=$(date -u -d '+13 seconds' +%FT%TZ)\nprintf '{\"Version\": 1, \"AccessKeyId\": \"AKID%s\", \"SecretAccessKey\": \"s\", \"SessionToken\": \"t\", \"Expiration\": \"%s\"}' $n $end\n",
    );
    let config = format!("[default]\ncredential_process = sh {}\n", process.display());
    world.write("config", &config);
    is_signed_by_one_after_the_other(&world, &[]);
}

#[test]
fn a_containers_endpoint_is_asked_again_before_what_it_gave_ends() {
    let world = World::new();
    let endpoint = Double::start(|_, before| {
        let body = format!(
            r#"{{"AccessKeyId": "AKID{}", "SecretAccessKey": "s", "Token": "t", "Expiration": "{}"}}"#,
            before + 1,
            soon()
        );
        let json = [("Content-Type", "application/json")];
        reply("200 OK", &json, body.as_bytes())
    });
    let uri = format!("{}/task", endpoint.url());
    is_signed_by_one_after_the_other(&world, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)]);
}

#[test]
fn a_web_identity_is_what_its_file_holds_by_then() {
    let world = World::new();
    let token = world.write("token", "identity-0");
    let (name, asked) = (token.clone(), Arc::new(AtomicUsize::new(0)));
    let sts = Double::start(move |_, _| {
        let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
        // Renewed by somebody else, as in a pod.
        fs::write(&name, format!("identity-{number}")).unwrap();
        let action = "AssumeRoleWithWebIdentity";
        let end = soon();
        let body = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials><AccessKeyId>AKID{number}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{end}</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/app/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>"
        );
        reply("200 OK", &[("Content-Type", "text/xml")], body.as_bytes())
    });
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ENDPOINT_URL_STS", &sts.url()),
    ];
    is_signed_by_one_after_the_other(&world, &environment);
    for (number, request) in sts.requests().iter().enumerate() {
        let identity = format!("WebIdentityToken=identity-{number}");
        assert!(request.body.contains(&identity), "{}", request.body);
    }
}

#[test]
fn a_credential_process_that_hangs_is_named_left_alone_and_stops_nothing_else() {
    let world = World::new();
    let proxy = service();
    settings(&world, "http://appconfig.invalid", 15);
    let process = world.write(
        "process",
        "echo asked >> asked\ntest -e hangs && exec sleep 600\nprintf '{\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"s\"}'\n",
    );
    let config = format!("[default]\ncredential_process = sh {}\n", process.display());
    let config = world.write("config", &config);
    let with_proxy = |arguments: &[&str]| {
        let mut command = keyless(&world, arguments);
        command.env("HTTP_PROXY", proxy.url());
        command
    };
    assert!(with_proxy(&["once"]).output().unwrap().status.success());

    world.write("hangs", "");
    let manager = Manager::new(&world);
    let daemon = manager.run_by(&world, with_proxy(&["run", "--log-level", "debug"]));
    manager.wait_for("READY=1");
    let path = world.path("appconfigd.yaml");
    let two = fs::read_to_string(&path)
        .unwrap()
        .replace("  limits:\n", "  limits:\n  late: {required: false}\n");
    world.write("appconfigd.yaml", &two);
    assert_eq!(world.output(&["reload"]).status.code(), Some(0));
    let reason = wait_for("the provider is named", || {
        let status = world.status()?;
        let reason = status["profiles"]["late"]["reason"].as_str()?;
        reason
            .contains("did not answer in time")
            .then(|| reason.to_owned())
    });
    assert!(reason.contains("`credential_process`"), "{reason}");
    assert!(reason.contains(config.to_str().unwrap()), "{reason}");
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    fs::remove_file(world.target("/limits.json")).unwrap();
    world.wait_for_target("/limits.json", "{}");
    // A second call waits for the process that is there.
    world.output(&["refresh", "--timeout", "6s"]);
    assert_eq!(world.read("asked").unwrap(), "asked\nasked\n");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_role_that_nobody_gives_is_named_and_keeps_no_other_profile() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let hole = format!("http://{}", listener.local_addr().unwrap());
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{\"v\":1}");
    let server = Server::start(&world);
    let lines = format!(
        "profiles:\n  limits:\n  far: {{required: false, assume_role: {{role_arn: \"{ROLE}\"}}}}\ntargets:\n  /limits.json: {{from: limits}}\n"
    );
    world.settings(&server, &lines);
    let mut command = world.command(&["run", "--log-level", "debug"]);
    command.env("AWS_ENDPOINT_URL_STS", hole);
    let daemon = world.run_by(command);
    world.wait_for_target("/limits.json", "{\"v\":1}");
    world.deploy("shop/prod/limits.json", "{\"v\":2}");
    world.wait_for_target("/limits.json", "{\"v\":2}");
    let status = world.wait_for_status("/profiles/far/state", &json!("unreachable"));
    let reason = status["profiles"]["far"]["reason"].as_str().unwrap();
    let named = format!("STS for the role {ROLE}");
    assert!(reason.contains(&named), "{reason}");
    assert_eq!(status["profiles"]["limits"]["state"], "current");
    assert_eq!(daemon.stop(), Some(0));
}
