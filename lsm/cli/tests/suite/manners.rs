//! Exit status, pipes, and leaving no trace.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use drystone_lsm::{Db, KeyspaceOptions, Options};
use drystone_vfs::{OsClock, OsVfs};

use crate::lab::Lab;

fn status(lab: &Lab, arguments: &[&str]) -> i32 {
    lab.run(arguments).status.code().unwrap()
}

/// The first table there is.
fn a_table(lab: &Lab) -> String {
    let tables = lab.files().into_iter().map(|(path, _)| path);
    let table = tables.filter(|path| path.extension().is_some_and(|kind| kind == "table")).min();
    let table = table.unwrap();
    table.strip_prefix(lab.here.path()).unwrap().to_str().unwrap().to_owned()
}

// A script decides by the status alone.
#[test]
fn the_status_tells_sound_damaged_and_cannot_tell_apart() {
    let lab = Lab::new();
    lab.make(300, true);
    for command in ["verify", "stat", "dump"] {
        assert_eq!(status(&lab, &[command, "db"]), 0, "{command}");
        assert_eq!(status(&lab, &[command, "nowhere"]), 2, "{command}");
        assert_eq!(status(&lab, &[command]), 2, "{command}");
    }
    let table = a_table(&lab);
    assert_eq!(status(&lab, &["dump", &table]), 0);
    assert_eq!(status(&lab, &["dump", "db", "--keyspace", "vegetables"]), 2);
    // A block: the database opens, and the key is an error.
    lab.edit(&table, |bytes| bytes[100] ^= 1);
    assert_eq!(status(&lab, &["verify", "db"]), 1);
    assert_eq!(status(&lab, &["stat", "db"]), 0);
    assert_eq!(status(&lab, &["dump", "db"]), 2);
    // The footer: it does not open.
    lab.edit(&table, |bytes| {
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
    });
    assert_eq!(status(&lab, &["verify", "db"]), 1);
    assert_eq!(status(&lab, &["stat", "db"]), 2);
    assert_eq!(status(&lab, &["dump", "db"]), 2);
    assert_eq!(status(&lab, &["dump", &table]), 2);
}

// An operator looks at a database that matters; whatever he asks, it must be as it was.
#[test]
fn no_command_changes_the_database() {
    for damage in [false, true] {
        let lab = Lab::new();
        lab.make(30, false);
        if damage {
            let table = a_table(&lab);
            lab.edit(&table, |bytes| bytes[50] ^= 1);
        }
        let before = lab.files();
        for command in ["verify", "stat", "dump"] {
            lab.run(&[command, "db"]);
        }
        assert!(lab.files() == before, "damaged: {damage}");
    }
}

// A database in use is not judged; one of its tables may be looked at, for it never changes.
#[test]
fn a_database_in_use_is_not_judged() {
    let lab = Lab::new();
    lab.make(30, true);
    let options = Options::default().threads(0).memory_bytes(1 << 20);
    let clock = Arc::new(OsClock::new());
    let db = Db::open(Arc::new(OsVfs::new()), clock, &lab.path("db"), options).unwrap();
    for command in ["verify", "stat", "dump"] {
        let output = lab.run(&[command, "db"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("in use"), "{command}");
    }
    assert_eq!(status(&lab, &["dump", &a_table(&lab)]), 0);
    let fruits = db.keyspace("fruits", KeyspaceOptions::default()).unwrap();
    db.put(&fruits, b"k", b"v").unwrap().wait().unwrap();
}

// `dump | head` closes the pipe long before the end.
#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let lab = Lab::new();
    lab.make(4000, true);
    let table = a_table(&lab);
    for (arguments, first) in [(["dump", "db"], "keyspace"), (["dump", &table], "table")] {
        let mut command = lab.command(&arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with(first));
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}
