//! The pages in `docs/migrate`: their settings do what the other program did. Files, settings and what comes out stand on
//! the page, and are taken from there.
//!
//! What follows the language of a code block: `settings` is `appconfigd.yaml`, `file=NAME` lies beside it,
//! `deployed=APPLICATION/ENVIRONMENT/FILE` is in AppConfig, and `installed=PATH` is what the old program has left and the
//! new one makes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};

use nix::unistd::{getegid, geteuid};

use crate::documents::{Block, blocks};
use crate::double::{Double, assumed_role};
use crate::sources::root;
use crate::world::{Server, World, metadata, stderr, stdout, wait_for};

#[test]
fn a_resource_of_confd() {
    let page = Page::new("confd");
    page.program("shopd", "grep -q '^workers = [0-9]*$' \"$2\"");
    page.changes("\"workers\": 8", "workers = 8", "9", 0o640);
}

#[test]
fn a_stanza_of_consul_template() {
    let page = Page::new("consul-template");
    page.program("nginx", "[ \"$*\" = -t ]");
    page.changes("_second\": 50", "rate=50", "60", 0o644);
}

#[test]
fn a_manifest_of_the_agent() {
    let page = Page::new("appconfig-agent");
    page.changes("2000", "2000", "2500", 0o644);
    let asked = page.roles.requests();
    assert!(
        asked.iter().all(|request| [
            "payments-reader",
            "ExternalId=shop",
            "RoleSessionName=shop-host"
        ]
        .iter()
        .all(|part| request.body.contains(part))),
        "{asked:?}"
    );
    assert!(!asked.is_empty(), "one of the two is read in another role");
}

#[test]
fn a_script_of_cron() {
    let page = Page::new("cron-and-cli");
    let script = page.block("old=shop-partners").text.clone();
    let script = page.world.write("old", &script);
    let parsed = Command::new("sh").arg("-n").arg(script).status().unwrap();
    assert!(parsed.success(), "the old script is none");
    page.program("shopctl", "[ \"$1\" = status ]");
    let _shopd = page.handles_signals("/run/shop/shopd.pid");
    page.changes("share: 12", "share: 12", "13", 0o640);
}

/// A page, and a world in which its settings are. `told` is there what notifications have written.
struct Page {
    world: World,
    server: Server,
    /// Whoever asks for a role gets it.
    roles: Double,
    blocks: Vec<Block>,
}

impl Page {
    fn new(name: &str) -> Page {
        let page = root().join(format!("docs/migrate/{name}.md"));
        let blocks = blocks(&fs::read_to_string(page).unwrap());
        let world = World::new();
        let server = Server::start(&world);
        let roles = Double::start(|_, _| assumed_role());
        let page = Page {
            world,
            server,
            roles,
            blocks,
        };
        page.program(
            "systemctl",
            "[ \"$1\" = --no-ask-password ] && shift\n\
             if [ \"$1\" = show ]; then\n\
             printf '%s\\n' LoadState=loaded ActiveState=active SubState=running Job= Result=success MainPID=1\n\
             else echo \"$*\" >>told; fi",
        );
        // As it stands on the page, but for who we are and how long a test waits.
        let settings = &page.block("settings").text;
        let slow = ["60s", "45s"].map(|interval| format!("poll_interval: {interval}"));
        assert!(
            slow.iter().any(|interval| settings.contains(interval)),
            "{settings}"
        );
        let settings = slow.iter().fold(settings.clone(), |settings, interval| {
            settings.replace(interval, "poll_interval: 1s")
        });
        let settings = settings.replace("owner: 0", &format!("owner: {}", geteuid()));
        let settings = settings.replace("group: 0", &format!("group: {}", getegid()));
        page.world.write("appconfigd.yaml", &settings);
        for (file, text) in page.tagged("file=") {
            page.world.write(file, text);
        }
        page
    }

    /// The block with this word behind its language.
    fn block(&self, word: &str) -> &Block {
        let found = self
            .blocks
            .iter()
            .find(|block| block.info.split(' ').any(|other| other == word));
        found.unwrap_or_else(|| panic!("no block `{word}`"))
    }

    /// What stands behind the tag, and the text of the block.
    fn tagged(&self, tag: &str) -> Vec<(&str, &str)> {
        let tagged = self.blocks.iter().filter_map(|block| {
            let words = block.info.split(' ');
            let name = words.filter_map(|word| word.strip_prefix(tag)).next()?;
            Some((name, block.text.as_str()))
        });
        tagged.collect()
    }

    /// A program of the host, played by these lines of shell.
    fn program(&self, name: &str, lines: &str) {
        let file = format!("bin/{name}");
        let program = self.world.write(&file, &format!("#!/bin/sh\n{lines}\n"));
        fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// A process that writes a line for each HUP, with its number in this file.
    fn handles_signals(&self, pid_file: &str) -> Signalled {
        let file = self.world.target(pid_file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let lines = "trap 'echo HUP >>told' HUP; echo $$ >\"$1\"; while :; do sleep 0.05; done";
        let mut command = Command::new("sh");
        command.args(["-c", lines, "sh"]).arg(&file);
        command.current_dir(self.world.path(""));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        wait_for("the process has written its number", || {
            (!fs::read_to_string(&file).ok()?.is_empty()).then_some(())
        });
        Signalled(child)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.world.path("bin");
        command
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("APPCONFIGD_ROOT", self.world.path("root"))
            .env("AWS_ENDPOINT_URL_APPCONFIGDATA", self.server.endpoint())
            .env("AWS_ENDPOINT_URL_STS", self.roles.url());
        command
    }

    fn told(&self) -> usize {
        self.world.read("told").unwrap_or_default().lines().count()
    }

    /// The old program's files, of this mode, are taken over as they are. Then `to` takes the place of the number at the end
    /// of `deployed`, and at the end of `installed` in what comes out, which is one notification.
    fn changes(&self, deployed: &str, installed: &str, to: &str, mode: u32) {
        for (file, text) in self.tagged("deployed=") {
            self.world.deploy(file, text);
        }
        for (path, text) in self.tagged("installed=") {
            let file = self.world.target(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
        }
        let check = self.command(&["check"]).output().unwrap();
        let said = stderr(&check);
        assert_eq!((check.status.code(), said.as_str()), (Some(0), ""));
        let plan = self.command(&["plan"]).output().unwrap();
        let said = format!("{}{}", stdout(&plan), stderr(&plan));
        assert!(said.contains("\n0 of "), "{said}");

        let before: Vec<_> = self.inodes().collect();
        let daemon = self.world.run_by(self.command(&["run"]));
        wait_for(&format!("a start; log:\n{}", self.world.log()), || {
            let status = self.command(&["status"]).output().unwrap();
            (status.status.code() == Some(0) && self.told() > 0).then_some(())
        });
        assert_eq!(self.told(), 1, "{}", self.world.log());
        let after: Vec<_> = self.inodes().collect();
        assert_eq!(before, after, "a file that is right is not written");
        let plan = self.command(&["plan"]).output().unwrap();
        assert_eq!(plan.status.code(), Some(0), "{}", stdout(&plan));

        let change = |text: &str, part: &str| {
            let kept = part.trim_end_matches(|c: char| c.is_ascii_digit());
            text.contains(part)
                .then(|| text.replace(part, &format!("{kept}{to}")))
        };
        for (file, text) in self.tagged("deployed=") {
            if let Some(changed) = change(text, deployed) {
                self.world.deploy(file, changed);
            }
        }
        let mut changed = 0;
        for (path, text) in self.tagged("installed=") {
            if let Some(text) = change(text, installed) {
                self.world.wait_for_target(path, &text);
                changed += 1;
            }
            let ours = (geteuid().as_raw(), getegid().as_raw(), mode);
            assert_eq!(metadata(&self.world.target(path)), ours, "{path}");
        }
        assert_eq!(changed, 1, "one of the files changes");
        wait_for("all is well", || {
            let status = self.command(&["status"]).output().unwrap();
            (status.status.code() == Some(0) && self.told() > 1).then_some(())
        });
        assert_eq!(daemon.stop(), Some(0), "{}", self.world.log());
        assert_eq!(self.told(), 2, "{}", self.world.log());
    }

    /// Of what is installed.
    fn inodes(&self) -> impl Iterator<Item = u64> {
        let files = self.tagged("installed=").into_iter();
        files.map(|(path, _)| fs::metadata(self.world.target(path)).unwrap().ino())
    }
}

/// A process that gets signals; killed when dropped.
struct Signalled(Child);

impl Drop for Signalled {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
