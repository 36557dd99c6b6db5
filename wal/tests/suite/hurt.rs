//! Hurt disks and what must come of them: the harness under the scenario tests.
//!
//! A [`Hurt`] is a disk as a fault left it, and what opening the log on it must bring: one of a few
//! lists of records, or a refusal. [`check`](Hurt::check) is the scenario's own claim;
//! [`check_cut_again`](Hurt::check_cut_again) is scenario 45 for it: the power fails a second time,
//! at every step of the recovery, and the outcome is the same.
//!
//! ```text
//!     hurt disk ─► open ─► found ─► append ─► crash ─► open ─► ... ─► close ─► open     check
//!         │
//!         └──────► open, cut before call n ─► crash ─► check                   check_cut_again
//! ```

use std::sync::Arc;

use drystone_vfs::SimVfs;
use drystone_wal::{Error, Options};

use crate::support::{assert_corrupt, dir, drain, options, put, try_open};

pub(crate) type Records = Vec<(u64, Vec<u8>)>;

/// Payload sizes appended after each recovery. The scenarios make their lost records as large as
/// the first of these, so that what they leave behind the gap lies exactly where the log goes on.
pub(crate) const AFTERWARDS: [usize; 3] = [10, 100, 1000];

/// What opening must bring.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// One of these, whole; whichever it is, it stays.
    OneOf(Arc<[Records]>),
    /// `Error::Corrupt`, and no byte changed.
    Refused,
}

/// A disk that something happened to.
#[derive(Debug)]
pub(crate) struct Hurt {
    pub(crate) what: String,
    pub(crate) disk: SimVfs,
    pub(crate) options: Options,
    pub(crate) outcome: Outcome,
}

impl Hurt {
    /// The log must open with exactly these records.
    pub(crate) fn recovers(what: impl Into<String>, disk: SimVfs, records: Records) -> Hurt {
        Hurt::one_of(what, disk, &Arc::from([records]))
    }

    /// The log must open with one of these.
    pub(crate) fn one_of(what: impl Into<String>, disk: SimVfs, any: &Arc<[Records]>) -> Hurt {
        let outcome = Outcome::OneOf(Arc::clone(any));
        Hurt { what: what.into(), disk, options: options(), outcome }
    }

    /// The log must be refused as corrupt.
    pub(crate) fn refused(what: impl Into<String>, disk: SimVfs) -> Hurt {
        Hurt { what: what.into(), disk, options: options(), outcome: Outcome::Refused }
    }

    /// The same with other options.
    pub(crate) fn with(mut self, options: Options) -> Hurt {
        self.options = options;
        self
    }

    /// The disk itself is left as it is.
    #[track_caller]
    pub(crate) fn check(&self) {
        match &self.outcome {
            Outcome::Refused => {
                assert_corrupt(&self.disk.kill_copy(), self.options.clone());
            }
            Outcome::OneOf(any) => {
                self.check_recovery(&self.disk.kill_copy(), any);
            }
        }
    }

    #[track_caller]
    fn check_recovery(&self, disk: &SimVfs, any: &[Records]) {
        let what = &self.what;
        let open = |disk: &SimVfs, when: &str| match try_open(disk, self.options.clone()) {
            Ok((wal, recovered)) => (wal, drain(recovered)),
            Err(error) => panic!("{what}, {when}: {error}"),
        };
        let (wal, mut expected) = open(disk, "at first");
        let lasts = || any.iter().map(|r| r.last().map_or(0, |l| l.0)).collect::<Vec<_>>();
        let found = expected.last().map_or(0, |last| last.0);
        assert!(any.contains(&expected), "{what}: found up to {found}, not one of {:?}", lasts());
        for (i, len) in AFTERWARDS.into_iter().enumerate() {
            let lsn = put(&wal, &vec![0xaf; len]);
            expected.push((lsn.0, vec![0xaf; len]));
            let (_wal, again) = open(&disk.crash_copy(i as u64), "after a second crash");
            assert!(again == expected, "{what}: after {i} appends and a crash");
        }
        wal.close().unwrap();
        let (wal, again) = open(disk, "after a close");
        assert!(again == expected, "{what}: after a close");
        drop(wal);
    }

    /// As [`check`](Hurt::check), with the power failing before each changing call that opening
    /// makes. Returns how many such cuts there were.
    #[track_caller]
    pub(crate) fn check_cut_again(&self) -> u64 {
        let Outcome::OneOf(any) = &self.outcome else {
            // Refusing changes nothing, so it works on a disk that takes no changes.
            let disk = self.disk.kill_copy();
            disk.power_cut_after(0);
            let error = try_open(&disk, self.options.clone()).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{}: {error}", self.what);
            return 1;
        };
        for calls in 0..200 {
            let disk = self.disk.kill_copy();
            disk.power_cut_after(calls);
            let opened = try_open(&disk, self.options.clone()).map(|(wal, recovered)| {
                let found = drain(recovered);
                assert!(any.contains(&found), "{}: another outcome", self.what);
                drop(wal);
                found
            });
            for seed in 0..2 {
                let again = disk.crash_copy(seed);
                match &opened {
                    // Once records have been reported, they are the log.
                    Ok(found) => self.check_recovery(&again, std::slice::from_ref(found)),
                    Err(_) => self.check_recovery(&again, any),
                }
            }
            if opened.is_ok() {
                return calls;
            }
        }
        panic!("{}: opening never ends", self.what);
    }
}

/// Every disk of a scenario keeps its claim; there is at least one.
#[track_caller]
pub(crate) fn check_all(disks: impl IntoIterator<Item = Hurt>) {
    let mut count = 0;
    for hurt in disks {
        hurt.check();
        count += 1;
    }
    assert!(count > 0, "a scenario has disks");
}

/// The names in the log's directory.
pub(crate) fn names(disk: &SimVfs) -> Vec<String> {
    let names = drystone_vfs::Vfs::list(disk, &dir()).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}
