//! Why there are no credentials, by `fetch` and by `doctor`: whose answer it was, which file, which variable; no secret.

use std::net::TcpListener;
use std::path::PathBuf;

use crate::double::{Double, reply};
use crate::fetch::{errors, fetch};
use crate::stand::unwrapped;
use crate::world::{World, stderr, stdout};

const SECRET: &str = "never-to-be-shown";
const CONTAINER: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const SETTINGS: &str = "aws: {region: eu-west-1, endpoint_url: \"http://appconfig.invalid\"}\nroot: root\ndefaults: {application: shop, environment: prod}\nprofiles:\n  limits:\ntargets:\n  /limits.json: {from: limits}\n";

/// What `fetch` and `doctor` say where the credentials are these and the service is not the matter.
struct Scene {
    world: World,
    proxy: Double,
}

impl Scene {
    fn new() -> Scene {
        let world = World::new();
        world.write("appconfigd.yaml", SETTINGS);
        let proxy = Double::start(|_, _| reply("503 Not Here", &[], b""));
        Scene { world, proxy }
    }

    /// A file of the world.
    fn file(&self, name: &str, text: &str) -> String {
        text_of(&self.world.write(name, text))
    }

    fn nowhere(&self) -> String {
        text_of(&self.world.path("nowhere"))
    }

    /// The words stand in what either says. `code` is that of `fetch`.
    fn says(&self, code: i32, environment: &[(&str, &str)], words: &[&str]) {
        let url = self.proxy.url();
        let mut all = vec![
            ("HTTP_PROXY", url.as_str()),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
        ];
        all.extend_from_slice(environment);
        // A provider may take five seconds, and takes some where it tries again itself.
        let output = fetch("http://appconfig.invalid", &all, &["--timeout", "6s"]);
        let fetched = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{fetched}");
        assert!(fetched.contains("profile `limits`: "), "{fetched}");
        for said in [fetched, self.doctor(environment)] {
            for words in words {
                assert!(said.contains(words), "{words}: {said}");
            }
            assert!(!said.contains(SECRET), "{said}");
        }
    }

    /// Its line about credentials.
    fn doctor(&self, environment: &[(&str, &str)]) -> String {
        let mut command = self.world.command(&["doctor"]);
        for (name, value) in [
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            // Whom it does not reach it does not ask for permissions, which takes its time.
            ("HTTP_PROXY", "http://127.0.0.1:9"),
        ] {
            command.env(name, value);
        }
        command.env_remove("AWS_ACCESS_KEY_ID");
        command.env_remove("AWS_SECRET_ACCESS_KEY");
        for (name, value) in environment {
            match *value {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        let output = command.output().unwrap();
        let screen = stdout(&output);
        assert!(
            !screen.contains(SECRET) && stderr(&output).is_empty(),
            "{screen}"
        );
        let found = unwrapped(&screen)
            .into_iter()
            .find(|line| line.starts_with("failure credentials "));
        found.expect(&screen)
    }
}

fn text_of(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// An endpoint of credentials that answers so, whatever it is asked.
fn answering(status: &'static str, body: String) -> Double {
    let json = [("Content-Type", "application/json")];
    Double::start(move |_, _| reply(status, &json, body.as_bytes()))
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_variable() {
    let scene = Scene::new();
    let nowhere = scene.nowhere();
    let role = ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/app");
    let token = ("AWS_WEB_IDENTITY_TOKEN_FILE", nowhere.as_str());
    let missing = "No such file or directory";
    let named = format!("the token file `{nowhere}` (AWS_WEB_IDENTITY_TOKEN_FILE)");
    scene.says(1, &[token, role], &[&named, missing, "put the file there"]);

    let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", nowhere.as_str());
    let named = format!("`{nowhere}` (AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)");
    let endpoint = (CONTAINER, "http://127.0.0.1:9/");
    scene.says(1, &[endpoint, token], &[&named, missing]);

    let config = format!(
        "[default]\nrole_arn = {}\nweb_identity_token_file = {nowhere}\n",
        role.1
    );
    let config = scene.file("config", &config);
    let named = format!("the shared config files name (`{config}`");
    let words = [&named, missing, "correct `web_identity_token_file`"];
    scene.says(1, &[("AWS_CONFIG_FILE", &config)], &words);

    let named = format!("no credentials were found (AWS_CONFIG_FILE names `{nowhere}`: {missing}");
    scene.says(1, &[("AWS_CONFIG_FILE", &nowhere)], &[&named]);

    let words = ["no credentials were found (HOME is not set, so `~/.aws` is not looked at"];
    scene.says(1, &[("AWS_CONFIG_FILE", "")], &words);
    // Whoever is root may read every file, so one that is none.
    let home = text_of(&scene.world.path("home"));
    let words = [&*format!("`{home}/.aws/config`: Not a directory")];
    scene.file("home/.aws", "");
    scene.says(1, &[("AWS_CONFIG_FILE", ""), ("HOME", &home)], &words);

    let broken = scene.file("broken", &format!("[default\n{SECRET}\n"));
    let named = format!("from the shared config files (`{broken}`");
    let words = [named.as_str(), "could not parse", "correct them"];
    scene.says(1, &[("AWS_CONFIG_FILE", &broken)], &words);

    let login = scene.file(
        "session",
        "[default]\nlogin_session = arn:aws:iam::111122223333:user/a\n",
    );
    let words = [
        "`login_session`",
        "`aws configure export-credentials",
        &login,
    ];
    scene.says(1, &[("AWS_CONFIG_FILE", &login)], &words);

    let login = "[default]\nsso_account_id = 1\nsso_role_name = r\nsso_region = eu-west-1\nsso_start_url = https://login.invalid/\n";
    let login = scene.file("login", login);
    let home = text_of(&PathBuf::from("/nowhere"));
    let words = ["~/.aws/sso/cache", missing, "run `aws sso login`"];
    scene.says(1, &[("AWS_CONFIG_FILE", &login), ("HOME", &home)], &words);
}

#[test]
fn what_is_half_set_is_said() {
    let scene = Scene::new();
    let missing = "(AWS_SECRET_ACCESS_KEY is not set";
    scene.says(1, &[("AWS_ACCESS_KEY_ID", "AKIDHALF")], &[missing]);
    let elsewhere = "(AWS_PROFILE is `else\\u{1b}[1mwhere`";
    scene.says(1, &[("AWS_PROFILE", "else\u{1b}[1mwhere")], &[elsewhere]);
}

#[test]
fn an_answer_of_a_containers_endpoint_is_never_quoted() {
    let scene = Scene::new();
    let whole = format!(
        r#"{{"AccessKeyId": "AKID", "SecretAccessKey": "{SECRET}", "Token": "{SECRET}", "Expiration": "{SECRET}"}}"#
    );
    let cut = whole.split_at(whole.len() - 8).0.to_owned();
    let refusal = format!(r#"{{"Code": "Broken", "Message": "{SECRET}"}}"#);
    let answers = [
        (1, "400 No", refusal.clone(), "it answers with status 400"),
        (1, "200 OK", refusal, "failed to load credentials [Broken]"),
        (1, "200 OK", cut, "invalid JSON"),
        (1, "200 OK", whole, "`Expiration`"),
        // It may pass.
        (
            75,
            "500 Oh",
            SECRET.to_owned(),
            "it answers with status 500",
        ),
    ];
    std::thread::scope(|scope| {
        for (code, status, body, said) in answers {
            let scene = &scene;
            scope.spawn(move || {
                let endpoint = answering(status, body);
                let host = format!("127.0.0.1:{}", endpoint.port);
                let uri = format!("http://user:{SECRET}@{host}/task");
                let who = format!("the container's endpoint {host} ({CONTAINER})");
                scene.says(code, &[(CONTAINER, &uri)], &[said, &who]);
            });
        }
    });
}

#[test]
fn an_answer_of_the_metadata_service_is_never_quoted() {
    let scene = Scene::new();
    let refusal = |code: &str| format!(r#"{{"Code": "{code}", "Message": "{SECRET}"}}"#);
    for (status, body, said) in [
        ("403 No", SECRET.to_owned(), "it answers with status 403"),
        (
            "200 OK",
            format!(r#"{{"Code": "Success", "SecretAccessKey": "{SECRET}"#),
            "invalid JSON",
        ),
        (
            "200 OK",
            refusal("Broken"),
            "Error retrieving credentials from IMDS: Broken",
        ),
        (
            "200 OK",
            refusal("AssumeRoleUnauthorizedAccess"),
            "[AssumeRoleUnauthorizedAccess]",
        ),
    ] {
        let service = Double::start(move |request, _| {
            let seconds = [("x-aws-ec2-metadata-token-ttl-seconds", "600")];
            match request.line.as_str() {
                line if line.starts_with("PUT ") => reply("200 OK", &seconds, SECRET.as_bytes()),
                line if line.ends_with("/security-credentials/") => reply("200 OK", &[], b"role"),
                _ => reply(status, &[], body.as_bytes()),
            }
        });
        let environment = [
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.url()),
        ];
        scene.says(
            1,
            &environment,
            &[said, "from the instance metadata service"],
        );
    }
}

#[test]
fn what_sts_says_is_told_and_its_answer_is_not() {
    let scene = Scene::new();
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>{SECRET}</Type><Code>AccessDenied</Code><Message>not authorized to perform sts:AssumeRole</Message></Error><RequestId>{SECRET}</RequestId></ErrorResponse>"
    );
    let sts = Double::start(move |_, _| {
        reply(
            "403 Forbidden",
            &[("Content-Type", "text/xml")],
            body.as_bytes(),
        )
    });
    let said = "AccessDenied (403): not authorized to perform sts:AssumeRole";
    let config = format!(
        "[default]\nrole_arn = arn:aws:iam::111122223333:role/app\nsource_profile = base\n\n[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = {SECRET}\n"
    );
    let config = scene.file("config", &config);
    let environment = [
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_ENDPOINT_URL_STS", &sts.url()),
    ];
    scene.says(1, &environment, &["from STS (AssumeRole)", said]);

    let token = scene.file("token", SECRET);
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/app"),
        ("AWS_ENDPOINT_URL_STS", &sts.url()),
    ];
    scene.says(
        1,
        &environment,
        &["from STS (AssumeRoleWithWebIdentity)", said],
    );
}

#[test]
fn what_a_credential_process_writes_is_in_no_message() {
    let scene = Scene::new();
    let script = scene.file("script", &format!("echo {SECRET} >&2; exit 3\n"));
    let config = format!("[default]\ncredential_process = sh {script} {SECRET}\n");
    let config = scene.file("config", &config);
    let words = [
        "`credential_process`",
        config.as_str(),
        "exit status: 3",
        "run it by hand",
    ];
    scene.says(1, &[("AWS_CONFIG_FILE", &config)], &words);

    // Whose role is wanted does not matter yet.
    let role =
        "profiles:\n  limits: {assume_role: {role_arn: \"arn:aws:iam::111122223333:role/app\"}}\n";
    let settings = SETTINGS.replace("profiles:\n  limits:\n", role);
    scene.world.write("appconfigd.yaml", &settings);
    let mut command = scene.world.command(&["once"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env("AWS_CONFIG_FILE", &config);
    let output = command.output().unwrap();
    let said = unwrapped(&stdout(&output)).join(" ");
    for words in words {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("STS") && !said.contains(SECRET), "{said}");
    assert!(!stderr(&output).contains(SECRET));
}

#[test]
fn what_nobody_answers_is_tried_again_and_said_once_within_seconds() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let credentials = [
        (CONTAINER, closed.as_str()),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ];
    let scene = Scene::new();
    let token = scene.file("token", "t");
    // It takes the connection and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let sts = format!("http://{}", silent.local_addr().unwrap());
    let identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/app"),
        ("AWS_ENDPOINT_URL_STS", &sts),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ];
    let elsewhere = "http://appconfig.invalid";
    std::thread::scope(|scope| {
        let limit = ["--timeout", "9s"];
        let ended = [
            (closed.as_str(), &[][..], "Connection refused"),
            (elsewhere, &credentials, "Connection refused"),
            (elsewhere, &identity, "in time"),
        ]
        .map(|(endpoint, environment, why)| {
            (
                scope.spawn(move || fetch(endpoint, environment, &limit)),
                why,
            )
        });
        for (output, why) in ended {
            let output = output.join().unwrap();
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(75), "{said}");
            let [first, last] = said.lines().collect::<Vec<_>>()[..] else {
                panic!("two lines: {said}");
            };
            assert!(first.starts_with("still trying, for 9s in all"), "{said}");
            assert!(last.starts_with("error: gave up after 9s"), "{said}");
            for line in [first, last] {
                assert!(line.contains(why), "{said}");
            }
        }
    });
}
