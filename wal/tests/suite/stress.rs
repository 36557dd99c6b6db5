//! Many threads on one log, and a disk that dies under them: appenders of single records and of
//! groups, followers, and some that let go of the prefix. Life after life, each ended by a power
//! cut, a kill, or a clean close.
//!
//! The seed decides what every thread wants to do and at which call the disk dies; in which order
//! the threads get there is the system's choice, so a replay takes the same way only roughly:
//! `STRESS=seed cargo test -p drystone-wal stress`. `SLOW=1` runs ten times as many lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drystone_vfs::SimVfs;
use drystone_wal::{Commit, Error, Lsn, Options, Wal, Writer};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hurt::names;
use crate::ledger::{Ledger, Op};
use crate::support::{HEADER, assert_corrupt, dir, drain, hurt, options, segment, try_open};

const APPENDERS: u32 = 59;
const FOLLOWERS: u32 = 3;
const TRUNCATORS: u32 = 2;
const _: () = assert!(APPENDERS + FOLLOWERS + TRUNCATORS == 64);

/// Of each seed.
const LIVES: u32 = 15;
const APPENDS_PER_LIFE: u32 = 25;

fn threaded(rng: &mut ChaCha8Rng) -> Options {
    let buffer = rng.random_range(2..32) << 10;
    options().writer(Writer::Thread).segment_bytes(32 << 10).buffer_bytes_max(buffer)
}

/// Appends, waiting for each, for some later ones, or for none.
fn append(wal: &Wal, ledger: &Ledger, thread: u32, mut rng: ChaCha8Rng) -> Result<(), Error> {
    let mut pending: Vec<Commit> = Vec::new();
    for _ in 0..APPENDS_PER_LIFE {
        let op = ledger.attempt(thread);
        let group = op.group();
        let refs: Vec<&[u8]> = group.iter().map(|record| &record[..]).collect();
        let commit = wal.append(&refs)?;
        ledger.number(op, commit.lsn());
        pending.push(commit);
        match rng.random_range(0..10) {
            0..6 => {
                for commit in pending.drain(..) {
                    let durable = commit.wait()?;
                    assert!(durable >= commit.lsn());
                    ledger.ack(commit.lsn());
                }
            }
            // Nobody may ever ask about it; it is written all the same, and nothing hangs.
            6 => pending.clear(),
            7 => {
                let lsn = pending[0].lsn();
                assert!(wal.wait_durable(lsn)? >= lsn);
                ledger.ack(lsn);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads every record once, in order, as it becomes durable.
fn follow(wal: &Wal, over: &AtomicBool) -> Result<(), Error> {
    let mut iter = wal.iter(wal.first_lsn());
    let mut next = None;
    loop {
        for found in iter.by_ref() {
            let (lsn, record) = match found {
                Ok(found) => found,
                // The prefix went faster than we read: start over where the log starts now.
                Err(Error::Missing { .. }) => break,
                Err(error) => return Err(error),
            };
            assert!(next.is_none_or(|next| next == lsn), "{lsn} follows {next:?}");
            Op::check(&record);
            next = Some(lsn.next());
        }
        if over.load(Ordering::SeqCst) {
            return Ok(());
        }
        if next.is_none_or(|next| next < wal.first_lsn()) {
            next = None;
            iter = wal.iter(wal.first_lsn());
        }
        wal.wait_durable(next.unwrap_or(wal.first_lsn()))?;
    }
}

fn let_go(wal: &Wal, ledger: &Ledger, over: &AtomicBool, mut rng: ChaCha8Rng) -> Result<(), Error> {
    while !over.load(Ordering::SeqCst) {
        let ahead = wal.wait_durable(Lsn(wal.durable().0 + rng.random_range(1..100)))?;
        let lsn = ahead.0.saturating_sub(rng.random_range(0..300));
        ledger.let_go(lsn);
        wal.truncate_prefix(Lsn(lsn))?;
        ledger.has_gone(wal.first_lsn());
    }
    Ok(())
}

/// Ends well, or as the death of the disk has it.
fn ends(outcome: Result<(), Error>) {
    match outcome {
        Ok(()) | Err(Error::Poisoned { .. } | Error::Closed | Error::Io { .. }) => {}
        Err(error) => panic!("a thread was told: {error}"),
    }
}

/// One life of the log: from here to the death of the disk, or the end of the work.
fn live(wal: &Wal, ledger: &Ledger, rng: &mut ChaCha8Rng) {
    let over = AtomicBool::new(false);
    let mut seeded = || ChaCha8Rng::seed_from_u64(rng.random());
    std::thread::scope(|scope| {
        let over = &over;
        for _ in 0..FOLLOWERS {
            scope.spawn(move || ends(follow(wal, over)));
        }
        for _ in 0..TRUNCATORS {
            let rng = seeded();
            scope.spawn(move || ends(let_go(wal, ledger, over, rng)));
        }
        let appenders: Vec<_> = (0..APPENDERS)
            .map(|thread| {
                let rng = seeded();
                scope.spawn(move || ends(append(wal, ledger, thread, rng)))
            })
            .collect();
        for appender in appenders {
            appender.join().unwrap();
        }
        over.store(true, Ordering::SeqCst);
        // Whoever waits for more gets it: 200 records at least, or the news that there are none.
        for _ in 0..200 {
            let op = ledger.attempt(APPENDERS);
            let group = op.group();
            let refs: Vec<&[u8]> = group.iter().map(|record| &record[..]).collect();
            let Ok(commit) = wal.append(&refs) else { break };
            ledger.number(op, commit.lsn());
            if commit.wait().is_err() {
                break;
            }
            ledger.ack(commit.lsn());
        }
    });
}

/// I5: damage to what was promised is refused, in the state that a stress left behind.
fn check_damage(disk: &SimVfs, rng: &mut ChaCha8Rng) {
    let files = names(disk);
    let mut segments = files.iter().filter(|name| name.ends_with(".wal"));
    let (Some(first), Some(_)) = (segments.next(), segments.next()) else { return };
    let number = u64::from_str_radix(first.trim_end_matches(".wal"), 16).unwrap();
    let offset = HEADER as usize + rng.random_range(0..100);
    let bit = 1 << rng.random_range(0..8);
    assert_corrupt(&hurt(disk, &segment(number), |bytes| bytes[offset] ^= bit), options());
}

struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("replay: STRESS={} cargo test -p drystone-wal stress", self.0);
        }
    }
}

/// How the lives of one seed ended.
#[derive(Debug, Default)]
struct Ends {
    power: u32,
    kill: u32,
    close: u32,
    acked: u64,
    unacked: u64,
}

fn run(seed: u64, lives: u32, ends: &mut Ends) {
    let _replay = Replay(seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut disk = SimVfs::new(seed);
    let mut ledger = Ledger::new(APPENDERS + 1);
    for _ in 0..lives {
        let options = threaded(&mut rng);
        let (wal, recovered) = Wal::open(Arc::new(disk.clone()), &dir(), options).unwrap();
        ledger.settle(wal.first_lsn(), wal.next_lsn(), drain(recovered));
        let (found, mortal) = (wal.durable().0, rng.random_bool(0.8));
        if mortal {
            disk.power_cut_after(rng.random_range(0..400));
        }
        live(&wal, &ledger, &mut rng);
        ends.acked += ledger.acked() - found;
        ends.unacked += wal.next_lsn().0 - 1 - ledger.acked();
        let end = wal.next_lsn().previous();
        let closed = wal.close();
        assert!(mortal || closed.is_ok(), "{:?}", closed.err().map(|error| error.to_string()));
        if closed.is_ok() {
            ledger.ack(end);
            ends.close += 1;
            continue;
        }
        let killed = rng.random_bool(0.3);
        *(if killed { &mut ends.kill } else { &mut ends.power }) += 1;
        disk = if killed { disk.kill_copy() } else { disk.crash() };
        check_recovery_twice(&disk, &mut rng);
    }
    let (wal, recovered) = try_open(&disk, options()).unwrap();
    ledger.settle(wal.first_lsn(), wal.next_lsn(), drain(recovered));
}

/// I4: two recoveries of one disk find the same, and so does one that was cut short before.
fn check_recovery_twice(disk: &SimVfs, rng: &mut ChaCha8Rng) {
    let copy = disk.kill_copy();
    let found = drain(try_open(&copy, options()).unwrap().1);
    let again = drain(try_open(&copy.crash_copy(rng.random()), options()).unwrap().1);
    assert!(found == again, "I4: the second recovery differs");
    check_damage(&copy, rng);
}

// I1 to I6 under everything at once that threads can do.
#[test]
fn stress_sixty_four_threads_and_a_mortal_disk() {
    let slow = std::env::var("SLOW").is_ok();
    let seeds = match std::env::var("STRESS") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..if slow { 200 } else { 20 },
    };
    let mut ends = Ends::default();
    let alone = seeds.end - seeds.start == 1;
    for seed in seeds {
        run(seed, LIVES, &mut ends);
    }
    println!("{ends:?}");
    let Ends { power, kill, close, acked, unacked } = ends;
    assert!(alone || (power > 5 && kill > 2 && close > 2), "every end has come up");
    assert!(acked > 1000 && unacked > 0);
}
