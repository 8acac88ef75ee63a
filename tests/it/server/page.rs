//! `docs/protocol.md` and `docs/security.md` name tests that exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_protocol_page_names_exists() {
    let folders = [
        "src/server",
        "src/protocol",
        "src/watch",
        "tests/it",
        "tests/aws",
    ];
    every_test_exists("docs/protocol.md", &folders);
}

#[test]
fn every_test_that_the_page_about_security_names_exists() {
    every_test_exists("docs/security.md", &["src", "tests/it"]);
}

/// Pages name tests in backticks after `test:`.
fn every_test_exists(name_of_page: &str, folders: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(name_of_page)).unwrap();
    let mut source = String::new();
    for folder in folders {
        gather(&root.join(folder), &mut source);
    }
    let named: Vec<&str> = page
        .split("test: `")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
        .collect();
    assert!(named.len() > 30, "the page names {} tests", named.len());
    for name in named {
        let exists =
            source.contains(&format!("fn {name}(")) || source.contains(&format!("def {name}("));
        assert!(
            exists,
            "{name_of_page} names the test `{name}`, which does not exist"
        );
    }
}

fn gather(folder: &Path, source: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, source);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "py")
        {
            source.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
