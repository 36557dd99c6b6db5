//! Against a map.

use std::io::Write as _;

use drystone_etcd_bolt::{File, Writer};
use rand::RngExt;

use crate::support::{Content, random, read, write};

#[track_caller]
fn check(content: &Content) {
    let folder = tempfile::tempdir().expect("files of a test can be used");
    let path = folder.path().join("db");
    write(&path, content);
    assert_eq!(&read(&path).expect("files of a test can be used"), content);
    assert_eq!(
        std::fs::metadata(&path).expect("files of a test can be used").len() % 4096,
        0,
        "it is made of pages"
    );
}

// Trees of each height up to three, and the smallest of all, which has no record.
#[test]
fn what_is_put_is_there_in_order() {
    check(&Content::new());
    for count in [0_u32, 1, 2, 100, 20_000, 40_000] {
        let records = (0..count).map(|n| (format!("{n:032}").into_bytes(), n.to_be_bytes().into()));
        let content = [(b"key".to_vec(), records.collect()), (b"meta".to_vec(), [].into())];
        check(&content.into());
    }
}

// A record that is larger than a page goes on over the pages behind it; a key that is makes
// branches of two children.
#[test]
fn sizes_do_not_matter() {
    let mut rng = random();
    let mut content = Content::new();
    for bucket in 0..4_u8 {
        let records = content.entry(vec![b'a' + bucket]).or_default();
        for _ in 0..200 {
            let long = rng.random_range(0..10) == 0;
            let len = rng.random_range(1..if long { 9000 } else { 40 });
            let key = (0..len).map(|_| rng.random::<u8>()).collect();
            let value = vec![bucket; rng.random_range(0..if long { 100_000 } else { 300 })];
            records.insert(key, value);
        }
    }
    check(&content);
}

// A file may lie behind something else, and need not have pages for what holds nothing.
#[test]
fn a_file_behind_a_head_is_read_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("behind");
    let mut out = std::fs::File::create(&path).unwrap();
    out.write_all(&[b'x'; 1536]).unwrap();
    let mut writer = Writer::new(out).unwrap().leave_out_empty();
    for (bucket, count) in [(b"a", 0_u32), (b"b", 3000), (b"c", 0)] {
        writer.begin(bucket).unwrap();
        for number in 0..count {
            writer.put(&number.to_be_bytes(), b"v").unwrap();
        }
    }
    writer.finish().unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(&[b'x'; 1536]), "the head is as it was");
    assert!(File::open(&path).is_err(), "it is no file from the beginning");
    let file = File::open_behind(&path, 1536).unwrap();
    let names: Vec<_> = file.entries(&file.root()).map(|bucket| bucket.unwrap().key).collect();
    assert_eq!(names, ["b"]);
    let bucket = file.bucket(b"b").unwrap().unwrap();
    let keys = file.entries(&bucket).map(|entry| entry.unwrap().key);
    assert!(keys.eq((0..3000_u32).map(|number| number.to_be_bytes().to_vec())));
}
