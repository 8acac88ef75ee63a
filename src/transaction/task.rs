//! Does what the machine decides: the thin task around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::content::Content;
use crate::install::{Installer, NotSwapped, Placement, WentBack};
use crate::ledger::{Bodies, Change, FoundFile, Installed, Ledger, State, Version};
use crate::protocol::{Digest, Identity};
use crate::service::{Running, Services, Verdict};
use crate::settings::{Notify, Service, ServiceName, TargetPath};
use crate::words::with_causes;

use super::action::{About, Action, Answer, Baseline, Event, Names, Step};
use super::pauses::PAUSES;
use super::planning::{Pins, Planner, TurnedDown};
use super::variables::variables;
use super::{Component, FileChange, Pacing, Scope};

/// Blocking threads that stage files of one transaction side by side.
const STAGING_THREADS: usize = 4;

/// Configurations that are read from the ledger at once: other queues wait for its thread meanwhile.
const READ_TOGETHER: usize = 128;

/// What a queue's task works with. Cheap to clone.
#[derive(Clone)]
pub struct Hands {
    pub component: Arc<Component>,
    pub content: Arc<Content>,
    pub installer: Installer,
    pub ledger: Ledger,
    pub services: Services,
    pub clock: Clock,
    pub pacing: Pacing,
    /// True once READY has been said: unit jobs wait for it, or a unit that is ordered after ours would deadlock.
    pub ready: watch::Receiver<bool>,
}

impl Hands {
    /// Does one action; the event that it brings, if it brings one. `Action::Say` is the caller's.
    pub async fn perform(self, action: Action) -> Option<Event> {
        match action {
            Action::Plan {
                state,
                scope,
                forced,
                barred,
                resumed,
                turned_down,
                pins,
                urgent,
            } => Some(
                self.plan(
                    state,
                    scope,
                    forced,
                    barred,
                    resumed,
                    turned_down,
                    pins,
                    urgent,
                )
                .await,
            ),
            Action::Repair(repairs) => Some(self.repair(repairs).await),
            Action::Stage(changes) => Some(self.stage(changes).await),
            Action::Discard(staged) => {
                self.discard(staged).await;
                None
            }
            Action::CheckStaged(staged) => Some(self.check_staged(staged).await),
            Action::Baseline(services) => Some(self.baseline(services).await),
            Action::Commit(changes) => Some(self.commit(changes).await),
            Action::Open {
                changes,
                placements,
            } => Some(self.open(changes, placements).await),
            Action::Swap {
                undo,
                placements,
                kept,
            } => Some(self.swap(undo, placements, kept).await),
            Action::Ask {
                step,
                services,
                about,
            } => Some(self.ask(step, services, about).await),
            Action::PutBack(placements) => Some(self.put_back(placements).await),
            Action::Release(placements) => {
                let installer = self.installer.clone();
                let released = spawn_blocking(move || installer.release(&placements)).await;
                if let Err(error) = released {
                    tracing::warn!(reason = %error, "kept files were not removed");
                }
                self.tidy();
                None
            }
            Action::Say(_) => None,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a plan is made from all of this, and each part has its own owner"
    )]
    async fn plan(
        self,
        state: Arc<State>,
        scope: Scope,
        forced: BTreeMap<TargetPath, Placement>,
        barred: BTreeMap<TargetPath, String>,
        resumed: BTreeMap<Identity, Version>,
        turned_down: TurnedDown,
        pins: Pins,
        urgent: BTreeSet<Identity>,
    ) -> Event {
        let pinned = pins.values().map(|pin| pin.version.digest);
        let mut needs = Planner::needs(&self.component, &state, &scope, forced.keys(), &resumed);
        needs.extend(pinned);
        let bodies = match self.bodies(needs).await {
            Ok(bodies) => bodies,
            Err(reason) => return Event::Broke(reason),
        };
        let planned = spawn_blocking(move || {
            Planner {
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
                now: self.clock.now().wall,
            }
            .plan()
        });
        event(planned.await, |plan| Event::Planned(Box::new(plan)))
    }

    async fn bodies(&self, needs: BTreeSet<Digest>) -> Result<Bodies, String> {
        let needs: Vec<Digest> = needs.into_iter().collect();
        let mut bodies = Bodies::new();
        for part in needs.chunks(READ_TOGETHER) {
            // A body that is gone is a version that cannot count; planning goes on with the others.
            let read = self.ledger.bodies(part.to_vec()).await;
            bodies.extend(read.map_err(|error| with_causes(&error))?);
        }
        Ok(bodies)
    }

    async fn repair(self, repairs: BTreeMap<TargetPath, Installed>) -> Event {
        let repaired = spawn_blocking(move || {
            let repair = |(target, installed): (TargetPath, Installed)| {
                let result = self.installer.repair_metadata(&target, &installed.metadata);
                (
                    target,
                    installed,
                    result.map_err(|error| with_causes(&error)),
                )
            };
            repairs.into_iter().map(repair).collect()
        });
        event(repaired.await, Event::Repaired)
    }

    /// Stages side by side: an fsync waits for the device, not for a processor.
    async fn stage(self, changes: Vec<FileChange>) -> Event {
        let share = changes.len().div_ceil(STAGING_THREADS).max(1);
        let mut parts = Vec::new();
        for part in changes.chunks(share) {
            let part = part.to_vec();
            let installer = self.installer.clone();
            parts.push(spawn_blocking(move || {
                let stage = |change: FileChange| {
                    let kept = installer.kept_name();
                    let (target, site) = (&change.target, &change.site);
                    let staged = installer.stage_at(target, site, &change.bytes, &change.metadata);
                    let named = staged.map(|staged| Names { staged, kept });
                    named.map_err(|error| with_causes(&error))
                };
                part.into_iter().map(stage).collect::<Vec<_>>()
            }));
        }
        let mut results = Vec::with_capacity(changes.len());
        for part in parts {
            match part.await {
                Ok(staged) => results.extend(staged),
                Err(error) => return Event::Broke(error.to_string()),
            }
        }
        self.tidy();
        Event::Staged(results)
    }

    async fn discard(&self, staged: Vec<(TargetPath, String)>) {
        let installer = self.installer.clone();
        let discarded = spawn_blocking(move || {
            for (target, name) in staged {
                installer.discard(&target, &name);
            }
        });
        if let Err(error) = discarded.await {
            tracing::warn!(reason = %error, "staged files were not removed");
        }
        self.tidy();
    }

    /// Tries again, with growing pauses and beside everything else, to remove what is left over.
    fn tidy(&self) {
        if !self.installer.is_to_be_tidied() {
            return;
        }
        let installer = self.installer.clone();
        tokio::spawn(async move {
            for failures in 1.. {
                sleep(PAUSES.growing_pause(failures, fastrand::f64())).await;
                let installer = installer.clone();
                let tidied = spawn_blocking(move || installer.tidy());
                // Who broke off has not said that nothing is left.
                if tidied.await.unwrap_or(false) {
                    return;
                }
            }
        });
    }

    async fn baseline(self, names: BTreeSet<ServiceName>) -> Event {
        let ask = |services: Services, service: Arc<Service>| async move {
            let missing = services.missing_program(&service);
            let running = services.running(&service).await;
            let probe = match running {
                // A probe of what does not run would fail, and say nothing about the version to come.
                Running::No => None,
                Running::Yes | Running::Unknown => services.try_probe(&service).await,
            };
            Baseline {
                running,
                missing,
                probe,
            }
        };
        match self.each(names, ask).await {
            Ok(baseline) => Event::Baselined(baseline),
            Err(reason) => Event::Broke(reason),
        }
    }

    async fn swap(self, undo: Vec<Placement>, placements: Vec<Placement>, kept: bool) -> Event {
        if !undo.is_empty() {
            self.keep_foreign(&undo).await;
        }
        let swapped = spawn_blocking(move || {
            let put_back = self.installer.put_back(&undo).into_iter().zip(&undo);
            for (result, placement) in put_back {
                let targets = vec![placement.target.clone()];
                result.map_err(|error| (targets, with_causes(&error)))?;
            }
            let failed = |failed: NotSwapped| (failed.targets, with_causes(&failed.error));
            if !kept {
                self.installer.keep(&placements).map_err(failed)?;
            }
            let swapped = self.installer.swap(&placements).map_err(failed);
            self.files_changed();
            swapped
        });
        event(swapped.await, Event::Swapped)
    }

    async fn put_back(self, placements: Vec<Placement>) -> Event {
        self.keep_foreign(&placements).await;
        let put_back = spawn_blocking(move || {
            let results = self.installer.put_back(&placements).into_iter();
            self.files_changed();
            let result = |result: Result<WentBack, _>| result.map_err(|error| with_causes(&error));
            results.map(result).collect()
        });
        event(put_back.await, Event::PutBack)
    }

    fn files_changed(&self) {
        let services = self.component.services.values();
        self.services.files_changed(services.map(AsRef::as_ref));
    }

    /// Files that somebody else has put over ours are kept in history before going back. Going back is more urgent than
    /// history: a failure here is said and does not stop it.
    async fn keep_foreign(&self, placements: &[Placement]) {
        let installer = self.installer.clone();
        let ours = placements.to_vec();
        let now = self.clock.now().wall;
        let found = spawn_blocking(move || installer.foreign(&ours)).await;
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(reason = %with_causes(&error), "a foreign file could not be kept in history");
                return;
            }
            Err(error) => {
                tracing::warn!(reason = %error, "a foreign file could not be kept in history");
                return;
            }
        };
        let keep = found.into_iter().map(|foreign| Change::FileKept {
            file: FoundFile {
                target: foreign.target,
                digest: Digest::of(&foreign.bytes),
                size: foreign.bytes.len() as u64,
                metadata: foreign.metadata,
                at: now,
                reason: "somebody else wrote it during a transaction that went back".to_owned(),
            },
            bytes: foreign.bytes,
        });
        let changes: Vec<Change> = keep.collect();
        if !changes.is_empty()
            && let Err(error) = self.ledger.commit(changes).await
        {
            tracing::warn!(reason = %with_causes(&error), "a foreign file could not be kept in history");
        }
    }

    async fn ask(self, step: Step, names: BTreeSet<ServiceName>, about: About) -> Event {
        let about = Arc::new(about);
        let ready = self.ready.clone();
        let component = Arc::clone(&self.component);
        let ask = move |services: Services, service: Arc<Service>| {
            let (about, ready) = (Arc::clone(&about), ready.clone());
            let told = variables(&component, &service.name, step, &about);
            async move {
                let ran = about.ran.contains(&service.name);
                let verdict =
                    tell(&services, &service, step, (about.since, &told), ran, ready).await;
                // Also after a no: a probe that failed before says nothing, a service that is down does.
                let asked = !matches!(verdict, Verdict::NotRunning(_));
                let ended =
                    ran && asked && step != Step::Check && services.has_ended(&service).await;
                Answer { verdict, ended }
            }
        };
        match self.each(names, ask).await {
            Ok(answers) => Event::Answered(answers),
            Err(reason) => Event::Broke(reason),
        }
    }

    /// Asks every service at the same time; one that is slow delays no other.
    async fn each<T, F>(
        &self,
        names: BTreeSet<ServiceName>,
        ask: impl Fn(Services, Arc<Service>) -> F,
    ) -> Result<BTreeMap<ServiceName, T>, String>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for name in names {
            let Some(service) = self.component.services.get(&name) else {
                continue;
            };
            let asking = ask(self.services.clone(), Arc::clone(service));
            tasks.spawn(async move { (name, asking.await) });
        }
        let mut answers = BTreeMap::new();
        while let Some(joined) = tasks.join_next().await {
            let (name, answer) = joined.map_err(|error| error.to_string())?;
            answers.insert(name, answer);
        }
        Ok(answers)
    }
}

async fn tell(
    services: &Services,
    service: &Service,
    step: Step,
    (since, told): (Timestamp, &[(String, String)]),
    ran: bool,
    mut ready: watch::Receiver<bool>,
) -> Verdict {
    match step {
        Step::Check => services.check(service, told).await,
        Step::Probe | Step::ProbeBack => services.probe(service, told).await,
        Step::Notify | Step::NotifyBack => {
            let down =
                step == Step::NotifyBack && ran && services.running(service).await == Running::No;
            // Whatever starts or reloads a unit makes a job, and jobs may wait for us to be ready.
            let job = down || matches!(service.notify, Notify::Reload { .. });
            if job && let Err(verdict) = wait_until_ready(&mut ready, step, service).await {
                return verdict;
            }
            match down {
                true => services.start_again(service).await,
                false => services.notify(service, since, told).await,
            }
        }
    }
}

/// Forwards, READY always comes: the files of the transaction count as standing. On the way back there may be no file
/// that could stand (a first version that was refused), so that READY may have to wait for us: the wait is bounded.
async fn wait_until_ready(
    ready: &mut watch::Receiver<bool>,
    step: Step,
    service: &Service,
) -> Result<(), Verdict> {
    let limit = match step {
        Step::NotifyBack => service.timeout,
        Step::Check | Step::Notify | Step::Probe | Step::ProbeBack => Duration::MAX,
    };
    match tokio::time::timeout(limit, ready.wait_for(|ready| *ready)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Verdict::Undecided(
            "appconfigd ended before it was ready".to_owned(),
        )),
        Err(_) => Err(Verdict::Undecided(
            "unit jobs wait until appconfigd is ready".to_owned(),
        )),
    }
}

/// The event of a step; a panic in it is an event as well.
fn event<T>(joined: Result<T, JoinError>, of: impl FnOnce(T) -> Event) -> Event {
    match joined {
        Ok(result) => of(result),
        Err(error) => Event::Broke(error.to_string()),
    }
}
