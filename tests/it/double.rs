//! A scripted HTTP server for answers that no honest server gives. It speaks just enough HTTP to be misunderstood.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and target, as on the request line.
    pub line: String,
    /// The whole head.
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn starts_session(&self) -> bool {
        self.line.contains("/configurationsessions")
    }

    /// The token of a GetLatestConfiguration as it stands on the wire.
    pub fn token(&self) -> Option<&str> {
        self.line.split("configuration_token=").nth(1)
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// What the double does with a request: writes these bytes and closes the connection; empty is a lost answer.
type Script = dyn Fn(&Request, usize) -> Vec<u8> + Send + Sync;

pub struct Double {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
}

impl Double {
    /// `script` gets each request and how many came before it.
    pub fn start(script: impl Fn(&Request, usize) -> Vec<u8> + Send + Sync + 'static) -> Double {
        Double::serve(Arc::new(script), None)
    }

    pub fn start_tls(
        tls: Arc<rustls::ServerConfig>,
        script: impl Fn(&Request, usize) -> Vec<u8> + Send + Sync + 'static,
    ) -> Double {
        Double::serve(Arc::new(script), Some(tls))
    }

    /// The thread ends with the test process.
    fn serve(script: Arc<Script>, tls: Option<Arc<rustls::ServerConfig>>) -> Double {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (seen, count) = (requests.clone(), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                *count.lock().expect("unpoisoned") += 1;
                let (script, seen, tls) = (script.clone(), seen.clone(), tls.clone());
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                    match tls {
                        None => answer(stream, &*script, &seen),
                        Some(tls) => {
                            let session = rustls::ServerConnection::new(tls).expect("a session");
                            let stream = rustls::StreamOwned::new(session, stream);
                            answer(stream, &*script, &seen);
                        }
                    }
                });
            }
        });
        Double {
            port,
            requests,
            connections,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("unpoisoned").clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().expect("unpoisoned")
    }

    pub fn starts(&self) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.starts_session())
            .count()
    }

    /// The tokens of all GetLatestConfiguration calls.
    pub fn tokens(&self) -> Vec<String> {
        self.requests()
            .iter()
            .filter_map(|request| request.token().map(str::to_owned))
            .collect()
    }
}

fn answer(mut stream: impl Read + Write, script: &Script, seen: &Mutex<Vec<Request>>) {
    let Some(request) = read(&mut stream) else {
        return;
    };
    let before = {
        let mut seen = seen.lock().expect("unpoisoned");
        seen.push(request.clone());
        seen.len() - 1
    };
    let _ = stream.write_all(&script(&request, before));
    let _ = stream.flush();
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).ok()?;
    let line = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    let mut request = Request {
        line,
        head,
        body: String::new(),
    };
    let length: usize = request
        .header("content-length")
        .unwrap_or("0")
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

/// An answer with these header lines; Content-Length is added.
pub fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [text.as_bytes(), body].concat()
}

/// The answer to StartConfigurationSession.
pub fn started(token: &str) -> Vec<u8> {
    let body = format!(r#"{{"InitialConfigurationToken": "{token}"}}"#);
    reply(
        "201 Created",
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    )
}

/// The answer to GetLatestConfiguration.
pub fn configuration(token: &str, body: &[u8]) -> Vec<u8> {
    let headers = [
        ("Next-Poll-Configuration-Token", token),
        ("Next-Poll-Interval-In-Seconds", "60"),
        ("Content-Type", "application/json"),
        ("Version-Label", "v1"),
    ];
    reply("200 OK", &headers, body)
}

/// An error as the service model has it. `more` goes into the JSON object.
pub fn error(status: &str, code: &str, message: &str, more: &str) -> Vec<u8> {
    let message = serde_json::to_string(message).expect("a string");
    let body = format!(r#"{{"Message": {message}{more}}}"#);
    let headers = [
        ("x-amzn-ErrorType", code),
        ("x-amzn-RequestId", "request-7"),
        ("Content-Type", "application/json"),
    ];
    reply(status, &headers, body.as_bytes())
}

/// The answer to AssumeRole: the key `AKIDROLE`, for ever.
pub fn assumed_role() -> Vec<u8> {
    let body = br#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
        <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/R/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
        <Credentials><AccessKeyId>AKIDROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
        <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"#;
    reply("200 OK", &[("Content-Type", "text/xml")], body)
}
