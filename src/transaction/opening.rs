//! The commit before the first rename.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Now;
use crate::install::{Kept, Placement};
use crate::ledger::{Before, Change, Direction, FoundFile, Intent, IntentService};
use crate::protocol::{Digest, Identity};
use crate::service::Running;
use crate::settings::{ServiceName, TargetPath};

use super::action::{Action, Baseline};
use super::component::is_open;
use super::machine::Machine;
use super::phase::{Draft, Open, Phase};
use super::{Plan, Scope};

impl Machine {
    /// The commit before the first rename: the intent, and `acknowledged := unknown` for every service of the transaction.
    pub(super) fn open(
        &mut self,
        draft: Draft,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let services = self.services_of(&draft);
        let told = self.told_of(&draft, &services);
        let holds = draft.holds();
        let Draft {
            plan,
            names,
            baseline,
            mut recorded,
            resumes,
            ..
        } = draft;
        let known: BTreeMap<&TargetPath, &Placement> = resumes
            .iter()
            .flat_map(|intent| &intent.placements)
            .map(|placement| (&placement.target, placement))
            .collect();
        let mut placements: Vec<Placement> = plan
            .changes
            .iter()
            .zip(names)
            .map(|(change, names)| Placement {
                target: change.target.clone(),
                site: change.site.clone(),
                kept: match known.get(&change.target) {
                    Some(placement) => placement.kept.clone(),
                    None if change.absent => Kept::Absent,
                    None if change.exchanged => Kept::Exchange(names.staged.clone()),
                    None => Kept::Name(names.kept),
                },
                staged: names.staged,
                digest: change.digest,
                metadata: change.metadata.clone(),
            })
            .collect();
        let made: BTreeSet<&TargetPath> =
            plan.changes.iter().map(|change| &change.target).collect();
        let undo: Vec<Placement> = known
            .values()
            .filter(|placement| !made.contains(&placement.target))
            .map(|placement| (*placement).clone())
            .collect();
        // They stay in the intent until it is closed: a kept name that no row names would be swept.
        placements.extend(undo.iter().cloned());
        let outcome = |list: &[Placement]| -> BTreeMap<TargetPath, Digest> {
            list.iter()
                .map(|placement| (placement.target.clone(), placement.digest))
                .collect()
        };
        let intent = Intent {
            id: resumes
                .as_ref()
                .map_or_else(|| random.u64(1..=i64::MAX as u64), |old| old.id),
            direction: Direction::Forward,
            attempts: match &resumes {
                Some(old) if outcome(&old.placements) == outcome(&placements) => old.attempts,
                _ => 1,
            },
            opened_at: now.wall,
            profiles: plan.accepts.clone(),
            services: services
                .iter()
                .map(|name| {
                    (
                        name.clone(),
                        IntentService {
                            spared: !told.contains(name),
                            ..self.intent_service(name, &placements, &baseline, resumes.as_ref())
                        },
                    )
                })
                .collect(),
            before: self.before(&plan, &placements, holds.keys(), resumes.as_ref()),
            holds,
            placements,
        };
        recorded.extend(plan.changes.iter().filter_map(|change| {
            let foreign = change.foreign.as_ref()?;
            let file = FoundFile {
                target: foreign.target.clone(),
                digest: Digest::of(&foreign.bytes),
                size: foreign.bytes.len() as u64,
                metadata: foreign.metadata.clone(),
                at: now.wall,
                reason: match plan.drifted.contains_key(&change.target) {
                    true => "somebody else changed what was installed, and it has been replaced",
                    false => "it was not installed by appconfigd and has been replaced",
                }
                .to_owned(),
            };
            Some(Change::FileKept {
                file,
                bytes: foreign.bytes.clone(),
            })
        }));
        let placed: BTreeSet<&TargetPath> = intent
            .placements
            .iter()
            .map(|placement| &placement.target)
            .collect();
        for service in &told {
            // What it is told now replaces what it was to be told again.
            if self.state.retries.contains_key(service) {
                recorded.push(Change::Retried {
                    service: service.clone(),
                    retry: None,
                });
            }
            for target in self.component.dependencies(service) {
                if placed.contains(target) {
                    let (service, target) = (service.clone(), target.clone());
                    recorded.push(Change::Acknowledged {
                        service,
                        target,
                        digest: None,
                    });
                }
            }
        }
        recorded.push(Change::Intent(intent.clone()));
        let leftover = known
            .values()
            .filter(|placement| made.contains(&placement.target))
            .map(|placement| (placement.lies().clone(), placement.staged.clone()))
            .collect();
        // One that is taken up again has kept some. The names of directories are more than links, and are not given up
        // as lightly as a commit fails.
        let files = |placement: &Placement| !placement.target.is_directory();
        let kept_meanwhile = resumes.is_none() && intent.placements.iter().all(files);
        let placements = intent.placements.clone();
        let verdicts = BTreeMap::new();
        let open = Open {
            intent,
            plan,
            undo,
            verdicts,
            leftover,
            superseded: Vec::new(),
        };
        self.phase = Phase::Opening(open, recorded.clone());
        let changes = recorded;
        vec![match kept_meanwhile {
            true => Action::Open {
                changes,
                placements,
            },
            false => Action::Commit(changes),
        }]
    }

    /// The rows that going back restores; those of a transaction that is taken up again stay as they were.
    fn before<'a>(
        &self,
        plan: &Plan,
        placements: &[Placement],
        holds: impl Iterator<Item = &'a Identity>,
        resumes: Option<&Intent>,
    ) -> Before {
        let accepted = plan.accepts.keys();
        let accepted = accepted.map(|id| (id.clone(), self.state.accepted.get(id).cloned()));
        let targets = placements.iter().map(|placement| &placement.target);
        let installed = targets.map(|path| (path.clone(), self.state.installed.get(path).cloned()));
        let held = holds.map(|id| (id.clone(), self.state.held_profiles.get(id).cloned()));
        let mut before = Before {
            accepted: accepted.collect(),
            installed: installed.collect(),
            held: held.collect(),
        };
        if let Some(old) = resumes {
            before.accepted.extend(old.before.accepted.clone());
            before.installed.extend(old.before.installed.clone());
            before.held.extend(old.before.held.clone());
        }
        before
    }

    fn intent_service(
        &self,
        name: &ServiceName,
        placements: &[Placement],
        baseline: &BTreeMap<ServiceName, Baseline>,
        resumes: Option<&Intent>,
    ) -> IntentService {
        let before = resumes.and_then(|intent| intent.services.get(name));
        let row = |target: &TargetPath| self.state.acknowledged.get(name)?.get(target).copied();
        let found = baseline.get(name);
        let runs = found.is_some_and(|found| found.running == Running::Yes);
        // It may fail with files that it has not answered for yet: of a transaction that is taken up again, or of one
        // that stands until it does.
        let unanswered = |intent: &&Intent| {
            let mut placed = intent.placements.iter();
            placed.any(|placement| row(&placement.target) == Some(None))
        };
        let standing = self.state.intents.values().filter(|one| !is_open(one));
        let unanswered = standing.filter(unanswered);
        let unanswered = unanswered.filter_map(|intent| intent.services.get(name));
        let failed = unanswered
            .map(|service| service.failing)
            .reduce(|all, one| all && one);
        let fails = || found.is_some_and(|found| matches!(found.probe, Some(Err(_))));
        let known = resumes.iter().flat_map(|intent| &intent.placements);
        let known: BTreeSet<&TargetPath> = known.map(|placement| &placement.target).collect();
        // Of a target that was placed before, the row has been made unknown since.
        let placed = placements.iter().map(|placement| &placement.target);
        let placed = placed.filter(|target| before.is_none() || !known.contains(target));
        let rows = placed.filter_map(|target| Some((target.clone(), row(target)?)));
        let mut acknowledged: BTreeMap<_, _> = rows.collect();
        acknowledged.extend(before.iter().flat_map(|before| before.acknowledged.clone()));
        IntentService {
            acknowledged,
            ran: runs || before.is_some_and(|before| before.ran),
            notified: before.is_some_and(|before| before.notified),
            failing: before.map_or_else(|| failed.unwrap_or_else(fails), |before| before.failing),
            spared: false,
        }
    }

    /// `kept`: the present files are.
    pub(super) fn opened(
        &mut self,
        open: Open,
        changes: Vec<Change>,
        result: Result<(), String>,
        kept: bool,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        if let Err(reason) = result {
            // Without a recorded obligation nothing is swapped.
            let resumed = self.state.intents.contains_key(&open.intent.id);
            let undone: BTreeSet<&TargetPath> = open.undo.iter().map(|p| &p.target).collect();
            let placements = open.intent.placements.iter();
            let staged = placements.filter(|p| !undone.contains(&p.target));
            let ours = |placement: &Placement| {
                let lies = placement.lies();
                let file = !placement.target.is_directory() && !resumed;
                let kept = placement.kept.name().filter(|_| file);
                let names = [Some(placement.staged.as_str()), kept]
                    .into_iter()
                    .flatten();
                let names = names.map(|name| (lies.clone(), name.to_owned()));
                names.collect::<Vec<_>>()
            };
            let ours = staged.flat_map(ours).collect();
            let targets = open
                .plan
                .changes
                .iter()
                .map(|change| change.target.clone())
                .collect();
            let profiles = open.plan.accepts.keys().cloned().collect();
            let scope = (!resumed).then_some(Scope::Some { profiles, targets });
            let mut actions = vec![Action::Discard(ours)];
            actions.extend(self.rest(reason, scope, now, random));
            return actions;
        }
        self.take_in(&changes);
        let undo = open.undo.clone();
        let undone: BTreeSet<&TargetPath> = open.undo.iter().map(|p| &p.target).collect();
        let placements = open.intent.placements.iter();
        let placements = placements
            .filter(|p| !undone.contains(&p.target))
            .cloned()
            .collect();
        let mut actions = super::drafting::refused(&changes);
        actions.extend(super::drift::put_back(&open));
        if !open.leftover.is_empty() {
            actions.push(Action::Discard(open.leftover.clone()));
        }
        self.phase = Phase::Swapping(open);
        actions.push(Action::Swap {
            undo,
            placements,
            kept,
        });
        actions
    }
}
