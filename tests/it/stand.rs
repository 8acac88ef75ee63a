//! How everything stands: `status --json` to the last field, the status for a person to the last line.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use appconfigd::protocol::Digest;

use crate::world::{PATIENCE, World};

/// What is expected of a status, but for times and the process. `…` in a reason, a result or a note stands for any text.
pub struct Stand<'a> {
    world: &'a World,
    health: String,
    profiles: Vec<Profile>,
    targets: Vec<Target>,
    services: Vec<(String, String, String)>,
}

struct Profile {
    name: String,
    state: String,
    installed: Option<Digest>,
    received: Option<Digest>,
    reason: Option<String>,
}

struct Target {
    path: String,
    state: String,
    digest: Option<Digest>,
    notes: Vec<String>,
}

impl Stand<'_> {
    pub fn new<'a>(world: &'a World, health: &str) -> Stand<'a> {
        Stand {
            world,
            health: health.to_owned(),
            profiles: Vec::new(),
            targets: Vec::new(),
            services: Vec::new(),
        }
    }

    /// `reason` may be empty for none. Bodies, not digests.
    pub fn profile(
        mut self,
        name: &str,
        state: &str,
        installed: Option<&str>,
        received: Option<&str>,
        reason: &str,
    ) -> Self {
        self.profiles.push(Profile {
            name: name.to_owned(),
            state: state.to_owned(),
            installed: installed.map(|body| Digest::of(body.as_bytes())),
            received: received.map(|body| Digest::of(body.as_bytes())),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
        });
        self
    }

    /// `text` is what was installed.
    pub fn target(mut self, path: &str, state: &str, text: Option<&str>, notes: &[&str]) -> Self {
        self.targets.push(Target {
            path: path.to_owned(),
            state: state.to_owned(),
            digest: text.map(|text| Digest::of(text.as_bytes())),
            notes: notes.iter().map(|&note| note.to_owned()).collect(),
        });
        self
    }

    pub fn service(mut self, name: &str, state: &str, result: &str) -> Self {
        self.services
            .push((name.to_owned(), state.to_owned(), result.to_owned()));
        self
    }

    /// Waits until it holds: in JSON, for a person, and in the exit code.
    pub fn holds(self) {
        let (json, text) = (self.json(), self.text());
        let since = Instant::now();
        loop {
            let found = self.world.status().map(|status| self.found(status));
            let shown = self.shown();
            if found.as_ref() == Some(&json) && self.is_shown(&shown, &text) {
                return;
            }
            let found = found.unwrap_or_default();
            assert!(
                since.elapsed() < PATIENCE,
                "expected {json:#}\nfound {found:#}\nexpected\n{}\nfound\n{shown:?}\nlog:\n{}",
                text.join("\n"),
                self.world.log()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The status for a person, and the exit code.
    fn shown(&self) -> (String, Option<i32>) {
        let output = self.world.output(&["status"]);
        let text = String::from_utf8(output.stdout).unwrap();
        (text, output.status.code())
    }

    fn is_shown(&self, (text, code): &(String, Option<i32>), expected: &[String]) -> bool {
        let lines = unwrapped(text).into_iter();
        let lines = lines.filter(|line| !line.starts_with("told again "));
        let lines: Vec<String> = lines.collect();
        let of_health = match self.health.as_str() {
            "healthy" => 0,
            "degraded" => 2,
            _ => 1,
        };
        lines.len() == expected.len()
            && lines
                .iter()
                .zip(expected)
                .all(|(line, pattern)| is_like(line, pattern))
            && *code == Some(of_health)
    }

    fn json(&self) -> Value {
        let version = |digest: Option<Digest>| {
            digest.map(|digest| json!({"digest": digest.to_string(), "label": null}))
        };
        let profile = |one: &Profile| {
            let parts = json!({"state": one.state, "installed": version(one.installed), "received": version(one.received), "reason": one.reason});
            (one.name.clone(), parts)
        };
        let target = |one: &Target| {
            let digest = one.digest.map(|digest| digest.to_string());
            (
                one.path.clone(),
                json!({"state": one.state, "digest": digest}),
            )
        };
        let service = |(name, state, result): &(String, String, String)| {
            (name.clone(), json!({"state": state, "last_result": result}))
        };
        let profiles: serde_json::Map<_, _> = self.profiles.iter().map(profile).collect();
        let targets: serde_json::Map<_, _> = self.targets.iter().map(target).collect();
        let services: serde_json::Map<_, _> = self.services.iter().map(service).collect();
        json!({"schema": 1, "daemon": {}, "state": self.health, "profiles": profiles, "targets": targets, "services": services, "watches": {}})
    }

    /// The status without times and process; a text that is like the one expected becomes it.
    fn found(&self, mut status: Value) -> Value {
        forget(
            &mut status,
            &[
                "since",
                "last_poll",
                "next_poll",
                "pid",
                "version",
                "started_at",
                "next_attempt",
            ],
        );
        for one in &self.profiles {
            settle(
                status["profiles"]
                    .get_mut(&one.name)
                    .and_then(|it| it.get_mut("reason")),
                one.reason.as_deref(),
            );
        }
        for (name, _, result) in &self.services {
            settle(
                status["services"]
                    .get_mut(name)
                    .and_then(|it| it.get_mut("last_result")),
                Some(result),
            );
        }
        status
    }

    fn text(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{}: appconfigd …, process …, running for …",
            self.health
        )];
        lines.push("PROFILE STATE VERSION AGE NEXT POLL".to_owned());
        for one in &self.profiles {
            let installed = one.installed.map_or("none".to_owned(), |it| it.short());
            lines.push(format!("{} {} {installed} …", one.name, one.state));
            let newer = one.received.filter(|_| one.received != one.installed);
            lines.extend(newer.map(|it| format!("newest: {}, received … ago", it.short())));
            let mut texts: Vec<String> = one.reason.iter().cloned().collect();
            let remedy = match one.state.as_str() {
                "refused" => {
                    "deploy a version that passes, or mend what the settings name and `appconfigd reload`"
                }
                "quarantined" => "deploy another version, or this one anew",
                state => {
                    texts.extend(step(&texts, state == "current"));
                    lines.extend(said(&texts, state == "current"));
                    continue;
                }
            };
            let (state, name) = (&one.state, &one.name);
            texts.push(format!(
                "{state} since …; next: {remedy}; `appconfigd retry {name}` tries this one again"
            ));
            lines.extend(said(&texts, false));
        }
        let mut targets: Vec<&Target> = self.targets.iter().collect();
        targets.sort_by_key(|one| &one.path);
        lines.push("TARGET STATE CONTENT".to_owned());
        for one in targets {
            let digest = one.digest.map_or("none".to_owned(), |it| it.short());
            let state = one.state.replace('_', " ");
            lines.push(format!("{} {state} {digest}", one.path));
            let well = one.state == "in_sync";
            let mut notes = one.notes.clone();
            notes.extend(step(&notes, well));
            lines.extend(said(&notes, well));
        }
        if !self.services.is_empty() {
            lines.push("SERVICE STATE SINCE".to_owned());
        }
        for (name, state, result) in &self.services {
            lines.push(format!("{name} {} … ago", state.replace('_', " ")));
            let well = state == "acknowledged" || state == "not_running";
            let mut texts: Vec<String> = Vec::new();
            texts.extend((result != "accepted").then(|| result.clone()));
            texts.extend((!well).then(|| "next: …".to_owned()));
            lines.extend(said(&texts, well));
        }
        lines
    }
}

/// What is not well has a next step, here or already.
fn step(texts: &[String], well: bool) -> Option<String> {
    let has = texts.iter().any(|text| text.contains("next: "));
    (!well && !has).then(|| "next: …".to_owned())
}

/// Reasons, then next steps, as the screen has them.
fn said(texts: &[String], well: bool) -> Vec<String> {
    let (mut reasons, mut steps) = (Vec::new(), Vec::new());
    for text in texts {
        let (why, step) = match text.split_once("next: ") {
            Some((why, step)) => (why.trim_end_matches("; "), Some(step)),
            None => (text.as_str(), None),
        };
        if !why.is_empty() {
            let lead = if well || !reasons.is_empty() {
                ""
            } else {
                "why: "
            };
            reasons.push(format!("{lead}{why}"));
        }
        steps.extend(step.map(|step| format!("next: {step}")));
    }
    reasons.extend(steps);
    reasons
}

/// The lines of a screen: those that were wrapped are whole again, columns are words, blank lines are gone.
pub fn unwrapped(screen: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in screen.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = words.join(" ");
        match lines.last_mut() {
            _ if words.is_empty() => {}
            Some(last) if line.starts_with("    ") => {
                last.push(' ');
                last.push_str(&words);
            }
            _ => lines.push(words),
        }
    }
    lines
}

/// Whether a text is like a pattern in which `…` stands for any text.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn settle(found: Option<&mut Value>, expected: Option<&str>) {
    if let (Some(found), Some(pattern)) = (found, expected)
        && found.as_str().is_some_and(|text| is_like(text, pattern))
    {
        *found = json!(pattern);
    }
}

fn forget(value: &mut Value, keys: &[&str]) {
    if let Value::Object(map) = value {
        map.retain(|key, _| !keys.contains(&key.as_str()));
        map.values_mut().for_each(|value| forget(value, keys));
    }
}

#[test]
fn a_pattern_is_like_its_texts_and_no_others() {
    for (text, pattern, like) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("abc", "ab…", true),
        ("abc", "…bc", true),
        ("abc", "a…b…c", true),
        ("acb", "a…b…c", false),
        ("abcd", "a…c", false),
        ("", "…", true),
    ] {
        assert_eq!(is_like(text, pattern), like, "{text:?} {pattern:?}");
    }
}
