//! unbound: reads its files again on SIGHUP, has a checker, and answers over DNS.

use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::skip::skip;
use crate::world::{World, stdout, wait_for};

const MAIN: &str = include_str!("../../fixtures/unbound/unbound.conf");
const PREFIX: &str = "/etc/unbound";

/// It runs below a world's root; killed when dropped.
struct Unbound {
    child: Child,
    port: u16,
}

impl Unbound {
    /// A port that is free now may be taken in a moment: another one is tried then.
    fn start(world: &World) -> Unbound {
        (0..20)
            .find_map(|_| Unbound::listen(world))
            .expect("no port stays free long enough")
    }

    fn listen(world: &World) -> Option<Unbound> {
        let port = {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.local_addr().unwrap().port()
        };
        write_main(world, port);
        let log = fs::File::create(world.path("unbound.log")).unwrap();
        let child = Command::new("unbound")
            .arg("-d")
            .arg("-c")
            .arg(main(world))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut unbound = Unbound { child, port };
        let up = wait_for("unbound answers or ends", || {
            if unbound.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            unbound.text("a.shop.test").is_some().then_some(true)
        });
        up.then_some(unbound)
    }

    /// The TXT record of a name.
    fn text(&self, name: &str) -> Option<String> {
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend_from_slice(label.as_bytes());
        }
        question.extend_from_slice(&[0, 0, 16, 0, 1]);
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .ok()?;
        socket.send_to(&question, ("127.0.0.1", self.port)).ok()?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).ok()?;
        // One answer: a name by reference, type, class, time to live, length, and the text with a length of its own.
        let record = answer.get(question.len()..length)?;
        let text = record.get(13..)?;
        (answer[7] == 1).then(|| String::from_utf8_lossy(text).into_owned())
    }

    fn wait_for(&self, name: &str, text: &str) {
        wait_for(&format!("`{name}` is {text:?}"), || {
            (self.text(name)? == text).then_some(())
        });
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main(world: &World) -> std::path::PathBuf {
    world.target(&format!("{PREFIX}/unbound.conf"))
}

fn write_main(world: &World, port: u16) {
    let (prefix, run) = (world.target(PREFIX), world.target("/run"));
    let text = MAIN
        .replace("PREFIX", prefix.to_str().unwrap())
        .replace("RUN", run.to_str().unwrap())
        .replace("PORT", &port.to_string());
    fs::write(main(world), text).unwrap();
}

fn reloads(world: &World) -> usize {
    let log = world.read("unbound.log").unwrap_or_default();
    log.matches("Restart of unbound").count()
}

fn record(name: &str, text: &str) -> String {
    format!("  local-data: \"{name}.shop.test. {text}\"\n")
}

#[test]
fn a_change_is_read_on_hup_what_the_checker_turns_down_goes_back_and_files_of_others_are_read_too()
{
    let version = Command::new("unbound").arg("-V").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return skip("unbound is not installed");
    }
    let (world, _server) = World::served(&[("shop/prod/site.txt", &record("a", "TXT one"))], "");
    for directory in [&format!("{PREFIX}/zones"), "/run"] {
        fs::create_dir_all(world.target(directory)).unwrap();
    }
    let settings = fs::read_to_string(world.path("appconfigd.yaml")).unwrap();
    let lines = format!(
        "profiles: {{site: {{}}}}\ntargets:\n  {PREFIX}/site.conf: {{from: site, notify: unbound}}\nwatches:\n  zones: {{paths: [{PREFIX}/zones/*.conf], notify: unbound}}\nservices:\n  unbound:\n    check: [unbound-checkconf, {}]\n    signal: {{name: HUP, pid_file: /run/unbound.pid}}\n",
        main(&world).display()
    );
    world.write("appconfigd.yaml", &format!("{settings}{lines}"));
    write_main(&world, 53);
    let daemon = world.run();
    let file = format!("{PREFIX}/site.conf");
    world.wait_for_target(&file, &record("a", "TXT one"));
    let unbound = Unbound::start(&world);
    unbound.wait_for("a.shop.test", "one");
    world.wait_for_status("/services/unbound/state", &json!("acknowledged"));
    let before = reloads(&world);

    world.deploy("shop/prod/site.txt", record("a", "TXT two"));
    unbound.wait_for("a.shop.test", "two");
    world.wait_for_status("/services/unbound/state", &json!("acknowledged"));
    assert_eq!(reloads(&world), before + 1);

    // A record that there is not.
    world.deploy("shop/prod/site.txt", record("a", "TXTT three"));
    let status = world.wait_for_status("/profiles/site/state", &json!("quarantined"));
    let reason = status["profiles"]["site"]["reason"].as_str().unwrap();
    assert!(reason.contains("unbound-checkconf"), "{reason}");
    world.wait_for_target(&file, &record("a", "TXT two"));
    // As before: one answer over UDP may be lost on a busy machine.
    unbound.wait_for("a.shop.test", "two");
    assert_eq!(reloads(&world), before + 1, "it was never told");
    let history = stdout(&world.output(&["history", "unbound"]));
    assert!(history.contains("Bad local-data RR"), "{history}");

    // Somebody else's file.
    let more = world.target(&format!("{PREFIX}/zones/more.conf"));
    fs::write(&more, record("b", "TXT more")).unwrap();
    unbound.wait_for("b.shop.test", "more");
    world.wait_for_status("/services/unbound/state", &json!("acknowledged"));
    assert_eq!(reloads(&world), before + 2);

    // Which is bad: nothing of it can go back, so the service is failed until it is mended.
    fs::write(&more, record("b", "TXTT more")).unwrap();
    let status = world.wait_for_status("/services/unbound/state", &json!("failed"));
    assert_eq!(status["watches"]["zones"]["pending"], json!(["unbound"]));
    assert!(
        status["services"]["unbound"]["next_attempt"].is_string(),
        "{status}"
    );
    assert_eq!(reloads(&world), before + 2, "it was never told");
    fs::write(&more, record("b", "TXT mended")).unwrap();
    unbound.wait_for("b.shop.test", "mended");
    let status = world.wait_for_status("/services/unbound/state", &json!("acknowledged"));
    assert_eq!(status["watches"]["zones"]["pending"], json!([]));
    assert!(
        status["watches"]["zones"]["changed"].is_string(),
        "{status}"
    );
    assert_eq!(daemon.stop(), Some(0));
}
