//! A test that cannot run on this machine says so where it is counted.

use std::io::Write;

/// Records that a test did not run, with the reason, e.g. `skip("nginx is not installed")`; the caller then returns.
///
/// The test harness hides the output of tests that pass, so the line goes to the file that `scripts/test` names in
/// `APPCONFIGD_TEST_SKIPS`; the script counts the lines and shows them at the end. Without the variable it goes to
/// standard error only.
#[track_caller]
#[allow(
    dead_code,
    reason = "used by the tests that need a program of the host, wherever they stand"
)]
pub(crate) fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{test}: {reason}\n");
    eprint!("skipped: {line}");
    if let Some(path) = std::env::var_os("APPCONFIGD_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        // One write a line: tests run side by side, and O_APPEND keeps whole writes apart.
        file.write_all(line.as_bytes()).unwrap();
    }
}
