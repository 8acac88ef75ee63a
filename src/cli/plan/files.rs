//! Two versions of a directory target, file by file.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;

use super::diff::between;
use crate::install::Tree;

/// A unified diff of every file that differs, then what else does, every line ended; `before` is `None` where there is nothing yet.
pub fn trees(from: &str, to: &str, before: Option<&Bytes>, after: &Bytes) -> String {
    let old = match before {
        Some(before) => Tree::unpack(before),
        None => Some(Tree::default()),
    };
    // An empty one is what is not there any more.
    let new = match after.is_empty() {
        true => Some(Tree::default()),
        false => Tree::unpack(after),
    };
    let (Some(old), Some(new)) = (old, new) else {
        return between(from, to, before.map(Bytes::as_ref), after);
    };
    let mut shown = String::new();
    let files = old.files().chain(new.files());
    let files: BTreeSet<&Path> = files.map(|(path, _)| path).collect();
    for path in files {
        let (was, is) = (old.file(path), new.file(path));
        if was == is {
            continue;
        }
        let name = |whole: &str| format!("{}/{}", whole.trim_end_matches('/'), path.display());
        let nothing = || "/dev/null".to_owned();
        let header = was.map_or_else(nothing, |_| name(from));
        let end = is.map_or_else(nothing, |_| name(to));
        let empty = Bytes::new();
        let (was, is) = (was.map(Bytes::as_ref), is.unwrap_or(&empty));
        shown.push_str(&between(&header, &end, was, is));
    }
    let (was, is) = (old.words(), new.words());
    let named: BTreeSet<&&Path> = was.keys().chain(is.keys()).collect();
    for path in named {
        let shown_path = path.display().to_string().escape_debug().to_string();
        // Writing to a String does not fail.
        let _ = match (was.get(*path), is.get(*path)) {
            (Some(was), Some(is)) if was != is => {
                writeln!(shown, "{shown_path}: now {was}, then {is}")
            }
            (Some(was), None) => writeln!(shown, "{shown_path}: now {was}, then nothing"),
            (None, Some(is)) if before.is_some() => {
                writeln!(shown, "{shown_path}: now nothing, then {is}")
            }
            _ => continue,
        };
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::install::Installer;
    use crate::settings::TargetPath;

    #[test]
    fn files_that_differ_are_shown_with_their_paths_and_modes_in_words() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("d");
        std::fs::create_dir_all(path.join("sub")).unwrap();
        for name in ["same", "sub/changed", "gone", "mode"] {
            std::fs::write(path.join(name), "old\n").unwrap();
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path.join(name), mode).unwrap();
        }
        let target = TargetPath::new(&format!("{}/", path.display())).unwrap();
        let archive = || Installer::new(None).read(&target).unwrap().unwrap().bytes;
        let before = archive();
        std::fs::write(path.join("sub/changed"), "new\n").unwrap();
        std::fs::write(path.join("more"), "more\n").unwrap();
        std::fs::remove_file(path.join("gone")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(path.join("mode"), mode).unwrap();
        let shown = trees("/d/", "/d/", Some(&before), &archive());
        for part in [
            "--- /d/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n",
            "--- /dev/null\n+++ /d/more\n@@ -0,0 +1 @@\n+more\n",
            "--- /d/sub/changed\n+++ /d/sub/changed\n@@ -1 +1 @@\n-old\n+new\n",
            "\nmode: now file, owner",
            "mode 0600, then file",
        ] {
            assert!(shown.contains(part), "{part}\n---\n{shown}");
        }
        assert!(!shown.contains("same"), "{shown}");
    }
}
