//! Exit status, pipes, and leaving no trace.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use drystone_vfs::OsVfs;
use drystone_wal::{Lsn, Options, Wal};

use crate::lab::Lab;

fn status(lab: &Lab, arguments: &[&str]) -> i32 {
    lab.run(arguments).status.code().unwrap()
}

// A script decides by the status alone.
#[test]
fn the_status_tells_sound_damaged_and_cannot_tell_apart() {
    let lab = Lab::new();
    lab.make(30, 1000, true);
    assert_eq!(status(&lab, &["verify", "log"]), 0);
    assert_eq!(status(&lab, &["verify", "log", "--min-lsn", "30"]), 0);
    assert_eq!(status(&lab, &["verify", "log", "--min-lsn", "31"]), 1);
    assert_eq!(status(&lab, &["verify", "nowhere"]), 2);
    assert_eq!(status(&lab, &["verify", "nowhere", "--min-lsn", "1"]), 1, "a lost log is damage");
    assert_eq!(status(&lab, &["verify"]), 2);
    assert_eq!(status(&lab, &["dump", "nowhere"]), 2);
    assert_eq!(status(&lab, &["salvage", "nowhere", "--to", "new"]), 2);
    lab.edit("log/0000000000000001.wal", |bytes| bytes[5000] ^= 1);
    assert_eq!(status(&lab, &["verify", "log"]), 1);
    assert_eq!(status(&lab, &["dump", "log"]), 0);
    assert_eq!(status(&lab, &["salvage", "log", "--to", "new"]), 0);
    assert_eq!(status(&lab, &["salvage", "log", "--to", "new"]), 2, "there is a log already");
    assert_eq!(status(&lab, &["verify", "new"]), 0);
}

// An operator looks at a log that matters; whatever he asks, it must be as it was.
#[test]
fn no_command_changes_the_log() {
    let lab = Lab::new();
    lab.make(30, 1000, false);
    lab.edit("log/0000000000000002.wal", |bytes| bytes[4200] ^= 1);
    std::fs::remove_file(lab.path("log/LOCK")).unwrap();
    let before = lab.files();
    lab.run(&["verify", "log"]);
    lab.run(&["dump", "log", "--records", "text"]);
    assert!(lab.files() == before);
    lab.run(&["salvage", "log", "--to", "new"]);
    let mut after = lab.files();
    after.retain(|(path, _)| !path.starts_with(lab.path("new")));
    assert!(after == before);
}

// A log in use is not judged, but may be looked at.
#[test]
fn a_log_in_use_is_dumped_and_not_judged() {
    let lab = Lab::new();
    let (wal, _) = Wal::open(Arc::new(OsVfs::new()), &lab.path("log"), Options::default()).unwrap();
    wal.append(&[b"alive"]).unwrap().wait().unwrap();
    let verify = lab.run(&["verify", "log"]);
    assert_eq!(verify.status.code(), Some(2));
    assert!(String::from_utf8(verify.stderr).unwrap().contains("in use"));
    let dump = lab.run(&["dump", "log", "--records", "text"]);
    assert_eq!(dump.status.code(), Some(0));
    assert!(String::from_utf8(dump.stdout).unwrap().contains("alive"));
    assert_eq!(wal.append(&[b"still"]).unwrap().wait().unwrap(), Lsn(2));
}

// `dump | head` closes the pipe long before the end.
#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let lab = Lab::new();
    lab.make(4000, 100, true);
    for arguments in [&["dump", "log"][..], &["dump", "log", "--records", "hex"]] {
        let mut command = lab.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("segment 1"));
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}
