//! This machine: limits, memory, processors, clocks.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, getrlimit};

use crate::bench::histogram::Times;

/// How often a thread sleeps and wakes.
const WAKES: usize = 300;
const NAP: Duration = Duration::from_millis(1);

/// What naps and clocks have shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wakes {
    /// How late a thread wakes, 99 times of 100 at most.
    pub(super) late_p99: Duration,
    /// By how much the time of day went otherwise than the monotonic clock.
    pub(super) step: Duration,
    /// The monotonic clock never went back.
    pub(super) is_monotonic: bool,
}

/// Files that may be open, as far as the server can raise the limit.
pub(super) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Memory that can be had: what the system has, or what this group of processes may take.
pub(super) fn memory_bytes() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let available = kib_of(&info, "MemAvailable:")? << 10;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(available, |limit: u64| limit.min(available)))
}

fn kib_of(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

/// Processors that this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Sleeps and wakes, and looks at the clocks.
pub(super) fn wakes() -> Wakes {
    let (day, began) = (SystemTime::now(), Instant::now());
    let (mut late, mut is_monotonic, mut last) = (Times::default(), true, began);
    for _ in 0..WAKES {
        let before = Instant::now();
        std::thread::park_timeout(NAP);
        let now = Instant::now();
        is_monotonic &= last <= before && before <= now;
        last = now;
        late.note(now.saturating_duration_since(before).saturating_sub(NAP));
    }
    let elapsed = began.elapsed();
    let step = match day.elapsed() {
        Ok(of_day) => of_day.abs_diff(elapsed),
        Err(back) => back.duration() + elapsed,
    };
    Wakes { late_p99: late.quantile(990), step, is_monotonic }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let info = "MemTotal:        8000000 kB\nMemAvailable:    4000000 kB\n";
        assert_eq!(kib_of(info, "MemAvailable:"), Some(4_000_000));
        assert_eq!(kib_of(info, "SwapFree:"), None);
        assert!(memory_bytes().is_some_and(|bytes| bytes > 0));
    }
}
