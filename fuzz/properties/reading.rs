//! What both targets of the settings hold.

use std::path::Path;

use appconfigd::settings::{
    Circumstances, Problem, Problems, Read, Render, Settings, Severity, TargetPath, Texts,
    interpret, read,
};

use super::{in_time, is_plain};

/// Holds it, and gives what the settings mean if they are valid.
pub fn hold(main: &[u8], drop_ins: &[&[u8]]) -> Option<Settings> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("appconfigd.yaml");
    std::fs::write(&file, main).expect("a file");
    let below = directory.path().join("appconfigd.d");
    std::fs::create_dir(&below).expect("a directory");
    let mut texts = vec![(file.clone(), main)];
    for (number, bytes) in drop_ins.iter().enumerate() {
        let path = below.join(format!("{number}.yaml"));
        std::fs::write(&path, bytes).expect("a file");
        texts.push((path, bytes));
    }

    let circumstances = Circumstances::default();
    let once = in_time("reading", || read(&file, &circumstances));
    let again = read(&file, &circumstances);
    assert_eq!(told(&once), told(&again), "the second reading differs");
    problems(&once)
        .iter()
        .for_each(|problem| sound(problem, &texts));
    in_memory(&file, &texts, &once);
    match once {
        Ok(valid) => {
            assert!(
                problems(&Ok(again.expect("valid as before")))
                    .iter()
                    .all(|problem| problem.severity == Severity::Warning),
                "valid, with an error"
            );
            consistent(&valid.settings);
            // The directory is another each time; what lies in it is of no interest to the caller.
            Some(below_slash(valid.settings, directory.path()))
        }
        Err(problems) => {
            assert!(problems.errors() > 0, "invalid without an error");
            assert!(!problems.missing, "the file is there");
            None
        }
    }
}

/// Texts from memory mean what files mean, except that nobody looks for the files that they name.
fn in_memory(
    file: &Path,
    texts: &[(std::path::PathBuf, &[u8])],
    from_disk: &Result<Read, Problems>,
) {
    let text = |(path, bytes): &(std::path::PathBuf, &[u8])| {
        let text = std::str::from_utf8(bytes).ok()?;
        Some((path.clone(), text.to_owned()))
    };
    let Some(mut texts) = texts.iter().map(text).collect::<Option<Vec<_>>>() else {
        assert!(from_disk.is_err(), "settings that are no text are valid");
        return;
    };
    let drop_ins = texts.split_off(1);
    let main = texts.pop().expect("the main file");
    let known = interpret(Texts::new(main, drop_ins), file, &Circumstances::default());
    match (&known, from_disk) {
        (Ok(known), Ok(read)) => assert_eq!(known.settings, read.settings),
        (Err(problems), Ok(_)) => panic!("valid as a file, invalid as a text: {problems}"),
        (_, Err(_)) => {}
    }
}

fn told(read: &Result<Read, Problems>) -> (Option<&Settings>, Vec<String>) {
    let settings = read.as_ref().ok().map(|read| &read.settings);
    let problems = problems(read).iter().map(ToString::to_string);
    (settings, problems.collect())
}

fn problems(read: &Result<Read, Problems>) -> &[Problem] {
    match read {
        Ok(read) => &read.warnings,
        Err(problems) => &problems.list,
    }
}

/// A problem says something, about a place that is there.
fn sound(problem: &Problem, texts: &[(std::path::PathBuf, &[u8])]) {
    let shown = problem.to_string();
    assert!(!problem.message.trim().is_empty(), "no message: {shown}");
    assert!(is_plain(&shown, &['\n']), "not plain: {shown:?}");
    let found = texts.iter().find(|(path, _)| *path == problem.file);
    let (_, bytes) = found.unwrap_or_else(|| panic!("of another file: {shown}"));
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    let line = problem.line.checked_sub(1).and_then(|line| lines.get(line));
    let line = line.unwrap_or_else(|| panic!("there is no such line: {shown}"));
    let columns = line.chars().count() + 1;
    assert!(
        (1..=columns).contains(&problem.column),
        "there is no such column: {shown}"
    );
}

/// What the types of valid settings promise and their fields cannot.
fn consistent(settings: &Settings) {
    assert!(settings.file.is_absolute() && settings.directory.is_absolute());
    assert!(settings.root.as_ref().is_none_or(|root| root.is_absolute()));
    for (name, profile) in &settings.profiles {
        assert!(!name.as_str().is_empty() && *name == profile.name);
        let names = [
            &profile.application,
            &profile.environment,
            &profile.configuration_profile,
        ];
        assert!(names.iter().all(|name| !name.is_empty()), "{profile:?}");
        assert_eq!(profile.poll_interval.subsec_nanos(), 0, "{profile:?}");
        assert!(profile.poll_interval.as_secs() >= 1, "{profile:?}");
        let shrink = profile.validate.max_shrink;
        assert!(shrink.is_none_or(|share| (0.0..=1.0).contains(&share)));
    }
    for (path, target) in &settings.targets {
        assert_eq!(*path, target.path);
        assert_eq!(TargetPath::new(path.as_str()).as_ref(), Some(path));
        assert!(!path.is_reserved(), "{path}");
        assert!(target.mode.is_none_or(|mode| mode <= 0o7777));
        assert_eq!(path.is_directory(), target.file_set().is_some(), "{path}");
        let of_files = target.file_set().into_iter();
        let of_files = of_files.flat_map(|set| set.files.values().flat_map(|file| &file.from));
        for name in target.from.iter().chain(of_files) {
            assert!(settings.profiles.contains_key(name), "{path}: {name}");
        }
        assert!(!target.from.is_empty(), "{path}");
        if target.render == Render::Verbatim {
            assert_eq!(target.from.len(), 1, "{path}");
        }
        for name in &target.notify {
            assert!(settings.services.contains_key(name), "{path}: {name}");
        }
    }
}

/// With `directory` as the root.
fn below_slash(mut settings: Settings, directory: &Path) -> Settings {
    let root = Path::new("/");
    let moved = |path: &Path| match path.strip_prefix(directory) {
        Ok(below) => root.join(below),
        Err(_) => path.to_owned(),
    };
    settings.file = moved(&settings.file);
    settings.directory = moved(&settings.directory);
    settings.root = settings.root.as_deref().map(moved);
    settings
}
