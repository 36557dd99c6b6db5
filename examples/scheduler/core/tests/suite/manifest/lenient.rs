//! Leniency: what is not supported is ignored, and said.

use mason_core::manifest::{Options, read};

use super::{GOOD, refused};

/// Every ignored field is named: whoever asked for leniency still learns what they go without.
#[test]
fn every_ignored_field_is_a_warning_with_its_path() {
    let text = "{kind: Job, name: a, image: x, gang: 1, hooks: {}, task: {sidecars: [1]}, nmae: b}";
    let problems = refused(text);
    assert_eq!(problems.lines().count(), 4, "{problems}");
    let objects = read(text, &Options { lenient: true }).unwrap();
    let warnings = objects[0].warnings.join("\n");
    for path in ["gang", "hooks", "task.sidecars", "nmae"] {
        assert!(warnings.contains(&format!("{path}: ignored: ")), "{path} in {warnings}");
    }
    assert!(warnings.contains("did you mean `name`"), "{warnings}");
}

/// Leniency must not change what is read of a manifest that needs none.
#[test]
fn good_manifests_are_read_alike() {
    for (name, text) in GOOD {
        let strict = read(text, &Options::default()).unwrap();
        let lenient = read(text, &Options { lenient: true }).unwrap();
        assert!(strict == lenient, "{name}");
    }
}
