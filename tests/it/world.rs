//! A small world to run the real program in: a served store of configurations, a root for files, a settings file.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_appconfigd");
/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `fact` holds; bounded. What it says of itself while it does not is in the panic.
pub fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Starts a `serve` and reads its first line, which says its address.
pub fn listening(serve: &mut Command) -> (Child, String) {
    let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .expect("the first line");
    let address = address.to_owned();
    (child, address)
}

/// A directory with `store/`, `root/` and `appconfigd.yaml`.
pub struct World {
    directory: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("store")).unwrap();
        fs::create_dir_all(directory.path().join("root")).unwrap();
        World { directory }
    }

    /// A world with these files deployed, a server of theirs, and settings with these lines.
    pub fn served(store: &[(&str, &str)], lines: &str) -> (World, Server) {
        let world = World::new();
        for (file, text) in store {
            world.deploy(file, text);
        }
        let server = Server::start(&world);
        world.settings(&server, lines);
        (world, server)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file below the root.
    pub fn target(&self, path: &str) -> PathBuf {
        self.path("root").join(path.trim_start_matches('/'))
    }

    /// Deploys a configuration, `shop/prod/limits.json` say, as an editor that renames does.
    pub fn deploy(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path("store").join(file);
        let folder = path.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        let staged = folder.join(format!(
            ".{}.new",
            path.file_name().unwrap().to_str().unwrap()
        ));
        fs::write(&staged, bytes).unwrap();
        fs::rename(staged, path).unwrap();
    }

    pub fn withdraw(&self, file: &str) {
        fs::remove_file(self.path("store").join(file)).unwrap();
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    /// The settings: `root: root`, the served source with intervals of a second, and these lines. Directories of
    /// targets below the root are made.
    pub fn settings(&self, server: &Server, lines: &str) {
        let head = format!(
            "aws: {{region: eu-west-1, endpoint_url: \"{}\"}}\nroot: root\ndefaults: {{application: shop, environment: prod, poll_interval: 1s}}\n",
            server.endpoint()
        );
        self.write("appconfigd.yaml", &format!("{head}{lines}"));
        for line in lines.lines() {
            let key = line.trim_start().split(':').next().unwrap();
            if key.starts_with('/') {
                fs::create_dir_all(self.target(key).parent().unwrap()).unwrap();
            }
        }
    }

    /// `appconfigd` with these arguments in this world; nothing of the caller's environment but PATH.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("APPCONFIGD_SETTINGS", self.path("appconfigd.yaml"))
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// Runs a command to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `run`; its log is in `run.log`, appended.
    pub fn run(&self) -> Daemon {
        self.run_by(self.command(&["run", "--log-level", "debug"]))
    }

    pub fn run_by(&self, mut command: Command) -> Daemon {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("run.log"))
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon {
            child,
            log: self.path("run.log"),
        }
    }

    /// `status --json`; `None` while nobody answers with JSON.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_slice(&self.output(&["status", "--json"]).stdout).ok()
    }

    /// Waits until the target has this text.
    pub fn wait_for_target(&self, path: &str, text: &str) {
        let file = self.target(path);
        wait_for(
            &format!("`{path}` has {text:?}; log:\n{}", self.log()),
            || (fs::read_to_string(&file).ok()? == text).then_some(()),
        );
    }

    /// Waits until `status --json` has `value` at the JSON pointer.
    pub fn wait_for_status(&self, pointer: &str, value: &Value) -> Value {
        let mut last = Value::Null;
        let since = Instant::now();
        loop {
            if let Some(status) = self.status() {
                if status.pointer(pointer) == Some(value) {
                    return status;
                }
                last = status;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "status never had {value} at {pointer}: {last:#}\nlog:\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        self.read("run.log").unwrap_or_default()
    }
}

/// What was started here and outlived whoever started it (the child of a killed `exec`, a command's child) ends here.
impl Drop for World {
    fn drop(&mut self) {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let place = fs::read_link(process.path().join("cwd"));
            let number = process
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let (Ok(place), Some(number)) = (place, number)
                && place.starts_with(self.directory.path())
                && number != Pid::this().as_raw()
            {
                let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
            }
        }
    }
}

/// A running `appconfigd run`; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The exit code; `None` for a death by signal.
    pub fn wait(&mut self) -> Option<i32> {
        let log = self.log.clone();
        let child = &mut self.child;
        let status = wait_for(&format!("the daemon ends; log: {}", log.display()), || {
            child.try_wait().unwrap()
        });
        status.code()
    }

    /// SIGTERM, and its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `appconfigd serve --controls --minimum-interval 1s` over a world's store; killed when dropped.
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    pub fn start(world: &World) -> Server {
        Server::listen(world, "127.0.0.1:0")
    }

    /// On an address that was free a moment ago: for a server that comes back.
    pub fn listen(world: &World, address: &str) -> Server {
        Server::serve(&world.path("store"), address)
    }

    /// Over another directory than a world's store.
    pub fn over(directory: &Path) -> Server {
        Server::serve(directory, "127.0.0.1:0")
    }

    /// One that somebody else has started.
    pub fn of(child: Child, address: String) -> Server {
        Server { child, address }
    }

    fn serve(directory: &Path, address: &str) -> Server {
        let mut serve = Command::new(PROGRAM);
        serve
            .args([
                "serve",
                "--controls",
                "--minimum-interval",
                "1s",
                "--listen",
                address,
                "--directory",
            ])
            .arg(directory)
            .stderr(Stdio::null());
        let (child, address) = listening(&mut serve);
        Server { child, address }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn stop(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A control request; the status and the body.
    pub fn control(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub fn faults(&self, faults: Value) {
        let (status, _) = self.control("PUT", "/_local/faults", &json!({ "faults": faults }));
        assert_eq!(status, 204);
    }

    pub fn advance(&self, seconds: u64) {
        let (status, _) = self.control(
            "PUT",
            "/_local/clock",
            &json!({ "advance_seconds": seconds }),
        );
        assert_eq!(status, 204);
    }

    /// What `/_local/calls` counts of one profile.
    pub fn calls(&self, profile: &str) -> Value {
        self.control("GET", "/_local/calls", &Value::Null).1["profiles"][profile].clone()
    }

    pub fn count(&self, profile: &str, what: &str) -> u64 {
        self.calls(profile)[what].as_u64().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Owner, group and permission bits.
pub fn metadata(path: &Path) -> (u32, u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
