//! What a crash may leave, what a collection may take, what is done once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Image, Store, StoreConfig, Watermarks};
use crate::image::builtin;
use crate::image::digest::Digest;
use crate::image::error::Error;
use crate::image::reference::Reference;

fn open(root: &Path) -> Store {
    Store::open(StoreConfig { builtin: false, ..StoreConfig::new(root) }).unwrap()
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A tar with one file of so many bytes.
fn layer(file: &str, bytes: usize) -> Vec<u8> {
    let mut tar = Vec::new();
    builtin::entry(&mut tar, file, 0o644, b'0', "", &vec![b'x'; bytes]);
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Stores an image of these layers; the names lead to it.
fn put(store: &Store, names: &[&str], layers: &[Vec<u8>]) -> Result<Image, Error> {
    let session = store.session();
    let diffs: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    put_as(store, &session, names, layers, &diffs)
}

fn put_as(
    store: &Store,
    session: &super::Session,
    names: &[&str],
    layers: &[Vec<u8>],
    diffs: &[Digest],
) -> Result<Image, Error> {
    let config = serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": diffs } });
    let config = config.to_string().into_bytes();
    let describe = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        serde_json::json!({ "mediaType": "", "digest": digest, "size": bytes.len() })
    };
    let layers_json: Vec<_> = layers.iter().map(|layer| describe(layer)).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "config": describe(&config), "layers": layers_json,
    });
    for bytes in layers.iter().chain([&config]) {
        session.keep_bytes(bytes)?;
    }
    let digest = session.keep_bytes(manifest.to_string().as_bytes())?;
    let names: Vec<Reference> = names.iter().map(|text| name(text)).collect();
    store.commit(session, &names, digest, None)
}

/// Every path below a folder but `lock`, relative to it.
fn tree(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            let bytes = if meta.is_dir() { 0 } else { meta.len() };
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), bytes);
        }
    }
    found.remove("lock");
    found
}

/// A node that restarts must find its images again, and their layers where they were.
#[test]
fn images_outlive_the_process_and_share_layers() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let shared = layer("shared", 1000);
    let one = put(&store, &["one"], &[shared.clone(), layer("a", 10)]).unwrap();
    let two = put(&store, &["two", "zwei"], &[shared, layer("b", 20)]).unwrap();
    assert_eq!(one.layers[0], two.layers[0], "unpacked once");
    assert!(two.layers[0].join("shared").is_file() && two.layers[1].join("b").is_file());
    let (digest, bytes, layers) = (two.digest, two.bytes, two.layers.clone());
    drop((one, two, store));
    let store = open(temp.path());
    let again = store.image(&name("zwei")).unwrap().unwrap();
    assert_eq!((again.digest, again.bytes, &again.layers), (digest, bytes, &layers));
    let names: Vec<String> = store.list().unwrap().into_iter().map(|line| line.name).collect();
    assert_eq!(names.len(), 3);
    let pinned = format!("docker.io/library/two@{digest}");
    assert_eq!(store.image(&name(&pinned)).unwrap().unwrap().digest, digest);
    assert!(store.image(&name("three")).unwrap().is_none());
}

/// Two agents on one store would collect each other's layers.
#[test]
fn a_store_is_open_once() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let second = Store::open(StoreConfig::new(temp.path()));
    assert!(matches!(second, Err(Error::Busy { .. })));
    drop(store);
    open(temp.path());
}

/// Killed at any point, what is half done is never used, and is swept or collected.
#[test]
fn every_partial_state_of_a_crash_is_survived() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("store");
    let store = open(&root);
    let old = put(&store, &["old"], &[layer("old", 100)]).unwrap();
    let old_digest = old.digest;
    drop((old, store));
    let clean = tree(&root);
    // What each step of storing a second image has made, in order; a crash keeps a prefix of it.
    let other = temp.path().join("other");
    let layers = [layer("new", 5000)];
    let new = put(&open(&other), &["new"], &layers).unwrap();
    let diff = Digest::of(&layers[0]).hex();
    let mut steps: Vec<(String, Option<std::path::PathBuf>)> = Vec::new();
    for blob in fs::read_dir(other.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let hex = path.file_name().unwrap().to_str().unwrap().to_owned();
        steps.push((format!("blobs/sha256/{hex}"), Some(path)));
    }
    steps.push((format!("layers/{diff}.bytes"), None));
    steps.push((format!("layers/{diff}"), Some(new.layers[0].clone())));
    for crash in 0..=steps.len() {
        // In the making: a blob, a layer, the index, a layer set aside by a collection.
        fs::write(root.join("tmp/blob-1"), "half a bl").unwrap();
        fs::create_dir_all(root.join("tmp/layer-2/etc")).unwrap();
        fs::write(root.join("tmp/layer-2/etc/half"), "x").unwrap();
        fs::write(root.join("tmp/index"), "{\"vers").unwrap();
        fs::write(root.join("tmp/bytes-3"), "5").unwrap();
        std::os::unix::fs::symlink("/", root.join("tmp/gone-4")).unwrap();
        for (path, from) in &steps[..crash] {
            match from {
                Some(from) if from.is_dir() => {
                    fs::create_dir(root.join(path)).unwrap();
                    fs::copy(from.join("new"), root.join(path).join("new")).unwrap();
                }
                Some(from) => drop(fs::copy(from, root.join(path)).unwrap()),
                None => fs::write(root.join(path), "5000").unwrap(),
            }
        }
        let store = open(&root);
        assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0, "crash {crash}: swept");
        assert_eq!(store.image(&name("old")).unwrap().unwrap().digest, old_digest);
        assert!(store.image(&name("new")).unwrap().is_none(), "crash {crash}: no name yet");
        let image = put(&store, &["new"], &layers).unwrap();
        assert_eq!(fs::metadata(image.layers[0].join("new")).unwrap().len(), 5000);
        assert_eq!(image.bytes, new.bytes, "crash {crash}");
        drop(image);
        assert!(store.remove(&name("new")).unwrap());
        store.gc(Watermarks { high: u64::MAX, low: 0 }).unwrap();
        drop(store);
        assert_eq!(tree(&root), clean, "crash {crash}: nothing is left");
    }
}

/// An index that cannot be read must not be taken for an empty one: a collection would follow.
#[test]
fn a_broken_index_is_an_error_and_not_an_empty_store() {
    let temp = tempfile::tempdir().unwrap();
    drop(put(&open(temp.path()), &["one"], &[layer("a", 1)]).unwrap());
    fs::write(temp.path().join("index.json"), "{").unwrap();
    let error = Store::open(StoreConfig::new(temp.path())).unwrap_err();
    assert!(error.to_string().contains("index.json"), "{error}");
}

/// A configuration that lies about its layers must not give a container another's files.
#[test]
fn a_layer_that_is_not_its_diff_id_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let session = store.session();
    let lie = [Digest::of(b"something else")];
    let result = put_as(&store, &session, &["liar"], &[layer("a", 1)], &lie);
    assert!(matches!(result, Err(Error::WrongDigest { .. })), "{result:?}");
    assert!(store.image(&name("liar")).unwrap().is_none());
    assert_eq!(fs::read_dir(temp.path().join("layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(temp.path().join("tmp")).unwrap().count(), 0);
}

/// A layer that a container stands on must not vanish under it.
#[test]
fn what_is_held_is_not_collected() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let none = Watermarks { high: 0, low: 0 };
    let held = put(&store, &["held"], &[layer("h", 3000)]).unwrap();
    drop(put(&store, &["loose"], &[layer("l", 3000)]).unwrap());
    store.remove(&name("held")).unwrap();
    let swept = store.gc(none).unwrap();
    assert_eq!(swept.names, ["docker.io/library/loose:latest"]);
    assert!(held.layers[0].join("h").is_file());
    assert!(store.image_by_digest(held.digest).unwrap().is_some(), "found again by its digest");
    let layers = held.layers.clone();
    drop(held);
    let swept = store.gc(none).unwrap();
    assert!(swept.bytes_freed > 6000 && swept.bytes == 0, "{swept:?}");
    assert!(!layers[0].exists());
}

/// Blobs of a pull that is not done yet lead from no name, and must stay all the same.
#[test]
fn work_in_progress_is_not_collected() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let session = store.session();
    let digest = session.keep_bytes(b"a layer, for now").unwrap();
    store.gc(Watermarks { high: 0, low: 0 }).unwrap();
    assert!(store.has(digest));
    drop(session);
    store.gc(Watermarks { high: 0, low: 0 }).unwrap();
    assert!(!store.has(digest));
}

/// Above the high watermark the oldest go first, and no more of them than needed.
#[test]
fn the_oldest_go_until_the_low_watermark() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    for (index, text) in ["one", "two", "three", "four"].into_iter().enumerate() {
        let image = put(&store, &[text], &[layer(text, 100_000)]).unwrap();
        let mut state = store.state();
        state.names.get_mut(&name(text).to_string()).unwrap().used = index as u64;
        drop((state, image));
    }
    drop(store.image(&name("one")).unwrap());
    let kept = store.gc(Watermarks { high: 2_000_000, low: 0 }).unwrap();
    assert!(kept.names.is_empty(), "below the high watermark nothing goes");
    let swept = store.gc(Watermarks { high: 800_000, low: 500_000 }).unwrap();
    let gone = ["docker.io/library/three:latest", "docker.io/library/two:latest"];
    let mut names = swept.names.clone();
    names.sort();
    assert_eq!(names, gone, "{swept:?}");
    assert_eq!(store.list().unwrap().len(), 2);
}

/// Ten containers of one image that start at once must not unpack it ten times.
#[test]
fn one_layer_is_unpacked_once_by_many_threads() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let layers = [layer("f", 2 << 20)];
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for index in 0..8 {
            let (store, layers, start) = (&store, &layers, &start);
            scope.spawn(move || {
                start.wait();
                let image = put(store, &[&format!("n{index}")], layers).unwrap();
                assert!(image.layers[0].join("f").is_file());
            });
        }
    });
    assert_eq!(store.unpack_count(), 1);
    assert_eq!(store.list().unwrap().len(), 8);
    assert!(store.list().unwrap().iter().all(|line| !line.pinned), "all pins are gone");
}

/// A first run on a machine without network needs an image, always the same.
#[test]
fn the_builtin_image_is_there_and_stays() {
    let temp = tempfile::tempdir().unwrap();
    let open = |folder: &str| Store::open(StoreConfig::new(temp.path().join(folder))).unwrap();
    let store = open("a");
    let image = store.image(&name("tiny")).unwrap().unwrap();
    assert_eq!(store.digest_of(&name("mason/tiny")), Some(image.digest));
    assert_eq!(open("b").digest_of(&name("tiny")), Some(image.digest), "the digest is fixed");
    let program = image.layers[0].join("bin/echo");
    let output = std::process::Command::new(program).arg("hi").output().unwrap();
    assert_eq!(output.stdout, b"hi\n");
    drop(image);
    store.gc(Watermarks { high: 0, low: 0 }).unwrap();
    assert!(store.image(&name("tiny")).unwrap().is_some(), "it is never collected");
    drop(store);
    assert!(open("a").image(&name("tiny")).unwrap().is_some());
}
