//! Clocks that misbehave (scenario 20): the log measures how long to gather, and nothing else. A
//! clock that stands still or leaps may cost time, never an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use drystone_vfs::{Clock, SimClock, SimVfs};
use drystone_wal::{Lsn, Wal, Writer};

use crate::support::{dir, disk, open, options};

const HOUR: Duration = Duration::from_secs(3600);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A clock whose every reading comes from `read`, given how many there were before. Its monotonic
/// face may go back, which no honest one does.
#[derive(Debug)]
struct Wild {
    readings: AtomicU64,
    read: Reading,
}

impl Clock for Wild {
    fn monotonic(&self) -> Duration {
        (self.read)(self.readings.fetch_add(1, Ordering::SeqCst))
    }

    fn wall(&self) -> Duration {
        (self.read)(self.readings.fetch_add(1, Ordering::SeqCst))
    }
}

type Reading = fn(u64) -> Duration;

const WILD: [(&str, Reading); 6] = [
    ("stuck", |_| Duration::ZERO),
    ("stuck late", |_| TEN_YEARS),
    ("ten years at every look", |n| TEN_YEARS * (n as u32 % 1000)),
    ("ten years once", |n| if n < 100 { Duration::from_micros(n) } else { TEN_YEARS }),
    ("back an hour at every other look", |n| TEN_YEARS - HOUR * (n as u32 % 2)),
    ("back an hour, then stuck", |n| if n < 50 { HOUR * 2 } else { HOUR }),
];

/// Sixteen threads append and wait, so that groups form and are gathered.
fn work(disk: &SimVfs, clock: Arc<dyn Clock>) {
    let options = options().writer(Writer::Thread).segment_bytes(64 << 10).clock(clock);
    let (wal, _) = Wal::open(Arc::new(disk.clone()), &dir(), options).unwrap();
    std::thread::scope(|scope| {
        for i in 0..16_u8 {
            let wal = wal.clone();
            scope.spawn(move || {
                for n in 0..20 {
                    let commit = wal.append(&[&[i; 40], &[n; 3]]).unwrap();
                    assert!(commit.wait().unwrap() >= commit.lsn());
                }
            });
        }
    });
    assert_eq!(wal.durable(), Lsn(16 * 20 * 2));
    // And one that nobody waits for is written all the same.
    drop(wal.append(&[b"unattended"]).unwrap());
    wal.wait_durable(Lsn(641)).unwrap();
    wal.close().unwrap();
}

// Scenario 20: appends neither hang nor fail, and nothing is lost, whatever the clock says.
#[test]
fn appends_survive_any_clock() {
    for (name, read) in WILD {
        println!("clock: {name}");
        let disk = disk();
        work(&disk, Arc::new(Wild { readings: AtomicU64::new(0), read }));
        assert_eq!(open(&disk.crash()).1.len(), 641, "{name}");
    }
}

// Scenario 20: an operator sets the date, forwards and back, while the log works.
#[test]
fn setting_the_date_disturbs_nothing() {
    let clock = Arc::new(SimClock::new());
    let disk = disk();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0_u32.. {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                clock.set_wall(if n % 2 == 0 { TEN_YEARS * 5 } else { HOUR });
                std::thread::yield_now();
            }
        });
        let _ends_with_us = SetOnDrop(&done);
        work(&disk, Arc::clone(&clock) as Arc<dyn Clock>);
    });
    assert_eq!(open(&disk.crash()).1.len(), 641);
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
