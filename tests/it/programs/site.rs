//! A program that serves a site, and a daemon that keeps its files.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::program::{DIRECTORIES, Kind, Program};
use crate::portrait::{Portrait, adorn};
use crate::skip::skip;
use crate::stand::{Stand, is_like};
use crate::world::{Daemon, Server, World, wait_for};

/// A version of the site. All that the program says of itself is in it.
#[derive(Clone, Copy)]
pub struct Version {
    pub greeting: &'static str,
    /// The status that `/healthz` answers.
    pub health: u16,
    /// A line of the program's own language.
    pub extra: &'static str,
}

pub const fn version(greeting: &'static str) -> Version {
    Version {
        greeting,
        health: 200,
        extra: "",
    }
}

impl Version {
    pub fn ill(self) -> Version {
        Version {
            health: 500,
            ..self
        }
    }

    pub fn with(self, extra: &'static str) -> Version {
        Version { extra, ..self }
    }

    /// The configuration.
    pub fn body(&self) -> String {
        json!({"greeting": self.greeting, "health": self.health, "extra": self.extra}).to_string()
    }

    /// What one of the templates makes of it.
    pub fn rendered(&self, template: &str) -> String {
        let text = template.replace("{{ config.greeting }}", self.greeting);
        let text = text.replace("{{ config.health }}", &self.health.to_string());
        text.replace("{{ config.extra }}", self.extra)
    }
}

pub struct Site {
    pub kind: Kind,
    pub world: World,
    pub server: Server,
    pub program: Program,
    /// The lines of the settings below the source.
    pub lines: String,
    /// How much of the log, and how many reloads, were before what is looked at now.
    before: (usize, usize),
}

impl Site {
    /// A program that runs without a site, and settings for the daemon to come. `None`, and a skip, without the program.
    pub fn new(kind: Kind, first: Version) -> Option<Site> {
        if kind.program().is_none() {
            skip(&format!("{} is not installed", kind.name));
            return None;
        }
        let world = World::new();
        world.deploy("shop/prod/site.json", first.body());
        world.write("site.j2", kind.site);
        let server = Server::start(&world);
        let program = Program::start(&kind, &world);
        let (name, path, port) = (kind.name, kind.target("site"), program.port);
        let lines = format!(
            "profiles:
  site: {{validate: {{format: json}}}}
targets:
  {path}: {{from: site, template: site.j2, notify: {name}}}
services:
  {name}:
    check: {check}
    signal: {{name: {signal}, pid_file: /run/{name}.pid}}
    probe: {{http: \"http://127.0.0.1:{port}/healthz\", {probe}}}
",
            check = json!(kind.check(&world)),
            signal = kind.signal,
            probe = kind.probe,
        );
        let site = Site {
            kind,
            world,
            server,
            program,
            lines,
            before: (0, 0),
        };
        site.write_settings();
        Some(site)
    }

    /// Version one is served from a file whose owner, mode, ACL and attributes are its own; what is logged and told from
    /// now on counts.
    pub fn serving(kind: Kind) -> Option<(Site, Daemon)> {
        let one = version("one");
        Some(Site::new(kind, one)?.serves(one))
    }

    /// As [`Site::serving`], of a site whose settings may have been changed before.
    pub fn serves(mut self, first: Version) -> (Site, Daemon) {
        let daemon = self.world.run();
        self.wait_for(first.greeting);
        self.healthy(first);
        adorn(&self.file("site"));
        // The daemon has seen it, and leaves it so.
        self.healthy(first);
        self.mark();
        (self, daemon)
    }

    pub fn write_settings(&self) {
        self.world.settings(&self.server, &self.lines);
    }

    /// Other settings from now on, taken in without a new start.
    pub fn change_settings(&mut self, from: &str, to: &str) {
        assert!(self.lines.contains(from), "{}", self.lines);
        self.lines = self.lines.replace(from, to);
        self.write_settings();
        let output = self.world.output(&["reload"]);
        assert_eq!(output.status.code(), Some(0), "{}", self.world.log());
    }

    /// The checker's words, as they stand in the settings.
    pub fn check(&self) -> String {
        json!(self.kind.check(&self.world)).to_string()
    }

    pub fn deploy(&self, version: Version) {
        self.world.deploy("shop/prod/site.json", version.body());
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.world.target(&self.kind.target(name))
    }

    pub fn portrait(&self) -> Portrait {
        Portrait::of(&self.file("site"))
    }

    /// What the site's file has in it for a version.
    pub fn text(&self, version: Version) -> String {
        version.rendered(self.kind.site)
    }

    pub fn wait_for(&self, greeting: &str) {
        let what = format!(
            "{} greets with {greeting:?}; log:\n{}",
            self.kind.name,
            self.world.log()
        );
        wait_for(&what, || {
            (self.program.get("/")? == (200, greeting.to_owned())).then_some(())
        });
    }

    /// What follows is looked at, not what was.
    pub fn mark(&mut self) {
        self.before = (self.world.log().len(), self.kind.reloads(&self.world));
    }

    pub fn stand(&self, health: &str) -> Stand<'_> {
        Stand::new(&self.world, health)
    }

    /// Everything stands as it should, with this version.
    pub fn healthy(&self, version: Version) {
        let (body, text) = (version.body(), self.text(version));
        self.stand("healthy")
            .profile("site", "current", Some(&body), Some(&body), "")
            .target(&self.kind.target("site"), "in_sync", Some(&text), &[])
            .service(self.kind.name, "acknowledged", "accepted")
            .holds();
    }

    /// `installed` stands, and `received` does not, for this reason.
    pub fn kept(
        &self,
        installed: Version,
        state: &str,
        received: Version,
        reason: &str,
        result: &str,
    ) {
        let text = self.text(installed);
        self.stand("degraded")
            .profile(
                "site",
                state,
                Some(&installed.body()),
                Some(&received.body()),
                reason,
            )
            .target(&self.kind.target("site"), "in_sync", Some(&text), &[])
            .service(self.kind.name, "acknowledged", result)
            .holds();
    }

    /// The program was told so many times to load its files again.
    pub fn told(&self, times: usize) {
        let told = || self.kind.reloads(&self.world) - self.before.1;
        wait_for("as many reloads", || (told() >= times).then_some(()));
        assert_eq!(told(), times, "{}", self.world.log());
    }

    /// The lines of the log since the mark, without their times and without details; a start is no news.
    pub fn log(&self) -> Vec<String> {
        let log = self.world.log();
        let lines = log[self.before.0..]
            .lines()
            .filter_map(|line| line.split_once("Z "));
        let lines = lines.map(|(_, line)| line.trim_start());
        let passed_over = ["DEBUG", "INFO started", "INFO ready"];
        let news = |line: &&str| !passed_over.iter().any(|start| line.starts_with(start));
        lines.filter(news).map(str::to_owned).collect()
    }

    /// The log has these lines, in which `…` stands for any text, and no others.
    pub fn logged(&self, patterns: &[&str]) {
        let more = self.logged_first(patterns);
        assert!(more.is_empty(), "more than expected:\n{}", more.join("\n"));
    }

    /// The log begins with these lines; what follows.
    pub fn logged_first(&self, patterns: &[&str]) -> Vec<String> {
        // A line may come after the state that it tells of.
        wait_for(&format!("as many lines as {patterns:#?}"), || {
            (self.log().len() >= patterns.len()).then_some(())
        });
        let mut log = self.log();
        let more = log.split_off(patterns.len());
        let same = log
            .iter()
            .zip(patterns)
            .all(|(line, pattern)| is_like(line, pattern));
        assert!(
            same,
            "expected\n{}\nfound\n{}",
            patterns.join("\n"),
            log.join("\n")
        );
        more
    }

    /// The directories hold these files, and nothing of ours beside them.
    pub fn files(&self, names: &[&str]) {
        let prefix = self.world.target(&self.kind.prefix());
        let entries = DIRECTORIES
            .into_iter()
            .flat_map(|directory| fs::read_dir(prefix.join(directory)).unwrap());
        let found: BTreeSet<_> = entries.map(|entry| entry.unwrap().path()).collect();
        let expected: BTreeSet<_> = names.iter().map(|name| self.file(name)).collect();
        assert_eq!(found, expected);
    }

    /// Two more polls, which brought nothing new.
    pub fn two_polls(&self) {
        let get = || self.server.count("shop/prod/site", "get");
        let before = get();
        wait_for("two more polls", || (get() >= before + 2).then_some(()));
    }
}
