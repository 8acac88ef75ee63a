use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use appconfigd::protocol::Digest;
use appconfigd::settings::{Profile, ProfileName, Settings, SourceSettings, Validate};
use appconfigd::source::{Answer, Fault, Source, Token};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::exchange::runtime;
use super::parts::find;
use super::{in_time, is_plain};

/// What is sent, and must not come back in a message.
const TOKEN: &str = "AYADeTheTokenThatWasSent+/+/==";
/// What an operator is asked to read at most, in bytes: names, what somebody else said, what to do.
const LONGEST_MESSAGE: usize = 4_000;

thread_local! {
    static HERE: Here = Here::new();
}

/// What lies at the service's address may answer with any bytes: the client gives in time a token that can be one, with
/// an interval of a second to a day and either nothing or a configuration of at least a byte that is in the answer,
/// whose headers are bounded and plain; or a fault in one plain line of bounded length that does not show the token
/// which was sent. Of an answer whose status is not a good one nothing is taken.
pub fn hold(bytes: &[u8]) {
    HERE.with(|here| {
        bytes.clone_into(&mut here.answer.borrow_mut());
        in_time("a call", || {
            here.tasks.block_on(&here.runtime, here.held(bytes));
        });
    });
}

struct Here {
    runtime: Runtime,
    tasks: LocalSet,
    source: Source,
    answer: Rc<RefCell<Vec<u8>>>,
}

impl Here {
    fn new() -> Here {
        let runtime = runtime();
        let tasks = LocalSet::new();
        let answer = Rc::new(RefCell::new(Vec::new()));
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        tasks.spawn_local(serve(listener, Rc::clone(&answer)));
        let settings = settings();
        let source = Source::new(&settings, Some(format!("http://{address}")));
        let source = runtime.block_on(source).expect("a source");
        Here {
            runtime,
            tasks,
            source,
            answer,
        }
    }

    async fn held(&self, bytes: &[u8]) {
        let profile = profile();
        let token = Token::new(TOKEN.to_owned()).expect("a token");
        match self.source.get_latest(&profile, token).await {
            Ok(answer) => taken(&answer, bytes),
            Err(fault) => {
                told(&fault);
                shows_no_token(&fault);
            }
        }
        match self.source.start_session(&profile).await {
            Ok(_) => assert!(has_good_status(bytes), "a token of a bad answer"),
            Err(fault) => told(&fault),
        }
    }
}

fn taken(answer: &Answer, bytes: &[u8]) {
    assert!(has_good_status(bytes), "a configuration of a bad answer");
    let lasts = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    assert!(lasts.contains(&answer.interval), "{:?}", answer.interval);
    let Some(configuration) = &answer.configuration else {
        return;
    };
    let body = configuration.bytes();
    assert!(!body.is_empty(), "an empty configuration");
    assert_eq!(configuration.digest(), Digest::of(body));
    // In chunks the bytes are not in one piece.
    let in_chunks = find(&bytes.to_ascii_lowercase(), b"transfer-encoding").is_some();
    assert!(
        in_chunks || find(bytes, body).is_some(),
        "bytes that were not sent"
    );
    for header in [configuration.content_type(), configuration.label()] {
        let header = header.unwrap_or_default();
        assert!(
            header.chars().count() <= 256 && is_plain(header, &[]),
            "{header:?}"
        );
    }
}

fn told(fault: &Fault) {
    let message = fault.to_string();
    assert!(
        !message.is_empty() && message.len() <= LONGEST_MESSAGE,
        "{message}"
    );
    assert!(is_plain(&message, &[]), "{message:?}");
}

fn shows_no_token(fault: &Fault) {
    let message = fault.to_string();
    let encoded = percent_encode(TOKEN.as_bytes(), NON_ALPHANUMERIC).to_string();
    for shown in [message, format!("{fault:?}")] {
        let shows = shown.contains(TOKEN) || shown.contains(&encoded);
        assert!(!shows, "shows the token: {shown}");
    }
}

/// Somewhere in it, for interim answers may come before.
fn has_good_status(bytes: &[u8]) -> bool {
    [" 2", "\t2"]
        .iter()
        .any(|status| find(bytes, status.as_bytes()).is_some())
}

/// Answers each request with the bytes, and closes.
async fn serve(listener: TcpListener, answer: Rc<RefCell<Vec<u8>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.borrow().clone();
        tokio::task::spawn_local(reply(stream, answer));
    }
}

async fn reply(stream: TcpStream, answer: Vec<u8>) {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line).await {
            Ok(1..) if line != "\r\n" => {}
            _ => break,
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    let _ = stream.read_exact(&mut body).await;
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

fn settings() -> Settings {
    let directory = PathBuf::from("/srv/configurations");
    Settings {
        file: PathBuf::from("/etc/appconfigd/appconfigd.yaml"),
        directory: PathBuf::from("/etc/appconfigd"),
        source: SourceSettings::Local { directory },
        root: None,
        ready_timeout: Duration::from_secs(300),
        stop_timeout: Duration::from_secs(30),
        metrics: None,
        profiles: BTreeMap::new(),
        targets: BTreeMap::new(),
        services: BTreeMap::new(),
        watches: BTreeMap::new(),
    }
}

fn profile() -> Profile {
    Profile {
        name: ProfileName::from("limits"),
        application: "shop".into(),
        environment: "prod".into(),
        configuration_profile: "limits".into(),
        poll_interval: Duration::from_secs(60),
        required: true,
        sensitive: false,
        validate: Validate::default(),
        assume_role: None,
    }
}
