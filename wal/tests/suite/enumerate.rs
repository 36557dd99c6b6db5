//! Every point of a workload as the last one: the power fails before call N, for every N, and for
//! each a number of seeds says what the disk made of it (scenarios 12 to 15, 24 and 45).

use std::collections::BTreeMap;

use drystone_vfs::SimVfs;
use drystone_wal::{Error, Lsn, Wal};

use crate::support::{drain, options, put, try_open};

/// What the workload was told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Acked {
    /// Every record ever appended at an LSN, the latest last.
    written: BTreeMap<u64, Vec<Vec<u8>>>,
    /// The last durable record; lowered when a suffix cut begins.
    durable: u64,
    /// Records before this one may be gone.
    prefix: u64,
    /// A finished suffix cut: records written before it at higher LSNs must not come back.
    editions: BTreeMap<u64, usize>,
}

impl Acked {
    fn append(&mut self, wal: &Wal, records: &[&[u8]]) -> Result<(), Error> {
        let before = wal.next_lsn().0;
        for (lsn, record) in (before..).zip(records) {
            self.written.entry(lsn).or_default().push(record.to_vec());
        }
        self.durable = wal.append(records)?.wait()?.0;
        Ok(())
    }

    fn cut(&mut self, wal: &Wal, last: u64) -> Result<(), Error> {
        self.durable = self.durable.min(last);
        wal.truncate_suffix(Lsn(last))?;
        for (lsn, texts) in self.written.range(last + 1..) {
            self.editions.insert(*lsn, texts.len());
        }
        Ok(())
    }
}

/// Opens, appends over several segments, cuts both ends, appends, closes. Returns what was
/// acknowledged, and whether anything failed.
pub(crate) fn workload(disk: &SimVfs) -> (Acked, bool) {
    let mut acked = Acked::default();
    let failed = run(disk, &mut acked).is_err();
    (acked, failed)
}

fn run(disk: &SimVfs, acked: &mut Acked) -> Result<(), Error> {
    let (wal, _) = try_open(disk, options())?;
    let text = |i: u64| vec![i as u8; 700 + 300 * (i as usize % 5)];
    for i in 0..14 {
        acked.append(&wal, &[&text(i), &text(i + 100)])?;
    }
    acked.cut(&wal, 11)?;
    for i in 14..28 {
        acked.append(&wal, &[&text(i)])?;
    }
    acked.prefix = 16;
    wal.truncate_prefix(Lsn(16))?;
    for i in 28..50 {
        acked.append(&wal, &[&text(i)])?;
    }
    acked.cut(&wal, 24)?;
    acked.append(&wal, &[b"last"])?;
    wal.close()
}

/// The disk opens with all that was acknowledged, nothing that was not written, nothing that was
/// cut away; and again, the same.
#[track_caller]
pub(crate) fn check(disk: &SimVfs, acked: &Acked, what: &str) {
    let reopen = || match try_open(disk, options().min_lsn(Lsn(acked.durable))) {
        Ok((wal, recovered)) => (wal, drain(recovered)),
        // Nothing acknowledged and nothing there: the check below would see it too.
        Err(error) => panic!("{what}: {error}"),
    };
    let (wal, found) = reopen();
    verify(&found, acked, what);
    drop(wal);
    let (wal, again) = reopen();
    assert!(found == again, "{what}: reopening changed the log");
    let lsn = put(&wal, b"afterwards");
    assert_eq!(lsn.0, found.last().map_or(lsn.0, |(lsn, _)| lsn + 1), "{what}");
}

#[track_caller]
fn verify(found: &[(u64, Vec<u8>)], acked: &Acked, what: &str) {
    if let Some((first, _)) = found.first() {
        assert!(*first <= acked.prefix.max(1), "{what}: starts at {first}");
    }
    let last = found.last().map_or(0, |(lsn, _)| *lsn);
    assert!(last >= acked.durable, "{what}: ends at {last}, acknowledged {}", acked.durable);
    assert!(found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "{what}: gap");
    for (lsn, bytes) in found {
        let texts = &acked.written[lsn];
        let stale = acked.editions.get(lsn).copied().unwrap_or(0);
        assert!(texts[stale..].contains(bytes), "{what}: record {lsn} is stale or invented");
    }
}

// I1 to I4 at every step, for a dozen crashes each.
#[test]
fn the_power_may_fail_before_any_call() {
    let whole = SimVfs::new(0);
    assert!(!workload(&whole).1, "the workload runs on a healthy disk");
    let calls = whole.counts().changes();
    assert!(calls > 100);
    for cut in 0..=calls {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let (acked, _) = workload(&disk);
        for seed in 0..12 {
            let what = format!("power cut before call {cut} of {calls}, seed {seed}");
            check(&disk.crash_copy(seed), &acked, &what);
        }
    }
}

// Scenario 45: and it fails again while recovering, at every step of that.
#[test]
fn the_power_may_fail_again_before_any_call_of_recovery() {
    let calls = {
        let whole = SimVfs::new(0);
        workload(&whole);
        whole.counts().changes()
    };
    for cut in (0..=calls).step_by(3) {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let (acked, _) = workload(&disk);
        for seed in 0..3 {
            for second in 0..12 {
                let once = disk.crash_copy(seed);
                once.power_cut_after(second);
                let opened = try_open(&once, options());
                let done = opened.is_ok();
                drop(opened);
                let what = format!("cut before {cut}, seed {seed}, again before {second}");
                check(&once.crash_copy(seed + 7), &acked, &what);
                if done {
                    break;
                }
            }
        }
    }
}
