//! The way to a path, links on it among it: whoever changes one changes what lies there.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// The way to a directory.
pub struct Way {
    pub end: PathBuf,
    /// Each by the directory that holds it and its name.
    pub links: Vec<(PathBuf, OsString)>,
}

/// What does not exist (yet) is taken for a directory. Below a root no link leads out of it.
pub fn walk(root: Option<&Path>, parent: &str) -> Way {
    let base = root.unwrap_or(Path::new("/"));
    let mut end = base.to_owned();
    let mut links = Vec::new();
    let mut ahead: VecDeque<OsString> = parts(Path::new(parent)).into();
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            if end != base {
                end.pop();
            }
            continue;
        }
        let next = end.join(&part);
        match std::fs::read_link(&next) {
            Ok(link) if links.len() < LINKS => {
                links.push((end.clone(), part));
                if link.is_absolute() {
                    end = base.to_owned();
                }
                for part in parts(&link).into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            Ok(_) | Err(_) => end = next,
        }
    }
    Way { end, links }
}

fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_counts_and_none_leads_out_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("real/v1/conf")).unwrap();
        symlink("v1", root.join("real/data")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        symlink("/real/data/conf", root.join("etc/app")).unwrap();
        symlink("../../../../real", root.join("etc/up")).unwrap();
        let way = walk(Some(root), "/etc/app");
        assert_eq!(way.end, root.join("real/v1/conf"));
        let links = vec![
            (root.join("etc"), "app".into()),
            (root.join("real"), "data".into()),
        ];
        assert_eq!(way.links, links);
        assert_eq!(walk(Some(root), "/etc/up").end, root.join("real"));
        assert_eq!(
            walk(Some(root), "/etc/none/more").end,
            root.join("etc/none/more")
        );
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        let way = walk(Some(directory.path()), "/a/x");
        assert_eq!(way.links.len(), LINKS);
    }
}
