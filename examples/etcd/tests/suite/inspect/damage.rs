//! Looks at what is damaged.

use std::fs;
use std::path::Path;

use drystone_kv::EngineKind;
use serde_json::Value;

use super::look::{Told, look, told};
use crate::data_dir::attempt::picture;
use crate::data_dir::sample::{ENGINE, HEADER_BYTES, LOG, Sample, edit, flip, frames_end};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

/// Looks at `data`, and leaves no trace.
#[track_caller]
fn look_at(data: &Path) -> Told {
    let before = picture(data);
    let told = told(data, &[]);
    assert!(before == picture(data), "a look leaves no trace");
    told
}

fn indexes(told: &Told) -> Vec<u64> {
    told.entries.iter().filter_map(|entry| entry["index"].as_u64()).collect()
}

/// Where the frames of a segment begin.
fn frames(segment: &Path) -> Vec<usize> {
    let (bytes, end) = (fs::read(segment).expect("it can be read"), frames_end(segment).0);
    let (mut frames, mut at) = (Vec::new(), HEADER_BYTES);
    while at < end {
        frames.push(at);
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        at += (16 + len as usize).next_multiple_of(8);
    }
    frames
}

/// One bad byte costs the record that it is in, and whoever looks is told where it is.
#[test]
fn a_flipped_byte_in_the_middle_of_the_log_is_named_and_the_rest_shown() {
    let sample = Sample::new();
    let whole = look_at(&sample.data());
    assert_eq!(whole.code, Some(0), "{}", whole.end);
    let (all, segments) = (indexes(&whole), sample.all(LOG, ".wal"));
    let segment = &segments[segments.len() / 2];
    let frames = frames(segment);
    // One of those in the middle holds entries, the other says where the log stood.
    let mut lost_some = false;
    for frame in [frames[frames.len() / 2], frames[frames.len() / 2 + 1]] {
        flip(segment, frame + 40);
        let hurt = look_at(&sample.data());
        flip(segment, frame + 40);
        assert_eq!(hurt.code, Some(1));
        let name = segment.strip_prefix(sample.data()).expect("it lies there");
        let place = (name.display().to_string(), Some(frame as u64));
        assert!(hurt.damage(&sample.data()).contains(&place), "{place:?} in {}", hurt.end);
        let left = indexes(&hurt);
        let lost: Vec<u64> = all.iter().copied().filter(|index| !left.contains(index)).collect();
        lost_some |= !lost.is_empty();
        assert!(left.first() == all.first() && left.last() == all.last(), "both ends are shown");
        assert!(
            lost.len() <= 128 && lost.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{lost:?}"
        );
        let same = |entry: &&Value| left.contains(&entry["index"].as_u64().expect("it has one"));
        let expected: Vec<&Value> = whole.entries.iter().filter(same).collect();
        let requests =
            |entries: &[&Value]| entries.iter().map(|e| e["request"].clone()).collect::<Vec<_>>();
        let found: Vec<&Value> = hurt.entries.iter().collect();
        assert_eq!(requests(&found), requests(&expected), "what is left is what was written");
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            assert_eq!(hurt.summary["log"]["missing"], serde_json::json!([[first, last]]));
        }
    }
    assert!(lost_some, "one of the two frames held entries");
}

/// A segment that is gone is missed by name.
#[test]
fn a_segment_that_is_gone_is_named() {
    let sample = Sample::new();
    let all = indexes(&look_at(&sample.data()));
    let segments = sample.all(LOG, ".wal");
    let gone = &segments[segments.len() / 2];
    fs::remove_file(gone).expect("it can be removed");
    let hurt = look_at(&sample.data());
    let name = gone.strip_prefix(sample.data()).expect("it lies there").display().to_string();
    let damage = hurt.damage(&sample.data());
    assert!(damage.iter().any(|(file, _)| *file == name), "{name} in {damage:?}");
    let left = indexes(&hurt);
    assert!(left.len() < all.len() && left.last() == all.last(), "what is behind it is shown");
}

/// What a crash, or a writer in the middle of its work, leaves at the end is an end.
#[test]
fn half_a_record_at_the_end_is_the_end() {
    let sample = Sample::new();
    let all = indexes(&look_at(&sample.data()));
    let mut segments = sample.all(LOG, ".wal");
    segments.retain(|file| frames_end(file).0 > HEADER_BYTES);
    let last = segments.last().expect("the log was written to");
    let at = frames_end(last).1;
    edit(last, |bytes| bytes[at + 30..].fill(0));
    let torn = look_at(&sample.data());
    assert_eq!(torn.code, Some(0), "{}", torn.end);
    let place = &torn.summary["log"]["torn"];
    assert_eq!(place["file"], last.display().to_string());
    assert!(place["offset"].as_u64() <= Some(at as u64), "{place}");
    assert_eq!(indexes(&torn), all[..all.len() - 1], "only the last is not there");
    assert!(look(&sample.data(), &[]).out.contains("unfinished write"));
}

/// A damaged engine does not keep the log from being shown, nor the other way round.
#[test]
fn a_damaged_engine_is_named_and_the_log_shown() {
    let sample = Sample::new();
    let all = indexes(&look_at(&sample.data()));
    let file = sample.one(ENGINE, ".snap");
    flip(&file, 1000);
    let hurt = look_at(&sample.data());
    let name = file.strip_prefix(sample.data()).expect("it lies there").display().to_string();
    let damage = hurt.damage(&sample.data());
    assert!(damage.iter().any(|(file, at)| *file == name && *at <= Some(1000)), "{damage:?}");
    assert!(hurt.summary["engine"].is_null());
    assert_eq!(indexes(&hurt), all);
    flip(&file, 1000);
    fs::remove_dir_all(sample.data().join("replica/raft")).expect("it can be removed");
    let hurt = look_at(&sample.data());
    let damage = hurt.damage(&sample.data());
    assert_eq!(damage, [("replica/raft".to_owned(), None)]);
    assert!(hurt.summary["engine"]["keys"].as_u64() > Some(0) && hurt.entries.is_empty());
}

/// Every file of every engine can be bad.
#[test]
fn damage_of_a_tree_or_a_table_is_named() {
    for (engine, ending) in [("btree", ".btree"), ("lsm", ".table")] {
        let flag = format!("--storage-engine={engine}");
        let mut server = Server::start(&programs::ours(), &[&flag]);
        in_a_runtime(async {
            let client = client_of(&server).await;
            for number in 0..500 {
                calls::put(&client, &format!("k/{number}"), "v".repeat(500), 0).await;
            }
            calls::save(&client).await;
        });
        server.terminate();
        let data = server.data_dir();
        let mut files = crate::support::tree::files(&data.join(ENGINE));
        files.retain(|file| file.to_string_lossy().ends_with(ending));
        let largest = files.iter().max_by_key(|file| fs::metadata(file).map_or(0, |it| it.len()));
        let file = largest.expect("the engine has files");
        // All pages, or blocks, in the middle: one of them holds records.
        edit(file, |bytes| {
            let (from, to) = (bytes.len() / 4, bytes.len() * 3 / 4);
            bytes[from..to].iter_mut().for_each(|byte| *byte ^= 1);
        });
        let hurt = look_at(&data);
        let name = file.strip_prefix(&data).expect("it lies there").display().to_string();
        let damage = hurt.damage(&data);
        assert!(damage.iter().any(|(file, at)| *file == name && at.is_some()), "{damage:?}");
        assert_eq!(hurt.puts().len(), 500, "the log is shown");
    }
}

/// One that does not know who it is can be looked at all the same.
#[test]
fn a_damaged_identity_is_named_and_the_rest_shown() {
    let sample = Sample::new();
    let all = indexes(&look_at(&sample.data()));
    flip(&sample.data().join("identity"), 30);
    let hurt = look_at(&sample.data());
    assert_eq!(hurt.damage(&sample.data()), [("identity".to_owned(), None)]);
    assert!(hurt.summary["identity"]["member_id"].is_null());
    assert_eq!(indexes(&hurt), all);
}

/// A list of members that is not used any more is no reason to stop, and one to be told.
#[test]
fn a_damaged_list_of_members_is_named() {
    let sample = Sample::new();
    flip(&sample.data().join("peers"), 30);
    let hurt = look_at(&sample.data());
    assert_eq!(hurt.damage(&sample.data()), [("peers".to_owned(), None)]);
    assert_eq!(versions(&hurt, "peers"), serde_json::json!([]));
}

/// The versions that a look tells of one kind of file.
#[track_caller]
fn versions(told: &Told, what: &str) -> Value {
    let mut formats = told.summary["formats"].as_array().expect("a list").iter();
    let found = formats.find(|format| format["what"] == what);
    found.unwrap_or_else(|| panic!("no {what} in {}", told.summary["formats"]))["versions"].clone()
}

/// Whoever has to say which program can read a directory looks for versions, and most of all for
/// those that this program does not know.
#[test]
fn versions_are_told_whether_or_not_they_are_known() {
    for (kind, store) in EngineKind::ALL.map(|kind| (kind, u32::from(kind != EngineKind::Memory))) {
        let sample = Sample::on(kind);
        let sound = look_at(&sample.data());
        let known = [("identity", 2), ("peers", 2), ("store", 1 + store), ("log", 2)];
        for (what, version) in known.into_iter().chain([(kind.name(), 1)]) {
            assert_eq!(versions(&sound, what), serde_json::json!([version]), "{what}");
        }
        let people = look(&sample.data(), &["identity"]).out;
        let line = format!("{:<22}2, in ", "  log");
        assert!(people.contains("format versions") && people.contains(&line), "{people}");
    }
    let check = |file: &str, what: &str, change: &dyn Fn(&mut Vec<u8>), version: u32| {
        let sample = Sample::new();
        edit(&sample.data().join(file), change);
        let told = look_at(&sample.data());
        assert_eq!(versions(&told, what), serde_json::json!([version]), "{what}");
        let damage = told.damage(&sample.data());
        assert!(damage.iter().any(|(found, _)| found == file), "{file} in {damage:?}");
        let texts = told.end["damage"].to_string();
        assert!(texts.contains(&format!("version {version}")), "{texts}");
    };
    let line = |text: &'static str| move |bytes: &mut Vec<u8>| *bytes = text.into();
    check("identity", "identity", &line("drystone-etcd 7 x\n"), 7);
    check("replica/FORMAT", "store", &line("drystone-kv-replica 9\n"), 9);
    let segment = Sample::new().all(LOG, ".wal").remove(0);
    let segment = segment.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let newer = |bytes: &mut Vec<u8>| {
        bytes[8..12].copy_from_slice(&3_u32.to_le_bytes());
        bytes[12..16].fill(0);
        let crc = crc32fast::hash(&bytes[..HEADER_BYTES]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    };
    check(&format!("{LOG}/{segment}"), "log", &newer, 3);
}
