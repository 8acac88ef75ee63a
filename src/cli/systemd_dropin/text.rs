//! Wants as text: a drop-in of systemd, a rule of polkit. Whoever installs it reads it first, so that each line says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Need, Of, UNIT, Wanted};

/// The drop-in, without a last line end.
pub fn drop_in(settings: &Path, as_root: bool, wanted: &[Wanted]) -> String {
    let (base, flag) = match as_root {
        true => ("appconfigd.service", " --as-root"),
        false => ("appconfigd-unprivileged.conf", ""),
    };
    let mut text = format!(
        "# What `{}` needs beyond {base}, on this host:\n#\n#   appconfigd systemd-dropin{flag} >/etc/systemd/system/{UNIT}.d/20-settings.conf\n#   systemctl daemon-reload\n#\n# What commands of the settings need is not known here.\n\n[Service]\n",
        comment(&settings.display().to_string())
    );
    let before = text.len();
    directories(&mut text, wanted);
    groups(&mut text, wanted);
    capabilities(&mut text, as_root, wanted);
    sight(&mut text, wanted);
    set_id(&mut text, wanted);
    if text.len() == before {
        text.push_str("# Nothing.\n");
    }
    if units(wanted).next().is_some() {
        text.push_str(
            "\n# To reload units it needs a rule as well:\n#   appconfigd systemd-dropin --polkit >/etc/polkit-1/rules.d/50-appconfigd.rules\n",
        );
    }
    text.trim_end().to_owned()
}

/// The rule, without a last line end.
pub fn polkit(settings: &Path, user: &str, wanted: &[Wanted]) -> String {
    let mut verbs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (unit, verb) in units(wanted) {
        verbs.entry(unit).or_default().insert(verb);
    }
    if verbs.is_empty() {
        return format!(
            "// `{}` has no unit that is reloaded: no rule is needed.",
            comment(&settings.display().to_string())
        );
    }
    let units = serde_json::to_string_pretty(&verbs).unwrap_or_default();
    let units = units.replace('\n', "\n    ");
    let user = serde_json::Value::from(user);
    format!(
        "// What `{}` needs to reload units:\n//\n//   appconfigd systemd-dropin --polkit >/etc/polkit-1/rules.d/50-appconfigd.rules\n\npolkit.addRule(function (action, subject) {{\n    var units = {units};\n    if (action.id == \"org.freedesktop.systemd1.manage-units\" && subject.user == {user}) {{\n        var verbs = units[action.lookup(\"unit\")];\n        if (verbs && verbs.indexOf(action.lookup(\"verb\")) >= 0) {{\n            return polkit.Result.YES;\n        }}\n    }}\n}});",
        comment(&settings.display().to_string())
    )
}

fn directories(text: &mut String, wanted: &[Wanted]) {
    let mut by_directory: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for Wanted {
        need, of, against, ..
    } in wanted
    {
        let Need::Write(directory) = need else {
            continue;
        };
        // A directory of its own in that place is none that one may be let into.
        if against.starts_with("PrivateTmp") {
            continue;
        }
        let reasons = by_directory.entry(lasting(directory)).or_default();
        reasons.push(named(of));
    }
    for (directory, reasons) in by_directory {
        reason(text, &reasons);
        if directory == Path::new("/run") {
            text.push_str(
                "# (directories of /run come and go with their services; the rights of files still hold)\n",
            );
        } else if !directory.is_dir() {
            text.push_str(
                "# It is not there: make it before the unit starts (tmpfiles.d), else it is left out.\n",
            );
        }
        match assignable(&directory) {
            Some(path) => line(text, "ReadWritePaths", &path),
            None => {
                let shown = comment(&directory.display().to_string());
                let _ = writeln!(text, "# {shown}: no unit can name it; choose another path");
            }
        }
    }
}

/// A directory below /run is removed and made anew by its service, and a mount would not follow.
fn lasting(directory: &Path) -> PathBuf {
    match directory.starts_with("/run") {
        true => PathBuf::from("/run"),
        false => directory.to_owned(),
    }
}

fn groups(text: &mut String, wanted: &[Wanted]) {
    for (need, reasons) in reasons(wanted) {
        if let Need::Group(name) = need {
            reason(text, &reasons);
            line(text, "SupplementaryGroups", &comment(name));
        }
    }
}

fn capabilities(text: &mut String, as_root: bool, wanted: &[Wanted]) {
    for (need, reasons) in reasons(wanted) {
        if let Need::Capability(name) = need {
            reason(text, &reasons);
            if *name == "CAP_DAC_OVERRIDE" {
                text.push_str(
                    "# (much: better is to give the directory to the unit's user, and print this again)\n",
                );
            }
            line(text, "CapabilityBoundingSet", name);
            // Root has what it is not forbidden.
            if !as_root {
                line(text, "AmbientCapabilities", name);
            }
        }
    }
}

/// What a unit hides behind a place of its own is shown by not having that place.
fn sight(text: &mut String, wanted: &[Wanted]) {
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Wanted {
        need, of, against, ..
    } in wanted
    {
        let own = against.starts_with("PrivateTmp");
        let hidden = matches!(need, Need::See(_));
        let setting = match (own, hidden) {
            (true, _) => "PrivateTmp=no",
            (false, true) if against.starts_with("ProtectHome") => "ProtectHome=read-only",
            (false, _) => continue,
        };
        lines.entry(setting).or_default().push(named(of));
    }
    for (setting, reasons) in lines {
        reason(text, &reasons);
        text.push_str(setting);
        text.push('\n');
        // Not its own any more, and read-only like the rest.
        if setting.starts_with("PrivateTmp") {
            line(text, "ReadWritePaths", "/tmp /var/tmp");
        }
    }
}

fn set_id(text: &mut String, wanted: &[Wanted]) {
    for (need, reasons) in reasons(wanted) {
        if *need == Need::SetId {
            reason(text, &reasons);
            line(text, "RestrictSUIDSGID", "no");
        }
    }
}

/// Each need with whose it is and why.
fn reasons(wanted: &[Wanted]) -> BTreeMap<&Need, Vec<String>> {
    let mut reasons: BTreeMap<&Need, Vec<String>> = BTreeMap::new();
    for Wanted { need, of, why, .. } in wanted {
        let reason = format!("{}: {}", named(of), comment(why));
        reasons.entry(need).or_default().push(reason);
    }
    reasons
}

fn units(wanted: &[Wanted]) -> impl Iterator<Item = (&str, &'static str)> {
    wanted.iter().filter_map(|wanted| match &wanted.need {
        Need::Manage { unit, verb } => Some((unit.as_str(), *verb)),
        _ => None,
    })
}

fn named(of: &Of) -> String {
    match of {
        Of::Metrics => "metrics".to_owned(),
        Of::Target(path) => comment(path.as_str()),
        Of::Service(name) => comment(name.as_str()),
        Of::Watch(name, _) => comment(&format!("watch {name}")),
    }
}

fn reason(text: &mut String, reasons: &[String]) {
    for reason in reasons.iter().collect::<BTreeSet<_>>() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# {reason}");
    }
}

fn line(text: &mut String, setting: &str, value: &str) {
    let _ = writeln!(text, "{setting}={value}");
}

/// A name of the settings must not end its line.
fn comment(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => plain.extend(character.escape_default()),
            false => plain.push(character),
        }
    }
    plain
}

/// A path as systemd.exec(5) reads it in `ReadWritePaths=`; `None` where it has no way to write it.
fn assignable(path: &Path) -> Option<String> {
    let path = path.to_str()?;
    let odd = |character: char| character.is_control() || character == '\\';
    if path.contains(odd) {
        return None;
    }
    let path = format!("-{}", path.replace('%', "%%"));
    match (path.contains([' ', '\'']), path.contains('"')) {
        (_, true) if path.contains('\'') => None,
        (_, true) => Some(format!("'{path}'")),
        (true, false) => Some(format!("\"{path}\"")),
        (false, false) => Some(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(need: Need, path: &str, why: &str) -> Wanted {
        Wanted {
            need,
            of: Of::Target(crate::settings::TargetPath::new(path).unwrap()),
            why: why.to_owned(),
            against: "ProtectSystem=strict".to_owned(),
        }
    }

    fn lines(wanted: &[Wanted]) -> String {
        let text = drop_in(Path::new("/etc/appconfigd/appconfigd.yaml"), false, wanted);
        text.split_once("[Service]\n").unwrap().1.to_owned()
    }

    #[test]
    fn a_name_of_the_settings_begins_no_line_of_the_unit() {
        let path = "/etc/a\nExecStartPre=evil/b";
        let directory = Need::Write("/etc/a\nExecStartPre=evil".into());
        let text = lines(&[want(directory, path, "")]);
        assert!(!text.contains("\nExecStartPre"), "{text}");
        assert!(
            text.contains(": no unit can name it; choose another path"),
            "{text}"
        );
    }

    #[test]
    fn paths_are_written_as_systemd_reads_them() {
        let written = |path: &str| assignable(Path::new(path));
        assert_eq!(written("/etc/a").unwrap(), "-/etc/a");
        assert_eq!(written("/etc/a b").unwrap(), "\"-/etc/a b\"");
        assert_eq!(written("/etc/50%").unwrap(), "-/etc/50%%");
        assert_eq!(written("/etc/\"a\"").unwrap(), "'-/etc/\"a\"'");
        assert_eq!(written("/etc/a\nb"), None);
    }

    #[test]
    fn directories_of_run_are_one_and_settings_without_wants_say_so() {
        let wants = [
            want(Need::Write("/run/a".into()), "/run/a/x", ""),
            want(Need::Write("/run/b".into()), "/run/b/y", ""),
        ];
        let text = lines(&wants);
        assert_eq!(
            text.matches("ReadWritePaths=-/run\n").count()
                + usize::from(text.ends_with("ReadWritePaths=-/run")),
            1,
            "{text}"
        );
        assert_eq!(lines(&[]), "# Nothing.");
    }
}
