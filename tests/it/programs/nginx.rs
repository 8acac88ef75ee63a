//! nginx: reloaded by SIGHUP to its master.

use super::journeys::journeys;
use super::program::Kind;

pub const NGINX: Kind = Kind {
    name: "nginx",
    suffix: "conf",
    configuration: include_str!("../../fixtures/nginx/nginx.conf"),
    site: include_str!("../../fixtures/nginx/site.conf.j2"),
    page: include_str!("../../fixtures/nginx/page.conf.j2"),
    version: "-v",
    check: |prefix| {
        vec![
            "-t".into(),
            "-q".into(),
            "-p".into(),
            prefix.into(),
            "-c".into(),
            format!("{prefix}/nginx.conf"),
        ]
    },
    serve: |prefix, _| {
        vec![
            "-p".into(),
            prefix.into(),
            "-c".into(),
            format!("{prefix}/nginx.conf"),
            "-g".into(),
            "daemon off;".into(),
        ]
    },
    serves: "start worker process ",
    signal: "HUP",
    reloads: "(SIGHUP) received",
    nonsense: "limit_rate banana;",
    complaint: "\"limit_rate\" directive invalid value",
    probe: "delay: 700ms, interval: 200ms, successes: 2, within: 3s",
};

journeys!(NGINX);
