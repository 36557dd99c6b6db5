//! CPU time and memory of a process, as the kernel counts them.
//!
//! ```text
//!   /proc/PID/stat     1234 (name) S 1 ... utime stime ...     fields 14 and 15, in clock ticks
//!   /proc/PID/status   VmHWM:     102400 kB                    most memory it ever had in RAM
//!                      VmRSS:      51200 kB                    what it has now
//!   /proc/PID/clear_refs   5 written to it: the most begins anew
//!   /proc/PID/io       write_bytes: 4096                       bytes it had written to a disk
//! ```
//!
//! The ticks of `stat` cover all threads, those that have ended too. They are 10 ms each, so
//! measure over seconds. Linux only.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// User and system time that process `pid` has used, over all its threads.
///
/// # Errors
/// If there is no such process, or the kernel writes its file in another form.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} has another form"))?;
    Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

/// Most bytes of RAM that process `pid` has had since its start or the last [`forget_peak`].
///
/// # Errors
/// As [`cpu_time`].
pub fn peak_rss_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Bytes of RAM that process `pid` has now.
///
/// # Errors
/// As [`cpu_time`].
pub fn rss_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// Lets the most memory of process `pid` begin anew at what it has now.
///
/// # Errors
/// If there is no such process, or it is somebody else's.
pub fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("writing {path}"))
}

fn status_bytes(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    field_bytes(&status, field).with_context(|| format!("{path} has another form"))
}

/// Bytes that process `pid` has so far caused to be written to a disk: every page that it made
/// dirty, once for each time.
///
/// # Errors
/// As [`cpu_time`].
pub fn written_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let io = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    written(&io).with_context(|| format!("{path} has another form"))
}

/// CPU time that this process has used, to the nanosecond.
#[must_use]
pub fn own_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).expect("CPU time is not negative"),
        u32::try_from(time.tv_nsec).expect("nanoseconds stay below a second"),
    )
}

/// `utime + stime`. The name in parentheses may hold blanks and parentheses, so count from the
/// last.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    // The first field behind the name is number 3, the state.
    let mut fields = rest.split_ascii_whitespace().skip(14 - 3);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    utime.checked_add(stime)
}

fn field_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

fn written(io: &str) -> Option<u64> {
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Off by one field and the page faults of the children would be called CPU time.
    #[test]
    fn cpu_ticks_are_fields_14_and_15() {
        let stat =
            "4242 (etcd) S 1 4242 4242 0 -1 4194560 8000 17 9 3 1500 250 7 5 20 0 12 0 99 1 2";
        assert_eq!(cpu_ticks(stat), Some(1750));
    }

    /// What was written and taken back before it reached the disk stands on a line of its own.
    #[test]
    fn written_bytes_are_those_that_went_to_the_disk() {
        let io =
            "rchar: 9\nwchar: 8\nread_bytes: 7\nwrite_bytes: 12288\ncancelled_write_bytes: 5\n";
        assert_eq!(written(io), Some(12_288));
        assert_eq!(written("write_bytes: many"), None);
    }

    /// A program may call itself anything.
    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "1 (a) b) (c) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14";
        assert_eq!(cpu_ticks(stat), Some(11 + 12));
    }

    /// A kernel that changes the file must give an error, not a panic and not a zero.
    #[test]
    fn a_file_of_another_form_is_no_number() {
        for stat in ["", "1 no name", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 x 12"] {
            assert_eq!(cpu_ticks(stat), None, "{stat}");
        }
        for status in ["", "VmRSS:\t 10 kB", "VmHWM:\t ten kB", "VmHWM:\t 10 MB"] {
            assert_eq!(field_bytes(status, "VmHWM:"), None, "{status}");
        }
    }

    /// The peak, not the memory of the moment, which stands two lines further down.
    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tetcd\nVmPeak:\t  999 kB\nVmHWM:\t  102400 kB\nVmRSS:\t     5 kB\n";
        assert_eq!(field_bytes(status, "VmHWM:"), Some(100 << 20));
        assert_eq!(field_bytes(status, "VmRSS:"), Some(5 << 10));
    }

    /// The two clocks must agree, or server and client could not be put side by side.
    #[test]
    fn both_clocks_see_the_work_of_this_process() {
        let pid = std::process::id();
        let (file, clock) = (cpu_time(pid).unwrap(), own_cpu_time());
        let mut sum = 0u64;
        while own_cpu_time() - clock < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let file = cpu_time(pid).unwrap() - file;
        assert!(file >= Duration::from_millis(80), "100 ms of work, but the file saw {file:?}");
        let peak = peak_rss_bytes(pid).unwrap();
        assert!(peak > 100 << 10 && rss_bytes(pid).unwrap() > 100 << 10, "{peak}");
    }
}
