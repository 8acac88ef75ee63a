//! A world for the machine: real planning and real files, a ledger in memory, services that say what a test wants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::clock::Now;
use crate::content::Content;
use crate::install::{Found, Installer, NotSwapped, Placement};
use crate::ledger::{Bodies, Change, Direction, Refusal, State};
use crate::protocol::{Configuration, Digest, Identity};
use crate::service::{Running, Verdict};
use crate::settings::{
    AwsSettings, Command, FileSet, Notify, OnFailure, Probe, ProbeAsk, Profile, ProfileName,
    Render, Service, ServiceName, SetFile, Settings, Signal, SignalTarget, SourceSettings, Target,
    TargetPath, Validate, Watch, Whose,
};
use crate::words::with_causes;

use super::super::action::{Answer, Baseline, Names};
use super::super::planning::Planner;
use super::super::{Action, Component, Event, Host, Machine, Outcome, Pacing, Scope, Step};

/// No journey of a test takes more actions than this before it waits for time.
const MANY: usize = 3_000;

pub fn profile(name: &str) -> Profile {
    Profile {
        name: name.into(),
        application: "a".to_owned(),
        environment: "e".to_owned(),
        configuration_profile: name.to_owned(),
        poll_interval: Duration::from_secs(60),
        required: true,
        sensitive: false,
        validate: Validate::default(),
        assume_role: None,
    }
}

pub fn target(path: &str, from: &[&str], notify: &[&str]) -> Target {
    Target {
        path: TargetPath::new(path).unwrap(),
        from: from.iter().map(|name| ProfileName::from(*name)).collect(),
        render: match from.len() {
            1 => Render::Verbatim,
            _ => Render::Merge {
                format: crate::settings::Format::Json,
            },
        },
        owner: None,
        group: None,
        mode: None,
        in_place: false,
        symlink: Default::default(),
        unsafe_path: false,
        parents: None,
        validate_command: None,
        notify: notify.iter().map(|name| (*name).into()).collect(),
        on_drift: crate::settings::OnDrift::Restore,
        sensitive: false,
    }
}

/// A directory target of two files, both made from this profile.
pub fn directory(path: &str, from: &str, notify: &[&str]) -> Target {
    let file = SetFile {
        from: vec![from.into()],
        render: Render::Verbatim,
        owner: None,
        group: None,
        mode: None,
        sensitive: false,
    };
    let files = INSIDE.map(|name| (name.to_owned(), file.clone()));
    Target {
        render: Render::Files(FileSet {
            files: files.into(),
            adopt: false,
            keep_previous: 1,
        }),
        ..target(path, &[from], notify)
    }
}

/// The files of a directory target.
pub const INSIDE: [&str; 2] = ["one", "sub/two"];

pub fn service(name: &str, on_failure: OnFailure) -> Service {
    let command = Command::Shell("true".to_owned());
    Service {
        name: name.into(),
        check: Some(command.clone()),
        notify: Notify::Signal {
            signal: Signal {
                name: "HUP".to_owned(),
                number: 1,
            },
            to: SignalTarget::PidFile("/run/it.pid".into()),
            whose: Whose::default(),
        },
        probe: Some(Probe {
            ask: ProbeAsk::Command(command),
            within: Duration::from_secs(1),
            successes: 1,
            delay: Duration::ZERO,
            interval: Duration::from_secs(1),
        }),
        on_failure,
        timeout: Duration::from_secs(1),
        commands: Default::default(),
        conditions: Default::default(),
        pace: Default::default(),
        give_up_after: None,
    }
}

pub fn id(name: &str) -> Identity {
    Identity(name.into())
}

pub fn path(text: &str) -> TargetPath {
    TargetPath::new(text).unwrap()
}

pub fn no() -> Verdict {
    Verdict::Rejected("no".to_owned())
}

pub fn perhaps() -> Verdict {
    Verdict::Undecided("who knows".to_owned())
}

pub struct World {
    pub directory: tempfile::TempDir,
    pub installer: Installer,
    pub settings: Settings,
    pub component: Arc<Component>,
    pub content: Content,
    pub ledger: State,
    pub bodies: Bodies,
    pub machine: Machine,
    pub now: Now,
    random: fastrand::Rng,
    queue: VecDeque<Action>,
    /// What services say next, by service and step; when nothing is left here, what the files say.
    script: BTreeMap<(ServiceName, String), VecDeque<Answer>>,
    pub staged_script: VecDeque<Verdict>,
    pub baselines: BTreeMap<ServiceName, Baseline>,
    /// So many of the next commits fail.
    pub full: usize,
    /// Staging fails for these.
    pub unwritable: BTreeSet<TargetPath>,
    /// The next swaps fail after so many renames.
    pub swap_breaks: VecDeque<usize>,
    pub back_breaks: usize,
    /// The next of these steps panic.
    pub panics: Vec<&'static str>,
    /// One word an action.
    pub log: Vec<String>,
    pub said: Vec<Outcome>,
    /// What lay there when the service was told last.
    pub told: BTreeMap<ServiceName, BTreeMap<TargetPath, Option<Digest>>>,
    /// What a swap has put in place and nobody has touched since.
    pub swapped: Vec<Placement>,
    /// What somebody else has touched.
    pub drifted: BTreeSet<TargetPath>,
    /// Transactions that stood and go back. Where neither the turn nor the end of it was recorded, the next process takes
    /// the files for touched by somebody else.
    turned: BTreeSet<u64>,
    pub asked_about: Vec<(Step, Timestamp)>,
    /// Who was notified, and whether it knows then.
    pub notified: Vec<(ServiceName, bool)>,
    pub pacing: Pacing,
    /// Transactions that a restart has found open: they are carried out at once.
    pub interrupted: BTreeSet<u64>,
    /// Nobody gives orders: newer versions keep the pace.
    pub without_orders: bool,
}

impl World {
    pub fn new(profiles: &[&str], targets: Vec<Target>, services: Vec<Service>) -> World {
        World::of(
            profiles.iter().map(|name| profile(name)).collect(),
            targets,
            services,
        )
    }

    pub fn of(profiles: Vec<Profile>, targets: Vec<Target>, services: Vec<Service>) -> World {
        World::with(profiles, targets, services, Vec::new())
    }

    /// Without profiles and targets.
    pub fn watching(watches: Vec<Watch>, services: Vec<Service>) -> World {
        World::with(Vec::new(), Vec::new(), services, watches)
    }

    fn with(
        profiles: Vec<Profile>,
        targets: Vec<Target>,
        services: Vec<Service>,
        watches: Vec<Watch>,
    ) -> World {
        let directory = match std::path::Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm"),
            false => tempfile::tempdir(),
        }
        .unwrap();
        let settings = Settings {
            file: "appconfigd.yaml".into(),
            directory: directory.path().to_owned(),
            source: SourceSettings::Aws(AwsSettings::default()),
            root: None,
            ready_timeout: Duration::from_secs(300),
            stop_timeout: Duration::from_secs(30),
            metrics: None,
            profiles: profiles
                .into_iter()
                .map(|one| (one.name.clone(), Arc::new(one)))
                .collect(),
            watches: watches
                .into_iter()
                .map(|one| (one.name.clone(), Arc::new(one)))
                .collect(),
            targets: targets
                .into_iter()
                .map(|one| (one.path.clone(), Arc::new(one)))
                .collect(),
            services: services
                .into_iter()
                .map(|one| (one.name.clone(), Arc::new(one)))
                .collect(),
        };
        let content = Content::load(&settings).ok().unwrap();
        let ledger = State::default();
        let component = component(&settings, &ledger);
        let pacing = Pacing::Kept(Host::new("host"));
        let machine = Machine::new(
            Arc::clone(&component),
            component.state(&ledger),
            pacing.clone(),
        );
        World {
            installer: Installer::new(Some(directory.path().to_owned())),
            directory,
            settings,
            component,
            content,
            ledger,
            bodies: Bodies::new(),
            machine,
            now: Now {
                wall: Timestamp::from_second(1_800_000_000).unwrap(),
                steady: Duration::from_secs(1_000),
            },
            random: fastrand::Rng::with_seed(7),
            queue: VecDeque::new(),
            script: BTreeMap::new(),
            staged_script: VecDeque::new(),
            baselines: BTreeMap::new(),
            full: 0,
            unwritable: BTreeSet::new(),
            swap_breaks: VecDeque::new(),
            back_breaks: 0,
            panics: Vec::new(),
            log: Vec::new(),
            said: Vec::new(),
            told: BTreeMap::new(),
            swapped: Vec::new(),
            drifted: BTreeSet::new(),
            turned: BTreeSet::new(),
            asked_about: Vec::new(),
            notified: Vec::new(),
            pacing,
            interrupted: BTreeSet::new(),
            without_orders: false,
        }
    }

    /// The next answers of a service to a step.
    pub fn says(&mut self, service: &str, step: Step, verdicts: &[Verdict]) {
        for verdict in verdicts {
            let answer = Answer {
                verdict: verdict.clone(),
                ended: false,
            };
            self.says_exactly(service, step, answer);
        }
    }

    pub fn says_exactly(&mut self, service: &str, step: Step, answer: Answer) {
        let key = (service.into(), format!("{step:?}"));
        self.script.entry(key).or_default().push_back(answer);
    }

    pub fn forget_script(&mut self) {
        self.script.clear();
        self.staged_script.clear();
        self.baselines.clear();
        self.full = 0;
        self.unwritable.clear();
        self.swap_breaks.clear();
        self.back_breaks = 0;
        self.panics.clear();
    }

    /// A poll brings a configuration.
    pub fn receive(&mut self, profile: &str, text: &str) {
        self.receive_quietly(profile, text);
        self.event(Event::Wake(Scope::profile(id(profile))));
    }

    pub fn receive_quietly(&mut self, profile: &str, text: &str) {
        self.receive_as(profile, text, None);
    }

    pub fn receive_as(&mut self, profile: &str, text: &str, label: Option<&str>) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let kind = match text.starts_with(['{', '[']) {
            true => "application/json",
            false => "text/plain",
        };
        self.bodies.insert(Digest::of(&bytes), bytes.clone());
        let change = Change::Received {
            identity: id(profile),
            configuration: Configuration::new(
                bytes,
                Some(kind.to_owned()),
                label.map(str::to_owned),
            ),
            at: self.now.wall,
        };
        self.ledger.apply(&change);
        self.machine.apply(&[change]);
    }

    /// Receives, and lets everything that needs no time happen.
    pub fn deliver(&mut self, profile: &str, text: &str) {
        self.receive(profile, text);
        self.run();
    }

    pub fn event(&mut self, event: Event) {
        let actions = self.machine.on(event, self.now, &mut self.random);
        self.queue.extend(actions);
    }

    /// Everything that needs no time.
    pub fn run(&mut self) {
        for _ in 0..MANY {
            if !self.step() {
                return;
            }
        }
        panic!(
            "does not come to rest: {:?}",
            &self.log[self.log.len() - 40..]
        );
    }

    /// One action; false when there is none.
    pub fn step(&mut self) -> bool {
        let Some(action) = self.queue.pop_front() else {
            return false;
        };
        if let Some(event) = self.perform(action) {
            assert!(
                self.queue
                    .iter()
                    .all(|action| matches!(action, Action::Say(_))),
                "an action that brings an event is the last"
            );
            self.event(event);
        }
        true
    }

    /// Goes on to the machine's next tick; false if it needs none.
    pub fn wait(&mut self) -> bool {
        self.run();
        let Some(due) = self.machine.next_tick() else {
            return false;
        };
        self.advance(due.saturating_sub(self.now.steady));
        self.event(Event::Tick);
        self.run();
        if let Some(next) = self.machine.next_tick() {
            assert!(
                next > self.now.steady,
                "a tick that changes nothing is due again at once"
            );
        }
        true
    }

    pub fn advance(&mut self, by: Duration) {
        self.now.steady += by;
        self.now.wall += jiff::SignedDuration::try_from(by).unwrap();
    }

    /// Until nothing is due any more.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            if !self.wait() {
                return;
            }
        }
        panic!("never settles: {:?}", self.log);
    }

    /// The process dies and comes back.
    pub fn restart(&mut self) {
        self.queue.clear();
        for id in std::mem::take(&mut self.turned) {
            let intent = self.ledger.intents.get(&id);
            let unrecorded = intent.filter(|intent| intent.direction == Direction::Standing);
            let placed = unrecorded.into_iter().flat_map(|intent| &intent.placements);
            self.drifted
                .extend(placed.map(|placement| placement.target.clone()));
        }
        self.interrupted.extend(self.ledger.intents.keys());
        let component = component(&self.settings, &self.ledger);
        self.machine = Machine::new(
            Arc::clone(&component),
            component.state(&self.ledger),
            self.pacing.clone(),
        );
        self.component = component;
        let live: Vec<Placement> = self
            .ledger
            .intents
            .values()
            .flat_map(|intent| intent.placements.clone())
            .collect();
        let mut targets: BTreeSet<TargetPath> = self.settings.targets.keys().cloned().collect();
        targets.extend(live.iter().map(|placement| placement.target.clone()));
        self.installer.sweep(&targets, &live);
        self.event(Event::Tick);
    }

    /// Runs until the next action of this kind has been asked for, and does not do it.
    pub fn run_to(&mut self, kind: &str) {
        for _ in 0..MANY {
            if self
                .queue
                .front()
                .is_some_and(|action| word(action) == kind)
            {
                return;
            }
            assert!(self.step(), "`{kind}` never comes: {:?}", self.log);
        }
    }

    /// The next action is done by half, then the process dies.
    pub fn die_during_next(&mut self, share: usize) {
        if let Some(action) = self.queue.pop_front() {
            self.perform_partly(action, share);
        }
        self.restart();
    }

    fn perform_partly(&mut self, action: Action, share: usize) {
        match action {
            // Both at once: the one, the other, or both are done.
            Action::Open {
                changes,
                placements,
            } => {
                if share == 1 || share > 2 {
                    self.installer.keep(&placements).unwrap();
                }
                if share > 1 {
                    let _ = self.commit(&changes);
                }
            }
            Action::Swap {
                undo, placements, ..
            } => {
                let undone = undo.len().min(share);
                let _ = self.installer.put_back(&undo[..undone]);
                if undone < undo.len() {
                    return;
                }
                let kept = placements.len().min(share);
                self.installer.keep(&placements[..kept]).unwrap();
                if share > 2 {
                    self.installer.keep(&placements).unwrap();
                    self.installer
                        .swap(&placements[..(share - 2).min(placements.len())])
                        .unwrap();
                }
            }
            Action::PutBack(placements) => {
                self.turn(&placements);
                let _ = self
                    .installer
                    .put_back(&placements[..share.min(placements.len())]);
            }
            Action::Release(placements) => {
                self.installer
                    .release(&placements[..share.min(placements.len())]);
            }
            Action::Ask {
                step,
                services,
                about,
            } => {
                let some = services.into_iter().take(share).collect();
                self.perform(Action::Ask {
                    step,
                    services: some,
                    about,
                });
            }
            other if share > 0 => {
                self.perform(other);
            }
            _ => {}
        }
    }

    pub fn perform(&mut self, action: Action) -> Option<Event> {
        let word = word(&action);
        if !matches!(action, Action::Say(_)) {
            self.log.push(word.to_owned());
        }
        if let Some(at) = self.panics.iter().position(|kind| *kind == word) {
            self.panics.remove(at);
            return Some(Event::Broke("it panicked".to_owned()));
        }
        match action {
            Action::Say(outcome) => {
                self.said.push(outcome);
                None
            }
            Action::Plan {
                state,
                scope,
                forced,
                barred,
                resumed,
                turned_down,
                pins,
                urgent,
            } => {
                let mut needs =
                    Planner::needs(&self.component, &state, &scope, forced.keys(), &resumed);
                needs.extend(pins.values().map(|pin| pin.version.digest));
                let bodies = self
                    .bodies
                    .iter()
                    .filter(|(digest, _)| needs.contains(*digest));
                let bodies = bodies
                    .map(|(digest, body)| (*digest, body.clone()))
                    .collect();
                let plan = Planner {
                    component: &self.component,
                    state: &state,
                    content: &self.content,
                    installer: &self.installer,
                    bodies: &bodies,
                    scope: &scope,
                    forced: &forced,
                    barred: &barred,
                    resumed: &resumed,
                    turned_down: &turned_down,
                    pins: &pins,
                    pacing: &self.pacing,
                    urgent: &urgent,
                    now: self.now.wall,
                }
                .plan();
                Some(Event::Planned(Box::new(plan)))
            }
            Action::Repair(repairs) => Some(Event::Repaired(
                repairs
                    .into_iter()
                    .map(|(path, installed)| {
                        let result = match self.unwritable.contains(&path) {
                            true => Err("read-only".to_owned()),
                            false => self
                                .installer
                                .repair_metadata(&path, &installed.metadata)
                                .map_err(|error| with_causes(&error)),
                        };
                        (path, installed, result)
                    })
                    .collect(),
            )),
            Action::Stage(changes) => Some(Event::Staged(
                changes
                    .iter()
                    .map(|change| {
                        if self.unwritable.contains(&change.target) {
                            return Err("no space".to_owned());
                        }
                        let kept = self.installer.kept_name();
                        self.installer
                            .stage_at(
                                &change.target,
                                &change.site,
                                &change.bytes,
                                &change.metadata,
                            )
                            .map(|staged| Names { staged, kept })
                            .map_err(|error| with_causes(&error))
                    })
                    .collect(),
            )),
            Action::Discard(staged) => {
                for (target, name) in staged {
                    self.installer.discard(&target, &name);
                }
                None
            }
            Action::CheckStaged(staged) => Some(Event::StagedChecked(
                staged
                    .into_iter()
                    .map(|(target, name)| {
                        let staged = self.installer.staged_path(&target, &name);
                        let staged = match target.is_directory() {
                            true => staged.join(INSIDE[0]),
                            false => staged,
                        };
                        let text = std::fs::read_to_string(staged).unwrap();
                        let says = match text.contains("staged:no") {
                            true => no(),
                            false => Verdict::Accepted,
                        };
                        (target, self.staged_script.pop_front().unwrap_or(says))
                    })
                    .collect(),
            )),
            Action::Baseline(services) => Some(Event::Baselined(
                services
                    .into_iter()
                    .map(|name| {
                        let mark = format!("{name}:probe:no");
                        let mut depends = self.component.dependencies(&name).iter();
                        let fails = depends
                            .any(|path| self.text(path).is_some_and(|text| text.contains(&mark)));
                        let usual = Baseline {
                            running: Running::Yes,
                            missing: None,
                            probe: Some(match fails {
                                true => Err("no".to_owned()),
                                false => Ok(()),
                            }),
                        };
                        let found = self.baselines.get(&name).cloned().unwrap_or(usual);
                        (name, found)
                    })
                    .collect(),
            )),
            Action::Commit(changes) => Some(Event::Committed(self.commit(&changes))),
            Action::Open {
                changes,
                placements,
            } => {
                let kept = self.installer.keep(&placements).is_ok();
                Some(Event::Opened(self.commit(&changes), kept))
            }
            Action::Swap {
                undo,
                placements,
                kept,
            } => Some(Event::Swapped(self.swap(&undo, placements, kept))),
            Action::Ask {
                step,
                services,
                about,
            } => {
                self.asked_about.push((step, about.since));
                let answers = services.into_iter().map(|name| {
                    let answer = self.answer(&name, step);
                    (name, answer)
                });
                Some(Event::Answered(answers.collect()))
            }
            Action::PutBack(placements) => {
                self.turn(&placements);
                if self.back_breaks > 0 {
                    self.back_breaks -= 1;
                    let failed = placements.iter().map(|_| Err("busy".to_owned()));
                    return Some(Event::PutBack(failed.collect()));
                }
                let results = self.installer.put_back(&placements).into_iter();
                let results = results.map(|result| result.map_err(|error| with_causes(&error)));
                Some(Event::PutBack(results.collect()))
            }
            Action::Release(placements) => {
                self.installer.release(&placements);
                None
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), String> {
        if self.full > 0 {
            self.full -= 1;
            return Err("the ledger is full".to_owned());
        }
        for change in changes {
            self.ledger.apply(change);
        }
        Ok(())
    }

    fn turn(&mut self, placements: &[Placement]) {
        let standing = self.ledger.intents.values().filter(|intent| {
            intent.direction == Direction::Standing && intent.placements == placements
        });
        self.turned.extend(standing.map(|intent| intent.id));
    }

    fn swap(
        &mut self,
        undo: &[Placement],
        placements: Vec<Placement>,
        kept: bool,
    ) -> Result<(), (Vec<TargetPath>, String)> {
        let open: Vec<_> = self
            .ledger
            .intents
            .values()
            .filter(|intent| intent.direction == Direction::Forward)
            .collect();
        for placement in &placements {
            assert!(
                open.iter()
                    .any(|intent| intent.placements.contains(placement)),
                "a swap before its intent is committed"
            );
        }
        let outcome: BTreeMap<&TargetPath, Digest> = placements
            .iter()
            .map(|one| (&one.target, one.digest))
            .collect();
        for entry in &self.ledger.quarantine {
            let services = self.component.dependents(entry.outcome.keys());
            let mut outcomes = entry.outcome.iter();
            assert!(
                self.component.definition(&services) != entry.services
                    || !outcomes.all(|(path, digest)| outcome.get(path) == Some(digest)),
                "a quarantined outcome is installed again"
            );
        }
        for (result, placement) in self.installer.put_back(undo).into_iter().zip(undo) {
            let targets = vec![placement.target.clone()];
            result.map_err(|error| (targets, with_causes(&error)))?;
        }
        let failed = |failed: NotSwapped| (failed.targets, with_causes(&failed.error));
        if !kept {
            self.installer.keep(&placements).map_err(failed)?;
        }
        if let Some(count) = self.swap_breaks.pop_front() {
            let (some, rest) = placements.split_at(count.min(placements.len()));
            self.installer.swap(some).map_err(failed)?;
            let at = rest.first().or(placements.last());
            let targets = at.map(|one| one.target.clone()).into_iter().collect();
            return Err((targets, "read-only".to_owned()));
        }
        self.installer.swap(&placements).map_err(failed)?;
        self.swapped = placements;
        Ok(())
    }

    fn answer(&mut self, name: &ServiceName, step: Step) -> Answer {
        let forward = self
            .ledger
            .intents
            .values()
            .any(|intent| intent.direction == Direction::Forward);
        if step == Step::Notify && forward {
            for placement in &self.swapped {
                assert_eq!(
                    self.disk(&placement.target),
                    Some(placement.digest),
                    "a notification before the swap"
                );
            }
        }
        if step == Step::Notify && self.without_orders {
            self.keeps_the_pace(name);
        }
        let scripted = self
            .script
            .get_mut(&(name.clone(), format!("{step:?}")))
            .and_then(VecDeque::pop_front);
        let depends = self.component.dependencies(name);
        let kind = match step {
            Step::Check => "check",
            Step::Notify | Step::NotifyBack => "notify",
            Step::Probe | Step::ProbeBack => "probe",
        };
        let mark = format!("{name}:{kind}:no");
        let refuses = depends
            .iter()
            .any(|path| self.text(path).is_some_and(|text| text.contains(&mark)));
        let answer = scripted.unwrap_or(Answer {
            verdict: match refuses {
                true => no(),
                false => Verdict::Accepted,
            },
            ended: false,
        });
        let knows = matches!(answer.verdict, Verdict::Accepted | Verdict::NotRunning(_));
        if kind == "notify" {
            self.notified.push((name.clone(), knows));
        }
        if kind == "notify" && knows {
            let files = depends.iter().map(|path| {
                let digest = self.disk(path);
                (path.clone(), digest)
            });
            let files = files.collect();
            self.told.insert(name.clone(), files);
        }
        answer
    }

    /// A newer version of a file is told not before the least interval.
    fn keeps_the_pace(&self, name: &ServiceName) {
        let pace = &self.component.services[name].pace;
        let (Some(interval), Some(last)) = (pace.min_interval, self.ledger.notified.get(name))
        else {
            return;
        };
        let intents = self.ledger.intents.values();
        let open = intents.filter(|intent| intent.direction == Direction::Forward);
        for intent in open.filter(|intent| !self.interrupted.contains(&intent.id)) {
            let newer = intent.placements.iter().any(|placement| {
                let before = intent.before.installed.get(&placement.target);
                let first = |id: &Identity| intent.before.accepted.get(id) == Some(&None);
                let feeders = self.component.feeders(&placement.target);
                placement.kept != crate::install::Kept::Absent
                    && matches!(before, Some(Some(row)) if row.digest != placement.digest)
                    && !feeders.iter().any(first)
                    && self
                        .component
                        .dependencies(name)
                        .contains(&placement.target)
            });
            let since = Duration::try_from(self.now.wall.duration_since(*last)).unwrap();
            assert!(
                !newer || since >= interval,
                "`{name}` is told after {since:?}"
            );
        }
    }

    pub fn disk(&self, target: &TargetPath) -> Option<Digest> {
        match self.installer.look(target) {
            Ok(Found::File { digest, .. }) => Some(digest),
            _ => None,
        }
    }

    pub fn file(&self, target: &str) -> PathBuf {
        self.directory.path().join(target.trim_start_matches('/'))
    }

    pub fn text(&self, target: &TargetPath) -> Option<String> {
        let file = self.file(target.as_str());
        if !target.is_directory() {
            return std::fs::read_to_string(file).ok();
        }
        std::fs::read_to_string(file.join(INSIDE[0])).ok()
    }

    /// The digest of the version that the target is made from.
    pub fn version(&self, target: &TargetPath) -> Option<Digest> {
        if !target.is_directory() {
            return self.disk(target);
        }
        let file = self.file(target.as_str());
        let [one, two] = INSIDE.map(|name| std::fs::read_to_string(file.join(name)).ok());
        assert_eq!(one, two, "two versions in one generation");
        one.map(|text| Digest::of(text.as_bytes()))
    }

    /// The file's text, empty where there is none.
    pub fn reads(&self, target: &str) -> String {
        self.text(&path(target)).unwrap_or_default()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.log.iter().filter(|word| *word == kind).count()
    }

    pub fn refusal(&self, profile: &str) -> Option<&Refusal> {
        self.ledger.refusals.get(&id(profile))
    }

    /// Somebody else changed it, and what belongs there was refused when it was to be restored.
    pub fn stays_drifted(&self, path: &TargetPath) -> bool {
        self.drifted.contains(path) && self.machine.waiting().contains_key(path)
    }

    /// What must be true whenever nothing is under way.
    pub fn hold_promises(&self) {
        let known = self.component.state(self.machine.state());
        let held = self.component.state(&self.ledger);
        assert_eq!(held, known, "the machine knows what the ledger holds");
        let mut named = BTreeSet::new();
        for intent in self.ledger.intents.values() {
            assert_eq!(
                intent.direction,
                Direction::Standing,
                "an intent without effect: {intent:?}"
            );
            let pending = self.machine.pending();
            assert!(
                intent
                    .services
                    .keys()
                    .any(|name| pending.contains(name) && !self.machine.keeps(name)),
                "kept for nobody"
            );
            for placement in &intent.placements {
                named.extend(placement.kept.name().map(str::to_owned));
                // An interrupted attempt's link, until the transaction is over: its generation goes with it.
                let abandoned = placement.target.is_directory();
                named.extend(abandoned.then(|| placement.staged.clone()));
            }
        }
        for entry in std::fs::read_dir(self.directory.path().join(".appconfigd"))
            .into_iter()
            .flatten()
        {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(named.contains(&name), "`{name}` is left behind");
        }
        for path in self.component.targets.keys() {
            if path.is_directory() {
                self.no_generation_is_left_behind(path);
            }
            if self.stays_drifted(path) {
                continue;
            }
            let row = self.ledger.installed.get(path).map(|row| row.digest);
            assert_eq!(row, self.disk(path), "the row of `{path}`");
        }
        let pending = self.machine.pending();
        for name in self
            .component
            .services
            .keys()
            .filter(|name| !pending.contains(*name))
        {
            for path in self.component.dependencies(name) {
                if self.stays_drifted(path) {
                    continue;
                }
                let told = self
                    .told
                    .get(name)
                    .and_then(|files| files.get(path))
                    .copied()
                    .flatten();
                assert_eq!(
                    told,
                    self.disk(path),
                    "`{name}` was told of `{path}` after its last change"
                );
            }
        }
    }
}

impl World {
    /// Beside the live one: the one before, and those that standing transactions may go back to.
    fn no_generation_is_left_behind(&self, path: &TargetPath) {
        let link = self.file(path.location());
        let prefix = format!(".{}.appconfigd.", path.file_name());
        let beside = std::fs::read_dir(link.parent().unwrap()).unwrap();
        let names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let generations: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
        let standing = self
            .ledger
            .intents
            .values()
            .flat_map(|intent| &intent.placements);
        let standing = standing
            .filter(|placement| placement.target == *path)
            .count();
        assert!(
            generations.len() <= 2 + standing,
            "{generations:?}, {standing} kept"
        );
    }
}

fn component(settings: &Settings, ledger: &State) -> Arc<Component> {
    let names = settings.profiles.keys();
    let identities = names
        .map(|name| (name.clone(), id(name.as_str())))
        .collect();
    let mut parts = Component::partition(settings, &identities, &ledger.intents);
    assert_eq!(parts.len(), 1, "a world is one component");
    Arc::new(parts.remove(0))
}

pub fn word(action: &Action) -> &'static str {
    match action {
        Action::Plan { .. } => "plan",
        Action::Repair(_) => "repair",
        Action::Stage(_) => "stage",
        Action::Discard(_) => "discard",
        Action::CheckStaged(_) => "check staged",
        Action::Baseline(_) => "baseline",
        Action::Commit(_) | Action::Open { .. } => "commit",
        Action::Swap { .. } => "swap",
        Action::Ask { step, .. } => match step {
            Step::Check => "check",
            Step::Notify => "notify",
            Step::Probe => "probe",
            Step::NotifyBack => "notify back",
            Step::ProbeBack => "probe back",
        },
        Action::PutBack(_) => "put back",
        Action::Release(_) => "release",
        Action::Say(_) => "say",
    }
}
