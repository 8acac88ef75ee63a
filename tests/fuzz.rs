//! Replays the corpora of `fuzz/` with a stable compiler: each input, and mutations of them.
//!
//! `FUZZ_ROUNDS` is how many mutations a target gets, `FUZZ_SEED` what they are drawn from; a failure prints the seed,
//! and keeps the bytes in `target/tmp`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test says no by panicking, writes files and measures time around the program"
)]

#[path = "../fuzz/properties/mod.rs"]
mod properties;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Without a word from outside: so many mutations, and not longer than this.
const ROUNDS: usize = 300;
const LONGEST: Duration = Duration::from_secs(6);
/// An input that libFuzzer would not make longer either.
const MOST_BYTES: usize = 8 * 1024;

macro_rules! targets {
    ($($target:ident: $promise:ident,)*) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $promise() {
                replay(stringify!($target), properties::$target::hold);
            }
        )*
    };
}

targets! {
    answers: whatever_answers_is_a_sound_configuration_or_a_fault_in_one_line,
    control: whatever_is_written_into_the_control_socket_what_reaches_the_daemon_is_sound,
    drop_ins: drop_ins_mean_the_same_in_any_order,
    ledger: a_damaged_ledger_opens_or_is_moved_aside_and_gives_no_wrong_bytes,
    server: whatever_is_sent_the_server_answers_as_documented_and_goes_on,
    settings: settings_are_valid_or_have_an_error_with_a_place,
    templates: a_template_renders_the_same_twice_and_a_merge_is_read_as_it_was_written,
    tokens: no_token_is_taken_but_the_one_that_was_given,
}

#[test]
fn every_target_has_a_program_and_a_corpus_of_a_dozen_at_least() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|name| (*name).to_owned()).collect();
    let names = |directory: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(fuzz().join(directory)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let names = paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in &targets {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        let corpus = corpus(target);
        assert!(corpus.len() >= 12, "{target} has {} inputs", corpus.len());
        for (path, bytes) in corpus {
            assert!(bytes.len() <= MOST_BYTES, "{} is too long", path.display());
        }
    }
}

/// Every input of the corpus, then mutations.
fn replay(target: &str, hold: fn(&[u8])) {
    let corpus = corpus(target);
    for (path, bytes) in &corpus {
        or_say(&path.display().to_string(), || hold(bytes));
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let rounds: Option<u64> = number("FUZZ_ROUNDS");
    let seed = number("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut rng = Rng::with_seed(seed);
    let begun = Instant::now();
    let mut done = 0;
    while done < rounds.unwrap_or(ROUNDS as u64) && (rounds.is_some() || begun.elapsed() < LONGEST)
    {
        let bytes = mutated(&corpus, &mut rng);
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
        let label = format!(
            "FUZZ_SEED={seed}, mutation {done}, kept as {}",
            kept.display()
        );
        or_say(&label, || {
            let held = catch_unwind(AssertUnwindSafe(|| hold(&bytes)));
            if let Err(panic) = held {
                std::fs::write(&kept, &bytes).unwrap();
                resume_unwind(panic);
            }
        });
        done += 1;
    }
    eprintln!(
        "{target}: {} inputs, {done} mutations, FUZZ_SEED={seed}",
        corpus.len()
    );
}

fn or_say(what: &str, act: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(act)) {
        eprintln!("does not hold: {what}");
        resume_unwind(panic);
    }
}

/// Up to four changes to one of the inputs.
fn mutated(corpus: &[(PathBuf, Vec<u8>)], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = corpus[rng.usize(..corpus.len())].1.clone();
    let other = &corpus[rng.usize(..corpus.len())].1;
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(..=bytes.len());
        let length = rng.usize(..=16).min(bytes.len() - at);
        match rng.u8(..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.insert(
                at,
                *rng.choice(b"\0\x1b\r\n\t \"'{}[]:,#%&*!<>|\x7f\xff\xc3")
                    .unwrap(),
            ),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let part = bytes[at..at + length].to_vec();
                let into = rng.usize(..=bytes.len());
                bytes.splice(into..into, part);
            }
            5 => {
                let from = rng.usize(..=other.len());
                let until = rng.usize(from..=other.len()).min(from + 64);
                bytes.splice(at..at + length, other[from..until].iter().copied());
            }
            6 => bytes.truncate(at),
            _ => {
                let numbers = [
                    "0",
                    "-1",
                    "9999999999",
                    "18446744073709551615",
                    "1e400",
                    "4096",
                ];
                let number = rng.choice(numbers).unwrap();
                bytes.splice(at..at + length.min(3), number.bytes());
            }
        }
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut corpus: Vec<_> = paths
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    corpus.sort();
    corpus
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}
