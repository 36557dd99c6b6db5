//! The bugs that `cargo xtask mutants` puts in: their texts must still be in the core.

use std::fs;
use std::path::Path;

/// A mutant whose text has moved away is one that nobody hunts any more.
#[test]
fn every_mutant_still_fits() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..");
    let mut count = 0;
    #[expect(clippy::disallowed_methods, reason = "the sources are no database")]
    let entries = fs::read_dir(here.join("mutants")).unwrap();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "txt") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (head, rest) = text.split_once("\n---- instead of\n").unwrap();
        let (instead_of, says) = rest.split_once("\n---- it says\n").unwrap();
        let file = head.lines().last().unwrap();
        let source = fs::read_to_string(root.join(file)).unwrap();
        assert_eq!(source.matches(instead_of).count(), 1, "{name}: not in {file} once");
        assert_ne!(instead_of, says.trim_end_matches('\n'), "{name} changes nothing");
        count += 1;
    }
    assert!(count >= 40, "{count} mutants");
}
