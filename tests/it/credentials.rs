//! Where the built program finds credentials: each provider of the chain, by whose name the calls are signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::double::{Double, configuration, reply, started};
use crate::fetch::{errors, fetch, refused};

const SECRET: &str = "never-to-be-shown";

/// A directory for the files of the shared configuration.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        fs::write(home.path("config"), config).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `fetch` without keys in its environment, and who signed the calls that it made.
    fn fetch(&self, environment: &[(&str, &str)]) -> (Output, Vec<String>) {
        let proxy = Double::start(|request, _| {
            if request.starts_session() {
                started("token-0")
            } else {
                configuration("x", b"{}")
            }
        });
        let (config, url) = (self.path("config"), proxy.url());
        let mut all = vec![
            ("HTTP_PROXY", url.as_str()),
            ("AWS_CONFIG_FILE", text(&config)),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
        ];
        all.extend_from_slice(environment);
        let output = fetch("http://appconfig.invalid", &all, &[]);
        assert!(!errors(&output).contains(SECRET), "{}", errors(&output));
        let requests = proxy.requests();
        let signers = requests
            .iter()
            .map(|request| {
                let signed = request.header("authorization").expect("a signature");
                let (_, rest) = signed.split_once("Credential=").expect("whose it is");
                rest.split('/').next().unwrap_or_default().to_owned()
            })
            .collect();
        (output, signers)
    }

    fn is_signed_by(&self, who: &str, environment: &[(&str, &str)]) {
        let (output, signers) = self.fetch(environment);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(signers, [who, who]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// STS, which answers this action with a role's credentials.
fn sts(action: &'static str) -> Double {
    Double::start(move |_, _| {
        let body = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials><AccessKeyId>AKIDSTS</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/app/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>"
        );
        reply("200 OK", &[("Content-Type", "text/xml")], body.as_bytes())
    })
}

#[test]
fn a_credential_process_of_a_profile_signs_and_its_failure_shows_no_secret() {
    let home = Home::new("");
    let answer = home.path("answer");
    let config = format!("[default]\ncredential_process = cat {}\n", text(&answer));
    fs::write(home.path("config"), config).unwrap();
    let good = format!(
        r#"{{"Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "{SECRET}", "SessionToken": "t", "Expiration": "2999-01-01T00:00:00Z"}}"#
    );
    fs::write(&answer, &good).unwrap();
    home.is_signed_by("AKIDPROCESS", &[]);

    // Cut short: not JSON any more.
    fs::write(&answer, &good[..good.len() - 1]).unwrap();
    let (output, signers) = home.fetch(&[]);
    let said = refused(&output, 1);
    assert!(said.contains("credentials"), "{said}");
    assert!(signers.is_empty());

    let failing = home.path("failing");
    fs::write(&failing, format!("echo {SECRET} >&2; exit 3\n")).unwrap();
    let config = format!("[default]\ncredential_process = sh {}\n", text(&failing));
    fs::write(home.path("config"), config).unwrap();
    let (output, _) = home.fetch(&[]);
    let said = refused(&output, 1);
    assert!(
        said.contains("exit status: 3") && !said.contains(SECRET),
        "{said}"
    );
}

#[test]
fn a_container_endpoint_is_asked_with_its_token_or_what_the_tokens_file_holds_now() {
    let endpoint = Double::start(|_, _| {
        let body = format!(
            r#"{{"AccessKeyId": "AKIDTASK", "SecretAccessKey": "{SECRET}", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}}"#
        );
        let json = [("Content-Type", "application/json")];
        reply("200 OK", &json, body.as_bytes())
    });
    let home = Home::new("");
    let (uri, file) = (format!("{}/task", endpoint.url()), home.path("token"));
    let at = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str());
    home.is_signed_by(
        "AKIDTASK",
        &[at, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "one")],
    );
    for token in ["two", "three"] {
        fs::write(&file, token).unwrap();
        let named = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text(&file));
        home.is_signed_by("AKIDTASK", &[at, named]);
    }
    let requests = endpoint.requests();
    let tokens: Vec<_> = requests
        .iter()
        .map(|one| one.header("authorization"))
        .collect();
    assert_eq!(tokens, [Some("one"), Some("two"), Some("three")]);
}

#[test]
fn a_web_identity_becomes_the_role() {
    let sts = sts("AssumeRoleWithWebIdentity");
    let home = Home::new("");
    let token = home.path("identity");
    fs::write(&token, "identity-1").unwrap();
    home.is_signed_by(
        "AKIDSTS",
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", text(&token)),
            ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/app"),
            ("AWS_ENDPOINT_URL_STS", &sts.url()),
        ],
    );
    let asked = sts.requests();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].body.contains("WebIdentityToken=identity-1"));
}

#[test]
fn a_profile_with_a_role_takes_it_with_the_keys_of_its_source_profile() {
    let sts = sts("AssumeRole");
    let home = Home::new(&format!(
        "[profile app]\nrole_arn = arn:aws:iam::111122223333:role/app\nsource_profile = base\n\n[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = {SECRET}\n"
    ));
    home.is_signed_by(
        "AKIDSTS",
        &[("AWS_PROFILE", "app"), ("AWS_ENDPOINT_URL_STS", &sts.url())],
    );
    let asked = sts.requests();
    assert_eq!(asked.len(), 1);
    let signed = asked[0].header("authorization").expect("a signature");
    assert!(signed.contains("Credential=AKIDBASE/"), "{signed}");
}

/// A login of SSO: the shared configuration, and the file that `aws sso login` leaves.
fn login(until: &str) -> Home {
    let home = Home::new(
        "[default]\nsso_session = s\nsso_account_id = 111122223333\nsso_role_name = r\n[sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://login.invalid/start\n",
    );
    let cache = home.path(".aws/sso/cache");
    fs::create_dir_all(&cache).unwrap();
    // Named by the SHA-1 of the session's name.
    let file = cache.join("a0f1490a20d0211c997b44bc357e1972deab8ae3.json");
    let token = format!(
        r#"{{"accessToken": "{SECRET}", "expiresAt": "{until}", "startUrl": "https://login.invalid/start", "region": "eu-west-1"}}"#
    );
    fs::write(file, token).unwrap();
    home
}

#[test]
fn a_login_of_sso_signs_and_one_that_was_taken_back_says_how_to_log_in() {
    let home = login("2999-01-01T00:00:00Z");
    let root = home.path("");
    let with = |sso: &Double| {
        [
            ("HOME", text(&root).to_owned()),
            ("AWS_ENDPOINT_URL_SSO", sso.url()),
        ]
    };
    let json = [("Content-Type", "application/json")];
    let sso = Double::start(move |_, _| {
        let body = format!(
            r#"{{"roleCredentials": {{"accessKeyId": "AKIDSSO", "secretAccessKey": "{SECRET}", "sessionToken": "t", "expiration": 32472144000000}}}}"#
        );
        reply("200 OK", &json, body.as_bytes())
    });
    let environment = with(&sso);
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    home.is_signed_by("AKIDSSO", &environment);
    let asked = sso.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("x-amz-sso_bearer_token"), Some(SECRET));
    assert!(asked[0].line.contains("account_id=111122223333"));

    let sso = Double::start(move |_, _| {
        let headers = [json[0], ("x-amzn-ErrorType", "UnauthorizedException")];
        reply(
            "401 No",
            &headers,
            br#"{"message": "Session token not found or invalid"}"#,
        )
    });
    let environment = with(&sso);
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let (output, signers) = home.fetch(&environment);
    let said = refused(&output, 1);
    assert!(
        said.contains("from SSO: ") && said.contains("run `aws sso login`"),
        "{said}"
    );
    assert!(signers.is_empty());
}

#[test]
fn a_login_that_is_over_or_was_never_made_says_how_to_log_in() {
    let home = login("2020-01-01T00:00:00Z");
    let root = home.path("");
    let login_is_told = || {
        let (output, signers) = home.fetch(&[("HOME", text(&root))]);
        let said = refused(&output, 1);
        assert!(said.contains("run `aws sso login`"), "{said}");
        assert!(signers.is_empty());
        said
    };
    let said = login_is_told();
    assert!(said.contains("the SSO token has expired"), "{said}");
    fs::remove_dir_all(home.path(".aws")).unwrap();
    login_is_told();
}
