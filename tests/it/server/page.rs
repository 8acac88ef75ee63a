//! `docs/protocol.md` names tests that exist.

use std::fs;
use std::path::Path;

/// Rows of `docs/protocol.md` name their tests in backticks after `test:`.
#[test]
fn every_test_that_the_protocol_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/protocol.md")).unwrap();
    let mut source = String::new();
    for folder in [
        "src/server",
        "src/protocol",
        "src/watch",
        "tests/it",
        "tests/aws",
    ] {
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
            "docs/protocol.md names the test `{name}`, which does not exist"
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
