//! Folders that cannot be trusted, and files that are taken for something else.

use std::fs;
use std::path::Path;

use super::{add, files, try_restore};
use crate::migration::{run_ours, text, word};
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs::{later_or_skip, ours, real_or_skip};
use crate::support::server::{Server, clean_command};

/// A folder with a base and three increments.
fn fill(dir: &Path) -> Server {
    let server = Server::start(&ours(), &[]);
    for number in 0..4 {
        in_a_runtime(async { put(&client_of(&server).await, "k", format!("{number}"), 0).await });
        add(&server, dir);
    }
    server
}

/// What is said of the folder when it is refused, and nothing must be left.
#[track_caller]
fn refusal(dir: &Path, flags: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("files of a test can be used");
    let output = try_restore(dir, &folder.path().join("data"), flags);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(files(folder.path(), ""), [""; 0], "nothing is written");
    text(&output.stderr)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("files of a test can be used");
    for name in files(from, "") {
        fs::copy(from.join(&name), to.join(&name)).expect("files of a test can be used");
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).expect("files of a test can be used");
    bytes[at] ^= 1;
    fs::write(file, bytes).expect("files of a test can be used");
}

// It is restored on the worst day of the year: what is wrong must be said, by its file, and no half
// of it be taken for whole.
#[test]
fn damage_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    drop(fill(&sound));
    let dir = folder.path().join("dir");
    let damaged = |damage: &dyn Fn(), flags: &[&str]| {
        let _ = fs::remove_dir_all(&dir);
        copy(&sound, &dir);
        damage();
        refusal(&dir, flags)
    };
    let second = dir.join("chain-000001-000002.increment");
    let name = second.display().to_string();
    let said = damaged(&|| flip(&second, 5000), &[]);
    assert!(said.contains(&format!("{name} is damaged: its SHA-256 is")), "{said}");
    let said = damaged(&|| fs::write(&second, "x").unwrap(), &[]);
    assert!(said.contains(&format!("{name} is damaged: it has 1 bytes")), "{said}");
    let said = damaged(&|| fs::remove_file(&second).unwrap(), &[]);
    assert!(said.contains(&format!("{name} is missing")), "{said}");
    let base = dir.join("chain-000001-base.db");
    let said = damaged(&|| flip(&base, 9000), &["--to-revision=2"]);
    assert!(said.contains("chain-000001-base.db is damaged"), "{said}");
    let manifest = dir.join("manifest");
    let said = damaged(&|| flip(&manifest, 200), &[]);
    assert!(said.contains("manifest: line 2 is damaged"), "{said}");
    let lines = fs::read_to_string(sound.join("manifest")).unwrap();
    let lines: Vec<&str> = lines.split_inclusive('\n').collect();
    let without = |number: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != number);
        kept.map(|(_, line)| *line).collect::<String>()
    };
    let said = damaged(&|| fs::write(&manifest, without(3)).unwrap(), &[]);
    assert!(said.contains("there is a gap: chain-000001-000003.increment"), "{said}");
    let said = damaged(&|| fs::write(&manifest, without(1)).unwrap(), &[]);
    assert!(said.contains("line 2: chain-000001-000001.increment is an increment of no"), "{said}");
    // What does not reach that far does not matter.
    flip(&second, 5000);
    fs::write(&manifest, lines.concat()).unwrap();
    let to = folder.path().join("to.db");
    let words = ["backup", "restore", word(&dir), "--to-revision=3", "--to", word(&to)];
    assert!(run_ours(&words).status.success());
    let listed = run_ours(&["backup", "list", word(&dir), "--verify"]);
    let said = text(&listed.stdout);
    assert!(listed.status.code() == Some(1) && said.matches(" sound").count() == 3, "{said}");
    let again = run_ours(&words);
    assert!(text(&again.stderr).contains("to.db is there already"), "{again:?}");
}

// Two clusters whose numbers fit, and a crash amid a line.
#[test]
fn files_of_two_clusters_are_not_one_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    drop(fill(&one));
    drop(fill(&two));
    let name = "chain-000001-000002.increment";
    let kept = folder.path().join("kept");
    copy(&one, &kept);
    fs::copy(two.join(name), one.join(name)).unwrap();
    let said = refusal(&one, &[]);
    assert!(said.contains(&format!("{name} is damaged: its SHA-256")), "{said}");
    // With its line.
    let read = |dir: &Path| fs::read_to_string(dir.join("manifest")).unwrap();
    let (first, second) = (read(&kept), read(&two));
    let line = |text: &str, at: usize| text.split_inclusive('\n').nth(at).unwrap().to_owned();
    let mixed: String = (0..5).map(|at| line(if at == 3 { &second } else { &first }, at)).collect();
    fs::write(one.join("manifest"), mixed).unwrap();
    let said = refusal(&one, &[]);
    assert!(said.contains(&format!("line 4 is damaged: {name} is of cluster")), "{said}");
    // Half a line at the end never counted; that it is there is said.
    fs::write(kept.join("manifest"), &first[..first.len() - 9]).unwrap();
    let output = try_restore(&kept, &folder.path().join("data"), &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stderr).contains("never finished"), "{output:?}");
    assert!(text(&output.stdout).contains("restored revision 4"), "{output:?}");
}

// A bare increment has the shape of a database. Whoever began a cluster with it would have lost
// all that came before, and not know.
#[test]
fn nothing_begins_with_a_bare_increment() {
    let test = "backup::damage::nothing_begins_with_a_bare_increment";
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    drop(fill(&dir));
    let (increment, data) = (dir.join("chain-000001-000001.increment"), folder.path().join("data"));
    for flags in [&[][..], &["--skip-hash-check"]] {
        let words = ["snapshot", "restore", word(&increment), "--data-dir", word(&data)];
        let output = run_ours(&[&words[..], flags].concat());
        let said = text(&output.stderr);
        assert!(
            said.contains("is an increment of a backup: it has what came after revision 2"),
            "{said}"
        );
        assert!(output.status.code() == Some(1) && !data.exists());
    }
    let output = run_ours(&["snapshot", "status", word(&increment)]);
    assert!(text(&output.stderr).contains("is an increment of a backup"), "{output:?}");
    let output = run_ours(&["snapshot", "restore", word(&dir), "--data-dir", word(&data)]);
    assert!(text(&output.stderr).contains("drystone-etcd backup restore"), "{output:?}");
    assert!(drystone_etcd_bolt::File::open(&increment).is_err(), "no meta page is found");
    let (Some(real), later) = (real_or_skip(test), later_or_skip(test)) else { return };
    let tools = [Some(real.etcdctl), later.map(|later| later.etcdutl)];
    for tool in tools.into_iter().flatten() {
        for flags in [&[][..], &["--skip-hash-check"]] {
            let mut command = clean_command(&tool);
            command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(&increment);
            let output = command.arg("--data-dir").arg(&data).args(flags).output().unwrap();
            let said = text(&output.stderr);
            assert!(!output.status.success(), "{output:?}");
            let why = ["invalid database", "failed to open database"];
            assert!(why.iter().any(|why| said.contains(why)), "{said}");
            let _ = fs::remove_dir_all(&data);
        }
    }
}
