//! A disk without power-safe overwrite: when the power fails in a write, every byte of the sectors
//! it touches may go, those of older records among them. The log does not claim to survive that;
//! here is what it does claim, and how often it is needed.
//!
//! Records are appended into sectors that hold acknowledged ones, so on such a disk a power cut can
//! take the last records of the last sector that was ever synced, and recovery sees a torn tail: no
//! later frame is left to testify. What holds all the same: never a wrong record, never a gap; at
//! most the records that share the torn write's first sector, with those that the recovery was
//! writing again, are lost; and whoever passes [`Options::min_lsn`](drystone_wal::Options::min_lsn)
//! hears of it.

use drystone_vfs::{Overwrite, SimVfs};
use drystone_wal::{Damage, Error, Lsn, Wal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{drain, open, options, put, try_open};

fn text(lsn: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(lsn);
    let mut text = vec![0; rng.random_range(8..300)];
    rng.fill(&mut text[..]);
    text
}

/// A disk that lost power while a record was being written, and how many were acknowledged.
fn torn(seed: u64, overwrite: Overwrite) -> (SimVfs, u64) {
    let disk = SimVfs::new(seed);
    disk.set_overwrite(overwrite);
    let (wal, _) = open(&disk);
    let count = 5 + seed % 40;
    for lsn in 1..=count {
        put(&wal, &text(lsn));
    }
    // The write, and not its sync.
    disk.power_cut_after(1);
    assert!(append(&wal, count + 1).is_err());
    (disk.crash(), count)
}

fn append(wal: &Wal, lsn: u64) -> drystone_wal::Result<Lsn> {
    wal.append(&[&text(lsn)])?.wait()
}

#[derive(Debug, Default)]
struct Outcomes {
    whole: u32,
    /// Acknowledged records are gone, and opening said nothing.
    silent: u32,
    /// How many went at once, at most.
    lost_max: u64,
    refused: u32,
}

fn outcomes(overwrite: Overwrite) -> Outcomes {
    let mut seen = Outcomes::default();
    for seed in 0..1000 {
        let (disk, count) = torn(seed, overwrite);
        match try_open(&disk.kill_copy(), options()) {
            Ok((_wal, recovered)) => {
                let found = drain(recovered);
                for ((lsn, bytes), expected) in found.iter().zip(1..) {
                    assert_eq!((*lsn, bytes), (expected, &text(expected)), "seed {seed}");
                }
                let lost = count.saturating_sub(found.len() as u64);
                seen.whole += u32::from(lost == 0);
                seen.silent += u32::from(lost > 0);
                seen.lost_max = seen.lost_max.max(lost);
                // Whoever knows the last LSN is told.
                let known = try_open(&disk, options().min_lsn(Lsn(count)));
                let told =
                    matches!(&known, Err(Error::Corrupt { reason: Damage::EndsEarly { .. }, .. }));
                assert_eq!(told, lost > 0, "seed {seed}");
            }
            Err(Error::Corrupt { .. }) => seen.refused += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    seen
}

// What the log rests on, said by a test: without power-safe overwrite a power cut can take
// acknowledged records, though never make wrong ones.
#[test]
fn without_power_safe_overwrite_only_outside_knowledge_tells_of_a_lost_sector() {
    let seen = outcomes(Overwrite::WholeSector);
    println!("{seen:?} of 1000");
    assert!(seen.silent > 0, "the kindness is needed");
    // A sector of 512 bytes holds 21 frames of 24 bytes, the smallest in these tests, and one cut.
    assert!(seen.lost_max <= 22, "no more than one sector's records: {seen:?}");
    assert!(seen.whole > 500, "{seen:?}");
}

// And with it, the same cuts take nothing.
#[test]
fn with_power_safe_overwrite_the_same_power_cuts_take_nothing() {
    let seen = outcomes(Overwrite::PowerSafe);
    assert_eq!((seen.whole, seen.silent, seen.refused), (1000, 0, 0), "{seen:?}");
}

// Two crashes and appends in between: still never a wrong record, whatever is lost.
#[test]
fn without_power_safe_overwrite_no_wrong_record_is_ever_read() {
    for seed in 0..300 {
        let (mut disk, _) = torn(seed, Overwrite::WholeSector);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..3 {
            let opened = try_open(&disk, options());
            let Ok((wal, recovered)) = opened else {
                assert!(matches!(opened, Err(Error::Corrupt { .. })), "seed {seed}");
                break;
            };
            for ((lsn, bytes), expected) in drain(recovered).iter().zip(1..) {
                assert_eq!((*lsn, bytes), (expected, &text(expected)), "seed {seed}");
            }
            disk.power_cut_after(rng.random_range(0..12));
            while append(&wal, wal.next_lsn().0).is_ok() {}
            drop(wal);
            disk = disk.crash();
        }
    }
}
