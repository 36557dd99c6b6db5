//! What this process has spent so far: time, CPU, context switches, syncs, allocations.
//!
//! CPU time and switches are those of all threads that live or have lived, as `getrusage` counts
//! them. Memory comes from `/proc/self`. Linux only.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};

use crate::syncs;

/// Counts allocations, in a program whose allocator does.
static ALLOCATIONS: OnceLock<fn() -> u64> = OnceLock::new();

/// Tells how to read the number of allocations made so far; to be called once, at the start.
pub fn count_allocations_by(read: fn() -> u64) {
    ALLOCATIONS.get_or_init(|| read);
}

/// The meters at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Meters {
    at: Instant,
    user: Duration,
    system: Duration,
    switches: u64,
    syncs: u64,
    allocations: u64,
}

/// What was spent between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Time on the wall.
    pub wall: Duration,
    /// CPU time in user mode, all threads.
    pub user: Duration,
    /// CPU time in the kernel, all threads.
    pub system: Duration,
    /// Times that a thread gave up its core to wait for something.
    pub switches: u64,
    /// Calls of `fdatasync`.
    pub syncs: u64,
    /// Allocations, in a program that counts them.
    pub allocations: u64,
}

impl Meters {
    /// Reads the meters.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn read() -> Result<Meters> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).context("reading the resources used")?;
        let time = |t: nix::sys::time::TimeVal| {
            Duration::from_secs(t.tv_sec().unsigned_abs())
                + Duration::from_micros(t.tv_usec().unsigned_abs())
        };
        Ok(Meters {
            at: Instant::now(),
            user: time(usage.user_time()),
            system: time(usage.system_time()),
            switches: usage.voluntary_context_switches().unsigned_abs(),
            syncs: syncs::count(),
            allocations: ALLOCATIONS.get().map_or(0, |read| read()),
        })
    }

    /// What has been spent since.
    ///
    /// # Errors
    /// As [`read`](Meters::read).
    pub fn spent(&self) -> Result<Cost> {
        let now = Meters::read()?;
        Ok(Cost {
            wall: now.at - self.at,
            user: now.user.saturating_sub(self.user),
            system: now.system.saturating_sub(self.system),
            switches: now.switches - self.switches,
            syncs: now.syncs - self.syncs,
            allocations: now.allocations - self.allocations,
        })
    }
}

impl Cost {
    /// CPU time, user and kernel together.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// Forgets the peak of this process's memory, so that [`rss_peak_bytes`] tells of what follows.
///
/// # Errors
/// If the kernel was built without it.
pub fn forget_rss_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("resetting the peak of memory")
}

/// Most bytes of RAM since [`forget_rss_peak`].
///
/// # Errors
/// If the kernel does not tell.
pub fn rss_peak_bytes() -> Result<u64> {
    status_bytes("VmHWM:")
}

/// Bytes of RAM now.
///
/// # Errors
/// If the kernel does not tell.
pub fn rss_bytes() -> Result<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("/proc/self/status has no {field}"))? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter that stands still would make everything free.
    #[test]
    fn work_and_waiting_are_seen() {
        let before = Meters::read().unwrap();
        let mut sum = 0u64;
        while before.at.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        std::thread::sleep(Duration::from_millis(1));
        let spent = before.spent().unwrap();
        assert!(spent.wall >= Duration::from_millis(51));
        assert!(spent.cpu() >= Duration::from_millis(20), "{spent:?}");
        assert!(spent.switches >= 1, "{spent:?}");
    }

    /// The peak must come down when it is forgotten and rise with the memory in use.
    #[test]
    fn peak_follows_the_memory_in_use() {
        let touch = |bytes: usize| drop(std::hint::black_box(vec![1u8; bytes]));
        touch(256 << 20);
        assert!(rss_peak_bytes().unwrap() >= 256 << 20);
        forget_rss_peak().unwrap();
        assert!(rss_peak_bytes().unwrap() < 200 << 20);
        assert!(rss_bytes().unwrap() <= rss_peak_bytes().unwrap());
    }
}
