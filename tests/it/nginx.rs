//! The main job on a real nginx: reload, `nginx -t` says no, the probe says no, nobody there to be told.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};

use crate::skip::skip;
use crate::world::{PATIENCE, Server, World, metadata, wait_for};

const CONFIGURATION: &str = include_str!("../fixtures/nginx/nginx.conf");
const TEMPLATE: &str = include_str!("../fixtures/nginx/site.conf.j2");
const TARGET: &str = "/etc/nginx/conf.d/site.conf";

/// `nginx`, also where it is in a directory that only root has in its PATH.
fn program() -> Option<&'static str> {
    ["nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .find(|name| {
            let asked = Command::new(name).arg("-v").stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        })
}

/// An nginx below a world's root; ended when dropped.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// A port that is free now may be taken in a moment: another one is tried then.
    fn start(world: &World) -> Nginx {
        for _ in 0..20 {
            if let Some(nginx) = Nginx::listen(world, free_port()) {
                return nginx;
            }
        }
        panic!("no port stays free long enough");
    }

    fn listen(world: &World, port: u16) -> Option<Nginx> {
        let prefix = world.target("/etc/nginx");
        let run = world.target("/run");
        let log = prefix.join("error.log");
        fs::create_dir_all(prefix.join("conf.d")).unwrap();
        fs::create_dir_all(&run).unwrap();
        let text = CONFIGURATION
            .replace("PREFIX", prefix.to_str().unwrap())
            .replace("RUN", run.to_str().unwrap())
            .replace("PORT", &port.to_string());
        fs::write(prefix.join("nginx.conf"), text).unwrap();
        let _ = fs::remove_file(&log);
        let mut child = Command::new(program().unwrap())
            .args(arguments(&prefix))
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let up = wait_for("nginx listens or ends", || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // its own line in the log: another program may answer on a port that was snatched
            let log = fs::read_to_string(&log).unwrap_or_default();
            (log.contains("start worker process ")
                && TcpStream::connect(("127.0.0.1", port)).is_ok())
            .then_some(true)
        });
        up.then_some(Nginx { child, port })
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.port, path)
    }

    fn wait_for(&self, text: &str, world: &World) {
        wait_for(
            &format!("nginx answers {text:?}; log:\n{}", world.log()),
            || (self.get("/")? == (200, text.to_owned())).then_some(()),
        );
    }

    /// How often the master has loaded its configuration again.
    fn reloads(world: &World) -> usize {
        let log = world.read("root/etc/nginx/error.log").unwrap_or_default();
        log.matches("(SIGHUP) received").count()
    }

    fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        wait_for("nginx ends", || self.child.try_wait().unwrap());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers only when it is asked.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill(
                Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
                Signal::SIGTERM,
            );
            let _ = self.child.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn arguments(prefix: &Path) -> [String; 4] {
    let prefix = prefix.to_str().unwrap();
    [
        "-p".to_owned(),
        prefix.to_owned(),
        "-c".to_owned(),
        format!("{prefix}/nginx.conf"),
    ]
}

fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A version of the site.
fn site(greeting: &str, health: u16, extra: &str) -> String {
    json!({"greeting": greeting, "health": health, "extra": extra}).to_string()
}

/// The settings for nginx on this port.
fn settings(world: &World, server: &Server, port: u16) {
    world.write("site.conf.j2", TEMPLATE);
    let check = [program().unwrap().to_owned(), "-t".into(), "-q".into()]
        .into_iter()
        .chain(arguments(&world.target("/etc/nginx")))
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    world.settings(
        server,
        &format!(
            "profiles:
  site: {{validate: {{format: json}}}}
targets:
  {TARGET}: {{from: site, template: site.conf.j2, notify: nginx}}
services:
  nginx:
    check: [{check}]
    signal: {{name: HUP, pid_file: /run/nginx.pid}}
    probe: {{http: \"http://127.0.0.1:{port}/healthz\", within: 3s, interval: 100ms, successes: 2}}
"
        ),
    );
}

/// Version one stands in a file with an owner, a mode, an attribute and an ACL of its own, and nginx serves it.
fn serving(world: &World) -> (Server, Nginx) {
    world.deploy("shop/prod/site.json", site("one", 200, ""));
    let server = Server::start(world);
    let nginx = Nginx::start(world);
    settings(world, &server, nginx.port);
    (server, nginx)
}

/// Everything about a file that must come back.
fn portrait(path: &Path) -> (Vec<u8>, (u32, u32, u32), u64, String) {
    let attributes = Command::new("getfattr")
        .args(["--absolute-names", "-d", "-m", "-"])
        .arg(path)
        .output();
    let attributes = attributes.map(|output| String::from_utf8(output.stdout).unwrap());
    (
        fs::read(path).unwrap(),
        metadata(path),
        fs::metadata(path).unwrap().ino(),
        attributes.unwrap_or_default(),
    )
}

/// Gives the file an owner and a mode that no default has, and attributes where the machine has them.
fn adorn(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(1234), Some(2345)).unwrap();
    } else {
        skip("not root: the owner that comes back is our own");
    }
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    for command in [
        ["setfattr", "-n", "user.note", "-v", "kept"].as_slice(),
        ["setfacl", "-m", "u:4321:r"].as_slice(),
    ] {
        let done = Command::new(command[0])
            .args(&command[1..])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        if !done.is_ok_and(|status| status.success()) {
            skip(&format!("`{}` does not work here", command[0]));
        }
    }
}

#[test]
fn a_change_reloads_nginx_and_what_it_refuses_goes_back_with_all_metadata() {
    if program().is_none() {
        return skip("nginx is not installed");
    }
    let world = World::new();
    let (_server, nginx) = serving(&world);
    let daemon = world.run();
    nginx.wait_for("one", &world);
    world.wait_for_status("/services/nginx/state", &json!("acknowledged"));
    let reloads = Nginx::reloads(&world);
    assert_eq!(reloads, 1, "one change, one reload");

    // a change of bytes keeps what the administrator has made of the file
    let file = world.target(TARGET);
    adorn(&file);
    let before = portrait(&file);
    world.deploy("shop/prod/site.json", site("two", 200, ""));
    nginx.wait_for("two", &world);
    world.wait_for_status("/state", &json!("healthy"));
    let two = portrait(&file);
    assert_eq!((two.1, &two.3), (before.1, &before.3));
    assert_ne!(two.2, before.2, "a file is replaced, not written into");

    // nginx -t says no: nginx is not even told
    world.deploy(
        "shop/prod/site.json",
        site("three", 200, "limit_rate banana"),
    );
    let status = world.wait_for_status("/profiles/site/state", &json!("quarantined"));
    let reason = status["profiles"]["site"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("\"limit_rate\" directive invalid value"),
        "nginx's own words: {reason}"
    );
    assert_eq!(status["state"], "degraded");
    assert_eq!(portrait(&file), two);
    assert_eq!(nginx.get("/").unwrap(), (200, "two".to_owned()));
    assert_eq!(Nginx::reloads(&world), reloads + 1, "nothing was reloaded");

    // nginx takes it and answers 500 then: the old behaviour is back, and so is the file
    world.deploy("shop/prod/site.json", site("four", 500, ""));
    wait_for("the fourth version is quarantined for its probe", || {
        let profile = &world.status()?["profiles"]["site"];
        let reason = profile["reason"].as_str()?;
        (profile["state"] == "quarantined" && reason.contains("500")).then_some(())
    });
    // the verdict stands before the files are back, and an old worker may still answer for a moment
    world.wait_for_status("/services/nginx/state", &json!("acknowledged"));
    wait_for("the old version answers again", || {
        let well = nginx
            .get("/healthz")
            .is_some_and(|(status, _)| status == 200);
        (well && portrait(&file) == two).then_some(())
    });
    nginx.wait_for("two", &world);
    assert_eq!(
        Nginx::reloads(&world),
        reloads + 3,
        "told of the fourth version and of the way back"
    );

    // the next good version goes through, and nothing of ours stays beside the file
    world.deploy("shop/prod/site.json", site("five", 200, ""));
    nginx.wait_for("five", &world);
    let status = world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(status["profiles"]["site"]["reason"], Value::Null);
    assert_eq!(portrait(&file).1, two.1);
    assert_eq!(portrait(&file).3, two.3);
    assert_eq!(daemon.stop(), Some(0));
    let names = fs::read_dir(file.parent().unwrap()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["site.conf"]);
}

#[test]
fn a_version_that_finds_nginx_stopped_is_told_when_it_runs_again() {
    if program().is_none() {
        return skip("nginx is not installed");
    }
    let world = World::new();
    let (_server, nginx) = serving(&world);
    let daemon = world.run();
    nginx.wait_for("one", &world);
    world.wait_for_status("/services/nginx/state", &json!("acknowledged"));
    let port = nginx.port;
    nginx.stop();

    world.deploy("shop/prod/site.json", site("two", 200, ""));
    let text = TEMPLATE.replace("{{ config.greeting }}", "two");
    let first = text.lines().next().unwrap().to_owned();
    let file = world.target(TARGET);
    wait_for("the second version is installed", || {
        fs::read_to_string(&file)
            .ok()?
            .starts_with(&first)
            .then_some(())
    });
    // nothing is rolled back because of a service that nobody has started, and the obligation stands
    let status = world.wait_for_status("/services/nginx/state", &json!("pending"));
    assert_eq!(status["profiles"]["site"]["state"], "current");
    assert!(world.output(&["status"]).status.code() == Some(2));

    // the agent goes through a restart of its own meanwhile: the obligation is on disk
    assert_eq!(daemon.stop(), Some(0));
    let status = world.status().unwrap();
    assert_eq!(status["services"]["nginx"]["state"], "pending");
    let daemon = world.run();
    let nginx = Nginx::listen(&world, port)
        .unwrap_or_else(|| panic!("port {port} was taken while nginx was stopped"));
    world.wait_for_status("/services/nginx/state", &json!("acknowledged"));
    assert_eq!(nginx.get("/").unwrap(), (200, "two".to_owned()));
    world.wait_for_status("/state", &json!("healthy"));

    // and it is told of the next one as ever
    world.deploy("shop/prod/site.json", site("three", 200, ""));
    nginx.wait_for("three", &world);
    assert_eq!(daemon.stop(), Some(0));
}
