//! Services that have not acknowledged are told again, with growing pauses that outlive the process.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Now;
use crate::ledger::{Change, Retry, ServiceCondition, ServiceRecord};
use crate::settings::{ServiceName, show_duration};

use super::action::{Action, Outcome};
use super::machine::Machine;
use super::pauses::{PAUSES, Pausing};

impl Machine {
    /// These services are told from now on.
    pub(super) fn asks(&mut self, services: &BTreeSet<ServiceName>, now: Now) {
        for name in services {
            self.asked.insert(name.clone(), now.wall);
            // A start that comes with news needs no telling of its own.
            self.greeted.remove(name);
        }
    }

    /// The rows of a service that was told, or could not be: when it was, and when it is told again. `news`: of something
    /// else than before, so that attempts are counted anew.
    pub(super) fn told_rows(
        &mut self,
        name: &ServiceName,
        record: &ServiceRecord,
        news: bool,
        now: Now,
    ) -> Vec<Change> {
        let mut rows = Vec::new();
        let nobody = matches!(
            record.condition,
            ServiceCondition::NotRunning | ServiceCondition::Nobody
        );
        if let Some(at) = self.asked.remove(name)
            && !nobody
        {
            let service = name.clone();
            rows.push(Change::Notified { service, at });
        }
        let settled = match record.condition {
            ServiceCondition::Acknowledged | ServiceCondition::NotRunning => true,
            ServiceCondition::Pending | ServiceCondition::Nobody | ServiceCondition::Failed => {
                false
            }
        };
        let retry = (!settled).then(|| self.next_retry(name, news, now));
        if retry.is_some() || self.state.retries.contains_key(name) {
            let service = name.clone();
            rows.push(Change::Retried { service, retry });
        }
        rows
    }

    fn next_retry(&self, name: &ServiceName, news: bool, now: Now) -> Retry {
        let definition = self.component.definition(&BTreeSet::from([name.clone()]));
        let before = self
            .services
            .get(name)
            .filter(|before| !news && before.row.definition == definition);
        let failures = before.map_or(1, |before| before.row.failures.saturating_add(1));
        let trying = before.map_or(Duration::ZERO, |before| before.trying(now));
        let pause = PAUSES.growing_pause(failures, self.jitter);
        // The last attempt is made when the time is up, not a pause before.
        let left = self.limit(name).map(|limit| limit.saturating_sub(trying));
        Retry {
            failures,
            trying,
            last: now.wall,
            pause: left.map_or(pause, |left| pause.min(left)),
            definition,
        }
    }

    fn limit(&self, name: &ServiceName) -> Option<Duration> {
        self.component.services.get(name)?.give_up_after
    }

    fn has_given_up(&self, name: &ServiceName, row: &Retry) -> bool {
        self.limit(name).is_some_and(|limit| row.trying >= limit)
    }

    /// Why the service is not told again, if with these rows it is not.
    pub(super) fn gives_up(
        &self,
        name: &ServiceName,
        record: &ServiceRecord,
        rows: &[Change],
    ) -> Option<String> {
        let row = rows.iter().find_map(|row| match row {
            Change::Retried {
                service,
                retry: Some(retry),
            } if service == name => Some(retry),
            _ => None,
        })?;
        let limit = self.limit(name)?;
        self.has_given_up(name, row).then(|| {
            let (limit, last) = (show_duration(limit), &record.last_result);
            format!("given up after {limit}: {last}; next: `appconfigd retry`")
        })
    }

    /// Takes pauses up again that an earlier process has begun. They hold for the service as it was then.
    pub(super) fn resume_pauses(&mut self, pending: &BTreeSet<ServiceName>, now: Now) {
        for name in pending {
            let Some(row) = self.state.retries.get(name) else {
                self.services.remove(name);
                continue;
            };
            let definition = self.component.definition(&BTreeSet::from([name.clone()]));
            if row.definition != definition {
                self.services.remove(name);
                continue;
            }
            if self
                .services
                .get(name)
                .is_none_or(|known| known.row != *row)
            {
                let waited = Duration::try_from(now.wall.duration_since(row.last));
                // A time in the future counts as passed.
                let waited = match self.keeps_pace() {
                    true => waited.unwrap_or(row.pause).min(row.pause),
                    // Whoever starts `once` by hand wants to see what comes of it.
                    false => row.pause,
                };
                self.pause(name.clone(), row.clone(), waited, now);
            }
        }
    }

    fn pause(&mut self, name: ServiceName, row: Retry, waited: Duration, now: Now) {
        let rest = row.pause.saturating_sub(waited);
        let due = (!self.has_given_up(&name, &row)).then(|| now.steady.saturating_add(rest));
        let began = now.steady;
        let pausing = Pausing {
            row,
            waited,
            began,
            due,
        };
        self.services.insert(name, pausing);
    }

    /// Says how services stand, and when those that are not settled are tried again.
    pub(super) fn schedule<'a>(
        &mut self,
        services: impl Iterator<Item = &'a ServiceName>,
        now: Now,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let pending = self.pending();
        for name in services {
            let Some(record) = self.state.services.get(name).cloned() else {
                continue;
            };
            let mut retry_in = None;
            let row = self.state.retries.get(name);
            match row.filter(|_| pending.contains(name)).cloned() {
                Some(row) => {
                    let pause = row.pause;
                    self.pause(name.clone(), row, Duration::ZERO, now);
                    let due = self.services.get(name).and_then(|pausing| pausing.due);
                    retry_in = due.map(|_| pause);
                }
                None => {
                    self.services.remove(name);
                }
            }
            let service = name.clone();
            actions.push(Action::Say(Outcome::Service {
                service,
                record,
                retry_in,
            }));
        }
        actions
    }
}
