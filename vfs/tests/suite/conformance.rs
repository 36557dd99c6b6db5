//! One list of checks, run against every disk: the model is only worth something if it agrees with
//! the real thing wherever no crash is involved.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{File, MemVfs, OpenMode, OsVfs, SimVfs, Vfs};

/// A fresh disk, a directory on it to play in, and what must be kept alive meanwhile.
struct Ground {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    _keep: Option<tempfile::TempDir>,
}

fn grounds() -> Vec<Ground> {
    let temp = tempfile::tempdir().unwrap();
    let dir = PathBuf::from("/play/ground");
    let disks: [Arc<dyn Vfs>; 2] = [Arc::new(MemVfs::new()), Arc::new(SimVfs::new(1))];
    let mut grounds: Vec<Ground> =
        disks.into_iter().map(|vfs| Ground { vfs, dir: dir.clone(), _keep: None }).collect();
    let real = temp.path().join("play/ground");
    grounds.push(Ground { vfs: Arc::new(OsVfs::new()), dir: real, _keep: Some(temp) });
    for ground in &grounds {
        ground.vfs.create_dir_all(&ground.dir).unwrap();
    }
    grounds
}

fn check(claim: impl Fn(&dyn Vfs, &Path)) {
    for ground in grounds() {
        claim(&*ground.vfs, &ground.dir);
    }
}

fn text(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn put(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> Arc<dyn File> {
    let file = vfs.open(path, OpenMode::Create).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file
}

// An engine asks for exactly one of four things; a disk that is lenient about any hides a bug.
#[test]
fn open_modes_mean_what_they_say() {
    check(|vfs, dir| {
        let path = dir.join("a");
        for mode in [OpenMode::Read, OpenMode::Write] {
            assert_eq!(vfs.open(&path, mode).unwrap_err().kind(), ErrorKind::NotFound);
        }
        vfs.open(&path, OpenMode::CreateNew).unwrap();
        let again = vfs.open(&path, OpenMode::CreateNew).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        put(vfs, &path, b"kept");
        let file = vfs.open(&path, OpenMode::Create).unwrap();
        assert_eq!(text(&*file), b"kept", "create does not truncate");
        let reader = vfs.open(&path, OpenMode::Read).unwrap();
        assert!(reader.write_at(&[IoSlice::new(b"x")], 0).is_err());
        assert!(reader.set_len(0).is_err());
        assert_eq!(text(&*reader), b"kept");
        let nowhere = vfs.open(&dir.join("no/such"), OpenMode::Create).unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    });
}

// Group commit hands over one buffer a record; they must land end to end, gaps as zeros.
#[test]
fn gathered_writes_land_end_to_end() {
    check(|vfs, dir| {
        let file = vfs.open(&dir.join("a"), OpenMode::Create).unwrap();
        let many: Vec<Vec<u8>> = (0..3000_u32).map(|i| vec![i as u8; (i % 5) as usize]).collect();
        let bufs: Vec<IoSlice<'_>> = many.iter().map(|buf| IoSlice::new(buf)).collect();
        file.write_at(&bufs, 700).unwrap();
        let mut expected = vec![0; 700];
        expected.extend(many.concat());
        assert_eq!(text(&*file), expected);
        file.write_at(&[], 9999).unwrap();
        file.write_at(&[IoSlice::new(b"")], 9999).unwrap();
        assert_eq!(file.len().unwrap(), expected.len() as u64, "empty writes do not grow");
    });
}

// Readers probe past the end of a file whose tail was lost.
#[test]
fn reads_stop_at_the_end() {
    check(|vfs, dir| {
        let file = put(vfs, &dir.join("a"), b"0123456789");
        let mut buf = [0; 8];
        assert_eq!(file.read_at(&mut buf, 6).unwrap(), 4);
        assert_eq!(&buf[..4], b"6789");
        assert_eq!(file.read_at(&mut buf, 10).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
        let short = file.read_exact_at(&mut buf, 6).unwrap_err();
        assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
    });
}

// A file that is cut and grown again must not show its old bytes.
#[test]
fn bytes_cut_off_do_not_come_back() {
    check(|vfs, dir| {
        let file = put(vfs, &dir.join("a"), &[7; 2000]);
        file.sync_data().unwrap();
        file.set_len(700).unwrap();
        file.set_len(2000).unwrap();
        let mut expected = vec![7; 700];
        expected.resize(2000, 0);
        assert_eq!(text(&*file), expected);
        file.sync_data().unwrap();
        assert_eq!(text(&*file), expected);
    });
}

// Whoever wants to know what a file costs must not be told of holes, nor be spared what is written
// into them. A disk in memory has no holes to speak of.
#[test]
fn holes_take_no_room_until_they_are_written_to() {
    for ground in grounds() {
        let file = ground.vfs.open(&ground.dir.join("a"), OpenMode::Create).unwrap();
        assert_eq!(file.allocated().unwrap(), 0);
        file.set_len(1 << 20).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        if file.allocated().unwrap() == 1 << 20 {
            assert!(format!("{:?}", ground.vfs).contains("MemVfs"), "{:?}", ground.vfs);
            continue;
        }
        let noise: Vec<u8> = (0..8192_u32).map(|i| (i.wrapping_mul(i) >> 5) as u8).collect();
        file.write_at(&[IoSlice::new(&noise)], 4096).unwrap();
        file.sync_data().unwrap();
        let taken = file.allocated().unwrap();
        assert!((8192..1 << 19).contains(&taken), "{taken} of {:?}", ground.vfs);
        let mut beside = [1; 4096];
        file.read_exact_at(&mut beside, 0).unwrap();
        assert_eq!(beside, [0; 4096]);
        file.set_len(0).unwrap();
        file.sync_data().unwrap();
        assert!(file.allocated().unwrap() < 8192);
    }
}

// Publishing by rename is how every engine replaces a small file.
#[test]
fn rename_replaces_and_open_handles_live_on() {
    check(|vfs, dir| {
        let (new, old) = (dir.join("new"), dir.join("old"));
        let before = put(vfs, &old, b"before");
        let after = put(vfs, &new, b"after");
        vfs.rename(&new, &old).unwrap();
        vfs.sync_dir(dir).unwrap();
        assert_eq!(vfs.list(dir).unwrap(), ["old"]);
        assert_eq!(text(&*vfs.open(&old, OpenMode::Read).unwrap()), b"after");
        assert_eq!(text(&*before), b"before");
        vfs.remove(&old).unwrap();
        assert_eq!(text(&*after), b"after");
        assert_eq!(vfs.remove(&old).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(vfs.rename(&old, &new).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(vfs.list(dir).unwrap().is_empty());
    });
}

// Recovery walks a directory by name; order must not depend on the disk.
#[test]
fn names_are_listed_sorted_with_directories() {
    check(|vfs, dir| {
        vfs.create_dir_all(&dir.join("m/deep")).unwrap();
        vfs.create_dir_all(&dir.join("m")).unwrap();
        for name in ["z", "a", "k"] {
            put(vfs, &dir.join(name), b"");
        }
        assert_eq!(vfs.list(dir).unwrap(), ["a", "k", "m", "z"]);
        assert_eq!(vfs.list(&dir.join("m")).unwrap(), ["deep"]);
        let missing = vfs.list(&dir.join("none")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(vfs.sync_dir(&dir.join("none")).is_err());
    });
}

// Two openers of one database would destroy it (scenario 21).
#[test]
fn a_lock_has_one_holder_at_a_time() {
    check(|vfs, dir| {
        let path = dir.join("LOCK");
        let held = vfs.lock(&path).unwrap();
        assert_eq!(vfs.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(held);
        vfs.lock(&path).unwrap();
    });
}

// Readers keep a writer out and each other not; and they leave no trace, for the disk may be
// read-only.
#[test]
fn a_shared_lock_has_many_holders_or_one_writer() {
    check(|vfs, dir| {
        let path = dir.join("LOCK");
        assert_eq!(vfs.lock_shared(&path).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(vfs.list(dir).unwrap().is_empty(), "asking made no file");
        drop(vfs.lock(&path).unwrap());
        let readers = [vfs.lock_shared(&path).unwrap(), vfs.lock_shared(&path).unwrap()];
        for reader in readers {
            assert_eq!(vfs.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
            drop(reader);
        }
        let writer = vfs.lock(&path).unwrap();
        assert_eq!(vfs.lock_shared(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(writer);
        vfs.lock_shared(&path).unwrap();
    });
}

// One handle serves many threads; positions are absolute.
#[test]
fn handles_are_shared_between_threads() {
    check(|vfs, dir| {
        let file = vfs.open(&dir.join("a"), OpenMode::Create).unwrap();
        std::thread::scope(|scope| {
            for i in 0..8_u8 {
                let file = Arc::clone(&file);
                scope.spawn(move || {
                    let page = [i; 600];
                    file.write_at(&[IoSlice::new(&page)], u64::from(i) * 600).unwrap();
                    file.sync_data().unwrap();
                });
            }
        });
        let expected: Vec<u8> = (0..8_u8).flat_map(|i| [i; 600]).collect();
        assert_eq!(text(&*file), expected);
    });
}

// Room that was taken for what is still to be written is no content, and what was too much of it
// goes back.
#[test]
fn a_sized_file_is_empty_until_it_is_written() {
    check(|vfs, dir| {
        let path = dir.join("sized");
        let file = vfs.create_sized(&path, 1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(&[IoSlice::new(b"abc")], 0).unwrap();
        assert_eq!(text(&*file), b"abc");
        file.set_len(3).unwrap();
        assert_eq!(text(&*file), b"abc");
        assert!(file.allocated().unwrap() < 1 << 19, "the rest was given back");
        let again = vfs.create_sized(&path, 1).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    });
}
