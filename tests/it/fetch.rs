//! `appconfigd fetch` against servers that misbehave.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::double::{Double, Request, configuration, error, reply, started};

/// `fetch shop prod limits` in an environment of its own.
pub fn fetch(endpoint: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("appconfigd").expect("the program");
    command.env_clear().envs([
        ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ]);
    for (name, value) in environment {
        match *value {
            "" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    command.args([
        "fetch",
        "shop",
        "prod",
        "limits",
        "--endpoint-url",
        endpoint,
    ]);
    command
        .args(arguments)
        .timeout(std::time::Duration::from_secs(60));
    command.output().expect("an end")
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code and a standard output that is empty.
pub fn refused(output: &Output, code: i32) -> String {
    let text = errors(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(output.stdout.is_empty());
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    assert!(!text.contains("token-0"), "no token: {text}");
    text
}

/// A server whose GetLatestConfiguration is scripted by the number of calls of it before.
fn scripted(get: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Double {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Double::start(move |request, _| {
        if request.starts_session() {
            return started("token-0");
        }
        get(calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
    })
}

#[test]
fn the_bytes_go_to_standard_output_as_they_came() {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let body = bytes.clone();
    let server = Double::start(move |request, _| {
        if request.starts_session() {
            started("AY+/=~a")
        } else {
            configuration("next", &body)
        }
    });
    let output = fetch(&server.url(), &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(output.stdout == bytes);
    assert!(output.stderr.is_empty());
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        !requests[0].body.contains("RequiredMinimumPollInterval"),
        "{}",
        requests[0].body
    );
    assert_eq!(requests[1].token(), Some("AY%2B%2F%3D~a"));
    let signed = requests[1].header("authorization").expect("a signature");
    assert!(
        signed.contains("AKIDTEST/") && signed.contains("/eu-west-1/appconfig/"),
        "{signed}"
    );
}

#[test]
fn an_empty_configuration_is_an_error() {
    let server = scripted(|_| configuration("token-1", b""));
    let text = refused(&fetch(&server.url(), &[], &[]), 1);
    assert!(text.contains("is empty"), "{text}");
}

#[test]
fn a_missing_resource_is_66_and_names_what_to_check() {
    let server = Double::start(|_, _| {
        error(
            "404 Not Found",
            "ResourceNotFoundException",
            "gone",
            r#", "ResourceType": "Application""#,
        )
    });
    let text = refused(&fetch(&server.url(), &[], &[]), 66);
    for part in [
        "`limits`",
        "StartConfigurationSession",
        "ResourceNotFoundException (404)",
        "gone",
        "request-7",
        "application `shop`",
        "environment `prod`",
        "eu-west-1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_passes_is_tried_again_until_the_time_is_up() {
    let throttled = scripted(|_| error("429 Too Many", "ThrottlingException", "slow down", ""));
    let text = refused(&fetch(&throttled.url(), &[], &["--timeout", "1s"]), 75);
    assert!(text.contains("ThrottlingException"), "{text}");

    let silent = TcpHole::new();
    refused(&fetch(&silent.url, &[], &["--timeout", "1s"]), 75);

    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let closed = format!("http://127.0.0.1:{port}");
    let text = refused(&fetch(&closed, &[], &["--timeout", "2s"]), 75);
    assert!(
        text.contains("cannot connect") && text.contains("refused"),
        "{text}"
    );
}

/// Accepts in the kernel's queue and never answers.
struct TcpHole {
    url: String,
    _listener: std::net::TcpListener,
}

impl TcpHole {
    fn new() -> TcpHole {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        TcpHole {
            url,
            _listener: listener,
        }
    }
}

#[test]
fn what_the_operator_has_to_repair_ends_at_once() {
    let server = Double::start(|_, _| error("403 Forbidden", "AccessDeniedException", "no", ""));
    let text = refused(&fetch(&server.url(), &[], &[]), 1);
    assert!(text.contains("appconfig:GetLatestConfiguration"), "{text}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn without_a_region_it_says_how_to_name_one_here() {
    let asked = fetch("http://192.0.2.1", &[("AWS_REGION", "")], &[]);
    let text = refused(&asked, 1);
    assert!(text.contains("no region is known"), "{text}");
    assert!(text.contains("`--region`"), "{text}");
}

#[test]
fn a_lost_answer_is_asked_for_once_more_with_the_same_token() {
    for lost in [
        Vec::new(),
        reply(
            "503 Unavailable",
            &[("Content-Type", "text/html")],
            b"<html>busy</html>",
        ),
        error("500 Oops", "InternalServerException", "oops", ""),
        b"HTTP/1.1 200 OK\r\nNext-Poll-Configuration-Token: x\r\nContent-Length: 100\r\n\r\n{"
            .to_vec(),
    ] {
        let server = scripted(move |call| match call {
            0 => lost.clone(),
            _ => configuration("token-1", b"{}"),
        });
        let output = fetch(&server.url(), &[], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(output.stdout, b"{}");
        assert_eq!((server.starts(), server.tokens().len()), (1, 2));
        assert!(server.tokens().iter().all(|token| token == "token-0"));
    }
}

#[test]
fn a_token_that_was_spent_by_a_lost_answer_makes_a_new_session() {
    let server = scripted(|call| match call {
        0 => Vec::new(),
        1 => error(
            "400 Bad Request",
            "BadRequestException",
            "Token not valid",
            r#", "Reason": "InvalidParameters", "Details": {"InvalidParameters": {"ConfigurationToken": {"Problem": "Corrupted"}}}"#,
        ),
        _ => configuration("token-1", b"{}"),
    });
    let output = fetch(&server.url(), &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!((server.starts(), server.tokens().len()), (2, 3));
}

#[test]
fn an_early_answer_does_not_spend_the_token() {
    let server = scripted(|call| match call {
        0 => error(
            "400 Bad Request",
            "BadRequestException",
            "Request too early",
            r#", "Reason": "InvalidParameters", "Details": {"InvalidParameters": {"configuration_token": {"Problem": "PollIntervalNotSatisfied"}}}"#,
        ),
        _ => configuration("token-1", b"{}"),
    });
    let output = fetch(&server.url(), &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!((server.starts(), server.tokens().len()), (1, 2));
}

#[test]
fn a_page_in_the_services_place_is_never_a_configuration() {
    let page = || {
        reply(
            "200 OK",
            &[("Content-Type", "text/html")],
            b"<html>please log in</html>",
        )
    };
    let server = scripted(move |_| page());
    let text = refused(&fetch(&server.url(), &[], &[]), 1);
    assert!(
        text.contains("without a token") && !text.contains("log in"),
        "{text}"
    );

    let server = Double::start(move |_, _| page());
    let text = refused(&fetch(&server.url(), &[], &[]), 1);
    assert!(!text.contains("log in"), "{text}");

    let long = "x".repeat(8193);
    let server = scripted(move |_| configuration(&long, b"{}"));
    refused(&fetch(&server.url(), &[], &[]), 1);
}

#[test]
fn an_answer_without_end_is_refused_by_its_size() {
    let announced = b"HTTP/1.1 200 OK\r\nNext-Poll-Configuration-Token: x\r\nContent-Length: 99999999\r\n\r\nabc";
    let mut endless = b"HTTP/1.1 200 OK\r\nNext-Poll-Configuration-Token: x\r\n\r\n".to_vec();
    endless.resize(endless.len() + 9 * 1024 * 1024, b'x');
    for bytes in [announced.to_vec(), endless] {
        let server = scripted(move |_| bytes.clone());
        let text = refused(&fetch(&server.url(), &[], &[]), 1);
        assert!(text.contains("larger than 8 MiB"), "{text}");
    }
}

#[test]
fn what_the_service_says_is_shown_on_one_line_and_never_repeats_the_token() {
    let server = scripted(|_| {
        error(
            "403 Forbidden",
            "OddException",
            "bad\n\u{1b}[2Jtoken token-0\nmore",
            "",
        )
    });
    let text = refused(&fetch(&server.url(), &[], &[]), 1);
    assert!(text.contains("\\n") && text.contains("\\u{1b}"), "{text}");
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_once_and_a_bundle_makes_it_trusted() {
    let (authority, tls) = certificates();
    let server = Double::start_tls(tls, |request, _| {
        if request.starts_session() {
            started("token-0")
        } else {
            configuration("x", b"{}")
        }
    });
    let url = format!("https://localhost:{}", server.port);
    let text = refused(&fetch(&url, &[], &[]), 1);
    assert!(
        text.contains("certificate") && text.contains("ca_bundle"),
        "{text}"
    );
    assert_eq!(server.connections(), 1, "not tried again");

    let directory = tempfile::tempdir().expect("a directory");
    let bundle = directory.path().join("authority.pem");
    std::fs::write(&bundle, authority).expect("written");
    let bundle = bundle.to_str().expect("UTF-8");
    let output = fetch(&url, &[("AWS_CA_BUNDLE", bundle)], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));

    let text = refused(&fetch(&url, &[("AWS_CA_BUNDLE", "/no/such/file")], &[]), 1);
    assert!(
        text.contains("`/no/such/file`") && text.contains("AWS_CA_BUNDLE"),
        "{text}"
    );
}

/// An authority of our own in PEM, and a server that has a certificate of it for localhost.
pub fn certificates() -> (String, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
        .expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".into()])
        .expect("parameters")
        .signed_by(&key, &authority)
        .expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a server");
    (authority.pem(), Arc::new(tls))
}

/// EC2's metadata service, version 2, with region and credentials.
pub fn metadata_service() -> Double {
    Double::start(|request, _| {
        let body = match request.line.as_str() {
            "PUT /latest/api/token" => "imds-token",
            "GET /latest/meta-data/placement/region" => "ap-south-1",
            line if line.ends_with("/security-credentials/") => "role",
            line if line.ends_with("/security-credentials/role") => {
                r#"{"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC",
                    "AccessKeyId": "AKIDIMDS", "SecretAccessKey": "s", "Token": "t",
                    "Expiration": "2999-01-01T00:00:00Z"}"#
            }
            _ => return reply("404 Not Found", &[], b""),
        };
        let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")];
        reply("200 OK", &ttl, body.as_bytes())
    })
}

#[test]
fn a_proxy_sees_the_calls_but_never_the_metadata_service() {
    let answer = |request: &Request, _| {
        if request.starts_session() {
            started("token-0")
        } else {
            configuration("x", b"{}")
        }
    };
    let (proxy, metadata) = (Double::start(answer), metadata_service());
    let output = fetch(
        "http://appconfig.invalid",
        &[
            ("HTTP_PROXY", &proxy.url()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url()),
            ("AWS_EC2_METADATA_DISABLED", ""),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_REGION", ""),
        ],
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let requests = proxy.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert!(
            request.line.contains("http://appconfig.invalid/"),
            "{}",
            request.line
        );
        let signed = request.header("authorization").expect("a signature");
        assert!(
            signed.contains("AKIDIMDS/") && signed.contains("/ap-south-1/"),
            "{signed}"
        );
    }
    assert!(!metadata.requests().is_empty());
}

#[test]
fn a_server_on_loopback_is_never_asked_through_a_proxy_and_needs_no_account() {
    let server = scripted(|_| configuration("x", b"{}"));
    let none = [
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_REGION", ""),
    ];
    let output = fetch(&server.url(), &none, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));

    let text = refused(&fetch("http://appconfig.invalid", &none[1..3], &[]), 1);
    assert!(text.contains("no credentials were found"), "{text}");
    let text = refused(&fetch("http://appconfig.invalid", &none[3..], &[]), 1);
    assert!(
        text.contains("no region") && text.contains("AWS_REGION"),
        "{text}"
    );
}

#[test]
fn the_endpoint_may_come_from_the_environment() {
    let server = scripted(|_| configuration("x", b"{}"));
    let url = server.url();
    let mut command = assert_cmd::Command::cargo_bin("appconfigd").expect("the program");
    let output = command
        .env_clear()
        .env("AWS_ENDPOINT_URL_APPCONFIGDATA", &url)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .args(["fetch", "shop", "prod", "limits"])
        .output()
        .expect("an end");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn the_services_own_endpoint_is_named_with_the_proxy_before_it_and_no_password_is() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let proxy = format!("http://proxy:hunter2@127.0.0.1:{port}");
    let environment = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let own = "https://appconfigdata.eu-west-1.amazonaws.com";
    let set = "https://user:hunter3@appconfig.invalid:8443/";
    for (endpoint, shown) in [("", own), (set, "https://appconfig.invalid:8443")] {
        let mut command = assert_cmd::Command::cargo_bin("appconfigd").expect("the program");
        command.env_clear().envs(environment);
        if !endpoint.is_empty() {
            command.env("AWS_ENDPOINT_URL", endpoint);
        }
        command.args(["fetch", "shop", "prod", "limits", "--timeout", "1s"]);
        let text = refused(&command.output().expect("an end"), 75);
        let place = format!("to {shown} (through the proxy 127.0.0.1:{port}, HTTPS_PROXY): ");
        assert!(text.contains(&place) && text.contains("refused"), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[test]
fn an_endpoint_that_is_no_url_says_where_it_may_come_from() {
    for endpoint in [
        "appconfig.invalid",
        "ftp://appconfig.invalid",
        "http://127.0.0.1:99999",
    ] {
        let mut command = assert_cmd::Command::cargo_bin("appconfigd").expect("the program");
        command.env_clear().env("AWS_ENDPOINT_URL", endpoint);
        command.env("AWS_REGION", "eu-west-1");
        command.args(["fetch", "shop", "prod", "limits"]);
        let text = refused(&command.output().expect("an end"), 1);
        assert!(
            text.contains("URL") && text.contains("AWS_ENDPOINT_URL,"),
            "{text}"
        );
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for arguments in [
        ["--timeout", "soon"],
        ["--endpoint-url", "nonsense"],
        ["--region", ""],
    ] {
        let mut command = assert_cmd::Command::cargo_bin("appconfigd").expect("the program");
        let output = command
            .args(["fetch", "a", "b", "c"])
            .args(arguments)
            .output();
        assert_eq!(output.expect("an end").status.code(), Some(64));
    }
}

#[test]
fn files_are_replaced_in_one_step_and_only_by_a_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let server = scripted(|_| configuration("x", b"{\"a\": 1}"));
    let directory = tempfile::tempdir().expect("a directory");
    let (output, metadata) = (
        directory.path().join("limits.json"),
        directory.path().join("about.json"),
    );
    std::fs::write(&output, "old").expect("written");
    std::fs::set_permissions(&output, std::fs::Permissions::from_mode(0o640)).expect("set");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let arguments = ["--output", &path(&output), "--metadata", &path(&metadata)];

    let empty = scripted(|_| configuration("x", b""));
    refused(&fetch(&empty.url(), &[], &arguments), 1);
    assert_eq!(std::fs::read(&output).expect("there"), b"old");
    assert!(!metadata.exists());

    let ended = fetch(&server.url(), &[], &arguments);
    assert_eq!(ended.status.code(), Some(0), "{}", errors(&ended));
    assert!(ended.stdout.is_empty());
    assert_eq!(std::fs::read(&output).expect("there"), b"{\"a\": 1}");
    let mode = std::fs::metadata(&output)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640, "the mode of the file that was there");
    let about = std::fs::read_to_string(&metadata).expect("there");
    assert_eq!(
        about,
        "{\"content_type\":\"application/json\",\"version_label\":\"v1\",\"digest\":\
         \"sha256:f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310\",\"poll_interval_seconds\":60}\n"
    );
    let names = std::fs::read_dir(directory.path())
        .expect("a directory")
        .count();
    assert_eq!(names, 2, "nothing is left behind");

    std::fs::create_dir(directory.path().join("taken")).expect("made");
    let taken = path(&directory.path().join("taken"));
    let text = refused(&fetch(&server.url(), &[], &["--output", &taken]), 1);
    assert!(text.contains("taken"), "{text}");
    let nowhere = path(&directory.path().join("missing/file"));
    let before = server.requests().len();
    let text = refused(&fetch(&server.url(), &[], &["--output", &nowhere]), 1);
    assert!(text.contains("its directory"), "{text}");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&output, &link).expect("made");
    for (file, code, said) in [
        ("-", 64, "without `--output` it goes to standard output"),
        (&path(&link), 1, "name the file that it leads to"),
    ] {
        let text = refused(&fetch(&server.url(), &[], &["--output", file]), code);
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(server.requests().len(), before, "found out before the call");
}
