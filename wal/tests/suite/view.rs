//! Reading without opening: the same verdicts, and not one byte changed.

use std::path::Path;
use std::sync::{Arc, Mutex};

use drystone_vfs::{Call, Fault, Harm, Op, OpenMode, OsVfs, SimVfs, TapVfs, Vfs};
use drystone_wal::{Damage, Error, Lsn, Options, Result, View, Wal};

use crate::support::{
    HEADER, dir, disk, frame, hurt, numbered, open, options, put, segment, store, try_open,
};

fn view(disk: &SimVfs, options: &Options) -> Result<View> {
    Wal::open_read_only(Arc::new(disk.clone()), &dir(), options)
}

fn records(view: &View) -> Vec<(u64, Vec<u8>)> {
    view.records().map(|r| r.unwrap()).map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect()
}

/// Thirty records over several segments, killed.
fn thirty() -> SimVfs {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 1..=30_u8 {
        put(&wal, &[i; 1000]);
    }
    disk.crash()
}

fn expected(count: u8) -> Vec<(u64, Vec<u8>)> {
    (1..=count).map(|i| (u64::from(i), vec![i; 1000])).collect()
}

/// The newest segment of `disk`.
fn newest(disk: &SimVfs) -> u64 {
    (1..).find(|n| disk.open(&segment(n + 1), OpenMode::Read).is_err()).unwrap()
}

// Scenario 28: an unclean log on a medium that cannot be written is read as if it had been opened.
#[test]
fn an_unclean_log_on_a_read_only_medium_is_read() {
    let disk = thirty();
    let torn = hurt(&disk, &segment(newest(&disk)), |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end] ^= 1;
    });
    store(&torn, &dir().join("spare.tmp"), b"left over");
    let before = torn.files();
    // From here on, whatever would change the disk fails.
    torn.power_cut_after(0);
    let view = view(&torn, &options().min_lsn(Lsn(29))).unwrap();
    assert_eq!(records(&view), expected(29));
    assert_eq!((view.first_lsn(), view.last_lsn()), (Lsn(1), Lsn(29)));
    assert_eq!(view.read(Lsn(17)).unwrap(), [17; 1000][..]);
    assert!(matches!(view.read(Lsn(30)), Err(Error::Missing { last: Lsn(29), .. })));
    let tail: Vec<u64> = view.iter(Lsn(28)).map(|record| record.unwrap().0.0).collect();
    assert_eq!(tail, [28, 29]);
    let cut = view.report().cut.clone().unwrap();
    assert_eq!((cut.file, cut.bytes), (segment(newest(&torn)), frame(1000)));
    drop(view);
    assert!(torn.files() == before, "reading has changed something");
}

// The verdicts must not depend on who asks.
#[test]
fn a_view_refuses_what_an_open_refuses() {
    let disk = thirty();
    let cases = [
        hurt(&disk, &segment(2), |bytes| bytes[HEADER as usize + 50] ^= 1),
        hurt(&disk, &segment(2), |bytes| bytes[70] ^= 1),
        hurt(&disk, &segment(newest(&disk)), |bytes| bytes.truncate(HEADER as usize + 20)),
    ];
    for hurt in cases {
        let before = hurt.files();
        let seen = view(&hurt, &options()).unwrap_err().to_string();
        assert!(hurt.files() == before);
        assert_eq!(seen, try_open(&hurt, options()).unwrap_err().to_string());
    }
    let error = view(&disk, &options().min_lsn(Lsn(31))).unwrap_err();
    assert!(matches!(error, Error::Corrupt { reason: Damage::EndsEarly { .. }, .. }), "{error}");
}

// An unfinished suffix cut has happened, though the files still have their old names.
#[test]
fn a_view_shows_a_cut_that_nobody_has_finished() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 1..=30_u8 {
        put(&wal, &[i; 1000]);
    }
    disk.fail(Fault::new(Op::Rename, Harm::Error));
    wal.truncate_suffix(Lsn(20)).unwrap_err();
    let disk = disk.crash();
    disk.power_cut_after(0);
    assert_eq!(records(&view(&disk, &options()).unwrap()), expected(20));
}

// Scenario 21 with readers: many of them or one writer, on every kind of disk.
#[test]
fn readers_share_a_log_and_a_writer_does_not() {
    let temp = tempfile::tempdir().unwrap();
    let disks: [(Arc<dyn Vfs>, &Path); 2] =
        [(Arc::new(disk()), Path::new("log")), (Arc::new(OsVfs::new()), temp.path())];
    for (vfs, dir) in disks {
        let look = || Wal::open_read_only(Arc::clone(&vfs), dir, &options());
        let open = || Wal::open(Arc::clone(&vfs), dir, options());
        let (wal, _) = open().unwrap();
        put(&wal, b"one");
        assert!(matches!(look(), Err(Error::Locked { .. })));
        drop(wal);
        let (first, second) = (look().unwrap(), look().unwrap());
        assert_eq!(records(&first), records(&second));
        let iter = first.iter(Lsn(1));
        drop((first, second));
        assert!(matches!(open(), Err(Error::Locked { .. })), "an iterator is still at work");
        assert_eq!(iter.count(), 1);
        open().unwrap();
    }
}

// Looking must not make what is looked for, nor take a lost log for an empty one.
#[test]
fn a_log_that_is_not_there_is_not_made() {
    let disk = disk();
    assert!(matches!(view(&disk, &options()), Err(Error::NoLog { dir: d }) if d == dir()));
    let known = options().min_lsn(Lsn(7));
    assert!(matches!(view(&disk, &known), Err(Error::Corrupt { .. })));
    assert!(disk.list(&dir()).is_err());
    disk.create_dir_all(&dir()).unwrap();
    assert!(matches!(view(&disk, &options()), Err(Error::NoLog { .. })));
    assert!(matches!(view(&disk, &known), Err(Error::Corrupt { .. })));
    assert!(disk.list(&dir()).unwrap().is_empty());
}

// A copy of the segments alone, taken from a backup, has no lock file and needs none.
#[test]
fn a_log_without_a_lock_file_is_read() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"one");
    wal.close().unwrap();
    disk.remove(&dir().join("LOCK")).unwrap();
    let view = view(&disk, &options()).unwrap();
    assert!(view.report().closed);
    assert_eq!(records(&view), numbered(&[b"one"]));
    assert_eq!(disk.list(&dir()).unwrap(), ["0000000000000001.wal"]);
}

// What is looked at before it is taken over is the same view.
#[test]
fn a_found_log_is_a_view() {
    let disk = thirty();
    let found = Wal::find(Arc::new(disk.clone()), &dir(), options()).unwrap();
    let view = found.view().unwrap();
    assert_eq!(view.read(Lsn(3)).unwrap(), [3; 1000][..]);
    assert_eq!(records(view), expected(30));
    assert_eq!(Some(view.report()), found.report());
}

// Where there is no lock file, there is no lock to take: the first writer ever makes it. One who
// comes while the log is being verified must not go unnoticed.
#[test]
fn the_first_writer_of_a_log_without_a_lock_file_is_noticed() {
    let disk = thirty();
    disk.remove(&dir().join("LOCK")).unwrap();
    // A writer comes by at the moment when the second listing is made.
    let writer = Arc::new(Mutex::new((0, None)));
    let (comes, beneath) = (Arc::clone(&writer), disk.clone());
    let busy = TapVfs::over(disk, move |call: Call<'_>, go: &mut dyn FnMut() -> _| {
        if let Call::List { .. } = call {
            let mut writer = comes.lock().unwrap();
            writer.0 += 1;
            if writer.0 == 2 {
                writer.1 = Some(open(&beneath).0);
            }
        }
        go()
    });
    let busy = Arc::new(busy);
    let seen = Wal::open_read_only(busy.clone(), &dir(), &options());
    assert!(matches!(seen, Err(Error::Locked { .. })));
    drop(writer.lock().unwrap().1.take());
    assert_eq!(Wal::open_read_only(busy, &dir(), &options()).unwrap().last_lsn(), Lsn(30));
}
