use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask};
use nix::unistd::Pid;

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn sh(line: &str) -> Command {
    Command::Shell(line.to_owned())
}

fn argv(parts: &[&str]) -> Command {
    Command::Argv(parts.iter().map(|part| (*part).to_owned()).collect())
}

fn inside(directory: &tempfile::TempDir) -> Surroundings {
    Surroundings {
        directory: directory.path().to_owned(),
        ..Surroundings::default()
    }
}

async fn output(command: &Command) -> String {
    let run = run(command, &Surroundings::default(), LONG).await.unwrap();
    assert_eq!(run.ended, Ended::Exited(0), "{}", run.output);
    run.output
}

/// Until the fact holds; a test that waits in vain fails.
async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < LONG, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The number in a file that a child writes whole, by a rename.
async fn pid_in(path: &std::path::Path) -> Pid {
    until("a child wrote its number", || path.exists()).await;
    Pid::from_raw(fs::read_to_string(path).unwrap().trim().parse().unwrap())
}

/// Gone, or dead and not yet collected by whoever became its parent.
fn dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(pid, None) == Err(Errno::ESRCH) || stat.contains(") Z ")
}

#[tokio::test]
async fn an_exit_status_and_both_outputs_come_back() {
    let command = sh("echo out; echo err >&2; exit 3");
    let run = run(&command, &Surroundings::default(), LONG).await.unwrap();
    assert_eq!(run.ended, Ended::Exited(3));
    assert_eq!(run.output, "out\nerr\n");
    assert_eq!(run.last_words(100), "out; err");
}

#[tokio::test]
async fn a_signal_that_is_not_ours_is_told_from_an_exit() {
    let run = run(&sh("kill -9 $$"), &Surroundings::default(), LONG)
        .await
        .unwrap();
    assert_eq!(run.ended, Ended::Killed(9));
}

#[tokio::test]
async fn an_argv_meets_no_shell() {
    assert_eq!(
        output(&argv(&["echo", "$HOME; `id`", "*"])).await,
        "$HOME; `id` *\n"
    );
}

#[tokio::test]
async fn a_child_sees_only_the_allowed_variables_and_the_given_ones() {
    // Whatever else the test runner has in its environment, cargo's variables are there.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    let surroundings = Surroundings {
        directory: PathBuf::new(),
        variables: vec![("GIVEN".into(), "a b".into()), ("TZ".into(), "UTC".into())],
        ..Surroundings::default()
    };
    let run = run(&argv(&["env"]), &surroundings, LONG).await.unwrap();
    let names: Vec<&str> = run
        .output
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    let allowed = |name: &&str| {
        [
            "PATH", "HOME", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR", "GIVEN",
        ]
        .contains(name)
            || name.starts_with("LC_")
    };
    assert!(names.iter().all(allowed), "{names:?}");
    assert!(run.output.contains("GIVEN=a b\n") && run.output.contains("TZ=UTC\n"));
}

#[tokio::test]
async fn a_child_has_no_input_and_no_descriptor_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ours");
    let file = fs::File::create(&path).unwrap();
    let (ours, _theirs) = io::pipe().unwrap();
    assert_eq!(
        output(&sh("cat; readlink /proc/self/fd/0")).await,
        "/dev/null\n"
    );
    let listed = output(&sh("ls -l /proc/self/fd | grep ' -> '")).await;
    assert!(!listed.contains(path.to_str().unwrap()), "{listed}");
    // Whoever started the tests may have left descriptors open in us; `ls` itself has the directory open as one more.
    let inherited = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let inherited = inherited.filter(|entry| {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|flags| {
            i32::from_str_radix(flags.trim(), 8).unwrap() & nix::libc::O_CLOEXEC == 0
        })
    });
    assert!(listed.lines().count() <= inherited.count() + 1, "{listed}");
    drop((file, ours));
}

#[tokio::test]
async fn a_child_has_default_signals_none_blocked_and_a_group_of_its_own() {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTERM);
    blocked.add(Signal::SIGUSR1);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).unwrap();
    let status = output(&argv(&["cat", "/proc/self/status"])).await;
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap().trim_start_matches("\\t");
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    assert_eq!(mask("SigIgn:") & (1 << (Signal::SIGPIPE as i32 - 1)), 0);
    let stat = output(&sh("cat /proc/$$/stat")).await;
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!(fields[0], fields[4], "the child leads its group");
}

#[tokio::test]
async fn a_child_starts_in_the_given_directory() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("here"), "yes").unwrap();
    let run = run(&argv(&["cat", "here"]), &inside(&directory), LONG)
        .await
        .unwrap();
    assert_eq!(run.output, "yes");
}

#[tokio::test]
async fn a_flood_is_drained_and_only_its_end_is_kept() {
    let command = sh("head -c 3000000 /dev/zero | tr '\\0' x; echo; printf 'the \\033end'");
    let text = output(&command).await;
    assert!(
        text.ends_with("xx\nthe \\u{1b}end"),
        "{}",
        &text[text.len() - 40..]
    );
    assert!(text.len() < 4096 + 100);
}

#[tokio::test]
async fn every_byte_that_was_written_before_the_end_is_read() {
    for _ in 0..20 {
        assert_eq!(output(&sh("printf abc; sleep 2 & exit 0")).await, "abc");
    }
}

#[tokio::test]
async fn a_daemon_that_keeps_the_output_open_is_neither_waited_for_nor_harmed() {
    let directory = tempfile::tempdir().unwrap();
    // It goes on writing after its starter's end: nobody reading would end it by SIGPIPE.
    let line = "(echo $BASHPID; exec sh -c 'echo $$ >d.tmp; mv d.tmp d; \
                until test -e go; do echo tick; sleep 0.01; done; echo last; echo done >after') & exit 0";
    let start = Instant::now();
    let run = run(&sh(line), &inside(&directory), LONG).await.unwrap();
    assert_eq!(run.ended, Ended::Exited(0));
    assert!(start.elapsed() < LONG / 2);
    let daemon = pid_in(&directory.path().join("d")).await;
    assert!(!dead(daemon));
    fs::write(directory.path().join("go"), "").unwrap();
    let after = directory.path().join("after");
    until("the daemon wrote on", || after.exists()).await;
}

#[tokio::test]
async fn a_child_that_closes_its_output_is_waited_for() {
    let command = sh("exec >/dev/null 2>&1; sleep 0.1; exit 4");
    let run = run(&command, &Surroundings::default(), LONG).await.unwrap();
    assert_eq!(run.ended, Ended::Exited(4));
}

/// Runs a line whose grandchild writes its number to `c`, with a limit that lets it come so far, however slow the machine.
async fn limited(line: &str, grace: Duration) -> (Run, Pid) {
    let mut limit = Duration::from_millis(300);
    loop {
        let directory = tempfile::tempdir().unwrap();
        let options = CommandOptions {
            grace,
            ..CommandOptions::default()
        };
        let surroundings = inside(&directory).under(&options);
        let run = run(&sh(line), &surroundings, limit).await.unwrap();
        assert_eq!(run.ended, Ended::TimedOut);
        let written = directory.path().join("c");
        if written.exists() {
            return (run, pid_in(&written).await);
        }
        limit *= 2;
        assert!(limit < LONG, "no grandchild came to life");
    }
}

#[tokio::test]
async fn at_the_limit_the_whole_group_gets_term_and_time_to_tidy_up() {
    let line = "sh -c 'trap \"echo tidy; exit\" TERM; echo $$ >c.tmp; mv c.tmp c; while :; do sleep 0.01; done' & wait";
    let (run, child) = limited(line, PATIENCE).await;
    assert!(run.output.ends_with("tidy\n"), "{}", run.output);
    until("the grandchild is dead", || dead(child)).await;
}

#[tokio::test]
async fn a_group_that_ignores_term_is_killed_after_the_grace() {
    let line =
        "trap '' TERM; sh -c 'echo $$ >c.tmp; mv c.tmp c; while :; do sleep 0.01; done' & wait";
    let short = Duration::from_millis(300);
    let start = Instant::now();
    let (_, child) = limited(line, short).await;
    assert!(start.elapsed() >= short * 2, "the grace was given");
    until("the grandchild is dead", || dead(child)).await;
}

#[tokio::test]
async fn a_grandchild_that_ignores_term_does_not_outlive_its_leader() {
    // The leader itself ends on TERM.
    let line =
        "sh -c 'trap \"\" TERM; echo $$ >c.tmp; mv c.tmp c; while :; do sleep 0.01; done' & wait";
    let (_, child) = limited(line, Duration::from_millis(300)).await;
    until("the grandchild is dead", || dead(child)).await;
}

#[tokio::test]
async fn a_stopped_child_does_not_outlive_its_limit() {
    let limit = Duration::from_millis(200);
    let run = run(&sh("kill -STOP $$"), &Surroundings::default(), limit)
        .await
        .unwrap();
    assert_eq!(run.ended, Ended::TimedOut);
}

#[tokio::test]
async fn a_dropped_run_kills_its_group_and_leaves_no_zombie() {
    let directory = tempfile::tempdir().unwrap();
    let surroundings = inside(&directory);
    let line = "echo $$ >p.tmp; mv p.tmp p; sh -c 'trap \"\" TERM; echo $$ >c.tmp; mv c.tmp c; while :; do sleep 0.01; done'; :";
    let command = sh(line);
    let running = tokio::spawn(async move { run(&command, &surroundings, LONG).await });
    let child = pid_in(&directory.path().join("c")).await;
    let leader = pid_in(&directory.path().join("p")).await;
    running.abort();
    until("the grandchild is dead", || dead(child)).await;
    until("the leader is reaped", || {
        kill(leader, None) == Err(Errno::ESRCH)
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_started_says_what_and_where() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("plain"), "").unwrap();
    let inside = inside(&directory);
    let says = async |command: &Command, surroundings: &Surroundings| {
        run(command, surroundings, LONG)
            .await
            .unwrap_err()
            .to_string()
    };
    let missing = says(&argv(&["no-such-program-here"]), &inside).await;
    assert!(missing.starts_with("cannot find the program `no-such-program-here` in PATH"));
    let relative = says(&argv(&["./missing"]), &inside).await;
    assert!(relative.contains(&format!("`{}/./missing`", directory.path().display())));
    assert!(
        says(&argv(&["./plain"]), &inside)
            .await
            .contains("not an executable file")
    );
    assert!(
        says(&argv(&[""]), &inside)
            .await
            .contains("cannot find the program ``")
    );
    let nowhere = Surroundings {
        directory: directory.path().join("gone"),
        ..Surroundings::default()
    };
    assert!(
        says(&argv(&["true"]), &nowhere)
            .await
            .contains("working directory")
    );
}

#[test]
fn a_program_is_searched_as_execvp_does() {
    let directory = tempfile::tempdir().unwrap();
    for (name, mode) in [("a/tool", 0o644), ("b/tool", 0o755), ("own", 0o755)] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut surroundings = inside(&directory);
    surroundings.variables = vec![("PATH".into(), "a:b:".into())];
    let found = |name| surroundings.program(&argv(&[name])).ok();
    assert_eq!(found("tool"), Some(directory.path().join("b/tool")));
    assert_eq!(found("own"), Some(directory.path().join("own")));
    assert_eq!(found("b/tool"), Some(directory.path().join("b/tool")));
    assert_eq!(found("a"), None, "a directory is no program");
    assert_eq!(
        program(&sh("x"), directory.path()).unwrap(),
        PathBuf::from("/bin/sh")
    );
    assert!(
        program(&argv(&["sh"]), directory.path())
            .unwrap()
            .is_absolute()
    );
    assert!(program(&argv(&["b/tool"]), directory.path()).is_ok());
}
