//! HAProxy in master-worker mode: reloaded by SIGUSR2 to its master, which executes itself anew.

use super::journeys::journeys;
use super::program::{DIRECTORIES, Kind};

pub const HAPROXY: Kind = Kind {
    name: "haproxy",
    suffix: "cfg",
    configuration: include_str!("../../fixtures/haproxy/haproxy.cfg"),
    site: include_str!("../../fixtures/haproxy/site.cfg.j2"),
    page: include_str!("../../fixtures/haproxy/page.cfg.j2"),
    version: "-v",
    check: |prefix| {
        let mut words = vec!["-c".to_owned()];
        words.extend(files(prefix));
        words
    },
    serve: |prefix, run| {
        let mut words = ["-W", "-db", "-p"].map(str::to_owned).to_vec();
        words.push(format!("{run}/haproxy.pid"));
        words.extend(files(prefix));
        words
    },
    serves: "Loading success.",
    signal: "USR2",
    reloads: "Reloading HAProxy",
    nonsense: "banana",
    complaint: "unknown keyword 'banana' in 'backend' section",
    // The worker that goes may still answer while the master starts the one that comes.
    probe: "delay: 1500ms, interval: 500ms, successes: 2, within: 4s",
};

journeys!(HAPROXY);

fn files(prefix: &str) -> Vec<String> {
    let files = std::iter::once("haproxy.cfg").chain(DIRECTORIES);
    files
        .flat_map(|file| ["-f".to_owned(), format!("{prefix}/{file}")])
        .collect()
}
