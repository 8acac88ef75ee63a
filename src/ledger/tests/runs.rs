//! What commands wrote: kept in bounds, and no part of the state.

use super::*;
use crate::settings::ServiceName;

fn run(whose: RunFor, what: &str, output: &str, seconds: i64) -> CommandRun {
    CommandRun {
        whose,
        what: what.to_owned(),
        at: at(seconds),
        command: "nginx -t".to_owned(),
        outcome: "exited with status 1".to_owned(),
        output: output.to_owned(),
    }
}

fn nginx() -> RunFor {
    RunFor::Service(ServiceName::from("nginx"))
}

fn outputs(directory: &Path) -> Vec<String> {
    let runs = Ledger::read_runs(directory).unwrap();
    runs.into_iter().map(|run| run.output).collect()
}

#[test]
fn the_newest_of_each_errand_are_kept_and_one_that_is_repeated_is_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Ledger::read_runs(directory.path()).unwrap(), []);
    let ledger = open(directory.path());
    let state = wait(ledger.load()).unwrap();
    let mut changes = vec![Change::Ran(run(nginx(), "probe", "well", 0))];
    for number in 1..=7 {
        let text = format!("no {number}");
        changes.push(Change::Ran(run(nginx(), "check", &text, number)));
    }
    let path = RunFor::Target(target("/etc/x"));
    let validated = run(path, "validate", "two\nlines\n", 8);
    changes.push(Change::Ran(validated.clone()));
    wait(ledger.commit(changes)).unwrap();
    let again = Change::Ran(run(nginx(), "check", "no 5", 9));
    wait(ledger.commit(vec![again])).unwrap();
    assert_eq!(
        wait(ledger.load()).unwrap(),
        state,
        "nothing follows from it"
    );
    drop(ledger);
    let all = [
        "well",
        "no 3",
        "no 4",
        "no 6",
        "no 7",
        "two\nlines\n",
        "no 5",
    ];
    assert_eq!(outputs(directory.path()), all);
    let runs = Ledger::read_runs(directory.path()).unwrap();
    assert_eq!((&runs[5], runs[6].at), (&validated, at(9)));
    let ledger = open(directory.path());
    let forgotten = Change::TargetForgotten {
        target: target("/etc/x"),
    };
    wait(ledger.commit(vec![forgotten])).unwrap();
    drop(ledger);
    assert_eq!(
        outputs(directory.path()),
        ["well", "no 3", "no 4", "no 6", "no 7", "no 5"]
    );
}
