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
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("  next poll is due at "))
            .filter(|line| !line.starts_with("  told again at "));
        let lines: Vec<&str> = lines.collect();
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
        let mut lines = vec![format!("{} (process …, since …)", self.health)];
        let version = |digest: Digest| format!("{} since …", digest.short());
        for one in &self.profiles {
            let installed = one
                .installed
                .map_or("nothing installed".to_owned(), version);
            lines.push(format!("profile {}: {}, {installed}", one.name, one.state));
            let newer = one.received.filter(|_| one.received != one.installed);
            lines.extend(newer.map(|digest| format!("  received: {}", version(digest))));
            lines.extend(one.reason.iter().map(|reason| format!("  {reason}")));
            let remedy = match one.state.as_str() {
                "refused" => {
                    "next: deploy a version that passes, or mend what the settings name and `appconfigd reload`"
                }
                "quarantined" => "next: deploy another version, or this one anew",
                _ => continue,
            };
            let (state, name) = (&one.state, &one.name);
            lines.push(format!(
                "  {state} since …; {remedy}; `appconfigd retry {name}` tries this one again"
            ));
        }
        let mut targets: Vec<&Target> = self.targets.iter().collect();
        targets.sort_by_key(|one| &one.path);
        for one in targets {
            lines.push(format!(
                "target {}: {}",
                one.path,
                one.state.replace('_', " ")
            ));
            lines.extend(one.notes.iter().map(|note| format!("  {note}")));
        }
        for (name, state, result) in &self.services {
            lines.push(format!(
                "service {name}: {} since …",
                state.replace('_', " ")
            ));
            lines.extend((result != "accepted").then(|| format!("  {result}")));
        }
        lines
    }
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
