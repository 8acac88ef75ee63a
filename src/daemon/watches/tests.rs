//! What patterns find, and when digests differ.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::settings::{PathPattern, TargetPath};

fn watch(paths: &[&str]) -> Watch {
    Watch {
        name: "w".into(),
        paths: paths
            .iter()
            .map(|path| PathPattern::new(path).unwrap())
            .collect(),
        notify: Vec::new(),
    }
}

fn put(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn found(root: &Path, paths: &[&str]) -> Vec<String> {
    let ground = Ground {
        root: Some(root.to_owned()),
        ours: BTreeSet::from([
            TargetPath::new("/etc/ours.pem").unwrap(),
            TargetPath::new("/etc/dir/").unwrap(),
        ]),
    };
    let survey = survey::survey(&ground, &watch(paths), &mut Places::new()).unwrap();
    let shown = survey.files.into_iter().map(|(path, lies)| match lies {
        Lies::File(_) => path,
        Lies::Nothing => format!("{path} -"),
        Lies::Other => format!("{path} o"),
    });
    shown.collect()
}

#[test]
fn patterns_find_files_and_nothing_hidden_nothing_of_ours_and_no_circle() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for path in [
        "a.pem",
        ".b.pem",
        "ours.pem",
        "dir/x.pem",
        "sub/c.pem",
        "sub/.d/e.pem",
    ] {
        put(root, &format!("etc/{path}"), "x");
    }
    symlink("..", root.join("etc/sub/up")).unwrap();
    symlink("/etc/gone", root.join("etc/gone.pem")).unwrap();
    symlink("loop.pem", root.join("etc/loop.pem")).unwrap();
    nix::unistd::mkfifo(&root.join("etc/pipe.pem"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(
        found(root, &["/etc/*.pem"]),
        [
            "/etc/a.pem",
            "/etc/gone.pem -",
            "/etc/loop.pem o",
            "/etc/pipe.pem o"
        ]
    );
    assert_eq!(
        found(root, &["/etc/.b.pem", "/none"]),
        ["/etc/.b.pem", "/none -"]
    );
    assert_eq!(found(root, &["/etc/.?.pem"]), ["/etc/.b.pem"]);
    assert_eq!(
        found(root, &["/**/[ac].pem"]),
        ["/etc/a.pem", "/etc/sub/c.pem"]
    );
    assert_eq!(found(root, &["/etc/sub/"]), ["/etc/sub/c.pem"]);
    assert_eq!(found(root, &["/etc/*/c.pem"]), ["/etc/sub/c.pem"]);
}
