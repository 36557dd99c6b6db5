//! Exit status, pipes, and leaving no trace.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use drystone_btree::{Db, Options, TxnId};
use drystone_vfs::OsVfs;

use crate::lab::Lab;

fn status(lab: &Lab, arguments: &[&str]) -> i32 {
    lab.run(arguments).status.code().unwrap()
}

// A script decides by the status alone.
#[test]
fn the_status_tells_sound_damaged_and_cannot_tell_apart() {
    let lab = Lab::new();
    lab.make(30, 100, true);
    assert_eq!(status(&lab, &["verify", "db"]), 0);
    assert_eq!(status(&lab, &["verify", "db", "--min-txn", "30"]), 0);
    assert_eq!(status(&lab, &["verify", "db", "--min-txn", "31"]), 1);
    assert_eq!(status(&lab, &["verify", "nowhere"]), 2);
    assert_eq!(status(&lab, &["verify"]), 2);
    assert_eq!(status(&lab, &["stat", "db"]), 0);
    assert_eq!(status(&lab, &["stat", "nowhere"]), 2);
    assert_eq!(status(&lab, &["dump", "nowhere"]), 2);
    assert_eq!(status(&lab, &["dump", "db", "--tree", "records"]), 0);
    assert_eq!(status(&lab, &["dump", "db", "--tree", "none"]), 2);
    lab.edit("db", |bytes| bytes[2 * 4096..].iter_mut().for_each(|byte| *byte ^= 1));
    assert_eq!(status(&lab, &["verify", "db"]), 1);
    assert_eq!(status(&lab, &["dump", "db"]), 0);
    lab.edit("db", |bytes| bytes.truncate(9));
    assert_eq!(status(&lab, &["verify", "db"]), 1);
    assert_eq!(status(&lab, &["dump", "db"]), 0);
    assert_eq!(status(&lab, &["dump", "db", "--page", "77"]), 0);
    assert_eq!(status(&lab, &["stat", "db"]), 2);
}

// An operator looks at a database that matters; whatever he asks, it must be as it was.
#[test]
fn no_command_changes_the_database() {
    let lab = Lab::new();
    for closed in [true, false] {
        lab.make(30, 100, closed);
        lab.edit("db", |bytes| bytes[3 * 4096 + 77] ^= 1);
        let before = lab.files();
        lab.run(&["verify", "db"]);
        lab.run(&["stat", "db"]);
        lab.run(&["dump", "db"]);
        lab.run(&["dump", "db", "--page", "3"]);
        lab.run(&["dump", "db", "--tree", "records"]);
        assert!(lab.files() == before);
    }
}

// A database in use is not judged, but may be looked at.
#[test]
fn a_database_in_use_is_dumped_and_not_judged() {
    let lab = Lab::new();
    let db = Db::open(Arc::new(OsVfs::new()), &lab.path("db"), Options::default()).unwrap();
    let tree = db.tree("alive").unwrap();
    let put = || {
        let mut w = db.write().unwrap();
        w.put(tree, b"still", b"here").unwrap();
        w.commit().unwrap().wait().unwrap()
    };
    put();
    for arguments in [&["verify", "db"][..], &["stat", "db"], &["dump", "db", "--tree", "alive"]] {
        let refused = lab.run(arguments);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8(refused.stderr).unwrap().contains("in use"));
    }
    let dump = lab.run(&["dump", "db"]);
    assert_eq!(dump.status.code(), Some(0));
    assert!(String::from_utf8(dump.stdout).unwrap().contains("alive"));
    assert_eq!(put(), TxnId(3));
}

// `dump | head` closes the pipe long before the end.
#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let lab = Lab::new();
    lab.make(4000, 100, true);
    for arguments in [&["dump", "db", "--tree", "records"][..], &["dump", "db"]] {
        let mut command = lab.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("record"));
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}
