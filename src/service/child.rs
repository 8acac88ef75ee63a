//! The child of `exec` as a service.

use super::signal::{self, Recipient, Since};
use super::{Running, Verdict};
use crate::child::{Child, Seen, State, Told};
use crate::settings::{self, OnChange};

pub fn running(child: Option<&Child>) -> Running {
    match child.map(Child::state) {
        Some(State::Running { .. }) => Running::Yes,
        Some(State::Unborn | State::Down | State::Ending | State::Over(_)) | None => Running::No,
    }
}

/// One that is yet to be started has not ended: what ran before was the child of an `exec` that was killed.
pub fn has_ended(child: Option<&Child>) -> bool {
    running(child) == Running::No && child.map(Child::state) != Some(State::Unborn)
}

/// Tells it in the way that it is declared to be told; by a start where a signal cannot do it, for a running process does
/// not get other variables. It has said no when it ends within its `min_uptime`.
pub async fn notify(child: Option<&Child>, rules: &settings::Child, since: Since) -> Verdict {
    let Some(child) = child else {
        return Verdict::NotRunning(
            "`appconfigd exec` does not run here: the child reads its files when that starts it"
                .to_owned(),
        );
    };
    let (pid, number, up_to_date) = match child.begin().await {
        // Whoever starts it does so when all its files stand.
        Seen::Unborn => return Verdict::Accepted,
        Seen::Ending => return ending(),
        Seen::Down => {
            return match child.restart().await {
                Told::Up => Verdict::Accepted,
                // It did not run with the files from before either.
                Told::Fell(why) => Verdict::NotRunning(why),
                Told::Ending => ending(),
            };
        }
        Seen::Running {
            up_to_date: true,
            has_read: true,
            ..
        } => return Verdict::Accepted,
        Seen::Running {
            pid,
            number,
            up_to_date,
            ..
        } => (pid, number, up_to_date),
    };
    let told = match &rules.on_change {
        OnChange::Signal(name) if up_to_date => {
            let recipient = Recipient::Child { child, pid, number };
            match signal::notify(name, recipient, since).await {
                Verdict::Accepted => child.stays_up().await,
                // What ended by the signal comes back with its files.
                Verdict::Rejected(why) => return Verdict::Rejected(why),
                verdict => {
                    child.judged();
                    return verdict;
                }
            }
        }
        OnChange::Signal(_) | OnChange::Restart => child.restart().await,
    };
    match told {
        Told::Up => Verdict::Accepted,
        Told::Fell(why) => Verdict::Rejected(why),
        Told::Ending => ending(),
    }
}

/// After its files went back: it is started, if it has ended by the ones that were refused.
pub async fn start_again(child: Option<&Child>) -> Verdict {
    let Some(child) = child else {
        return Verdict::Undecided("`appconfigd exec` does not run here".to_owned());
    };
    match child.restart().await {
        Told::Up => Verdict::Accepted,
        Told::Fell(why) => Verdict::Rejected(why),
        Told::Ending => ending(),
    }
}

fn ending() -> Verdict {
    Verdict::Undecided("the child is being ended".to_owned())
}
