//! Judging what is staged, before anything is swapped.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::task::spawn_blocking;

use crate::install::Untouched;
use crate::service::Verdict;
use crate::settings::TargetPath;

use super::action::Event;
use super::task::Hands;

/// What would be installed is not what was rendered.
const WRITTEN_TO: &str = "`validate_command` has changed the file that it was to judge, so it is not installed; let it only read";

impl Hands {
    /// `validate_command` of each staged file that has one.
    pub(super) async fn check_staged(self, staged: Vec<(TargetPath, String)>) -> Event {
        let mut verdicts = BTreeMap::new();
        for (path, name) in staged {
            let Some(target) = self.component.targets.get(&path) else {
                continue;
            };
            let Some(command) = &target.validate_command else {
                continue;
            };
            let file = self.installer.staged_path(&path, &name);
            let limits = target
                .notify
                .iter()
                .filter_map(|name| self.component.services.get(name));
            let limit = limits.map(|service| service.timeout).max();
            let limit = limit.unwrap_or(crate::settings::DEFAULT_TIMEOUT);
            // A link that is followed may lead elsewhere by now: nobody has judged the file then.
            let verdict = match look(&file).await {
                Ok(before) => {
                    let verdict = self
                        .services
                        .check_staged(&path, command, &file, limit)
                        .await;
                    let untouched = look(&file).await.is_ok_and(|after| after == before);
                    match verdict {
                        Verdict::Accepted if !untouched => Verdict::Rejected(WRITTEN_TO.to_owned()),
                        verdict => verdict,
                    }
                }
                Err(error) => Verdict::Undecided(format!("its staged file is gone: {error}")),
            };
            verdicts.insert(path, verdict);
        }
        Event::StagedChecked(verdicts)
    }
}

/// On a disk that may hang.
async fn look(staged: &Path) -> std::io::Result<Untouched> {
    let staged = staged.to_owned();
    let looked = spawn_blocking(move || Untouched::look(&staged));
    looked
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
