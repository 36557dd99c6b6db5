//! What the process takes of the machine, under the names that Prometheus' own libraries use.
//!
//! Read from `/proc` when somebody asks; what cannot be read is left out.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::page::{Kind, Page};

/// Appends the process' metrics.
pub(crate) fn write(page: &mut Page, start_seconds: f64) {
    use Kind::{Counter, Gauge};
    let help = "When the process started, seconds since 1970.";
    page.number("process_start_time_seconds", help, Gauge, start_seconds);
    if let Some(seconds) = cpu_seconds() {
        let help = "Seconds of processor time used.";
        page.number("process_cpu_seconds_total", help, Counter, seconds);
    }
    if let Some((virtual_bytes, resident_bytes)) = memory_bytes() {
        let help = "Bytes of memory resident.";
        page.number("process_resident_memory_bytes", help, Gauge, resident_bytes);
        let help = "Bytes of address space.";
        page.number("process_virtual_memory_bytes", help, Gauge, virtual_bytes);
    }
    let space = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    let help = "Bytes of address space allowed.";
    page.number("process_virtual_memory_max_bytes", help, Gauge, space);
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    let limit = getrlimit(Resource::Nofile).current;
    if let Some(open) = open {
        page.number("process_open_fds", "Files and sockets open.", Gauge, open);
        page.number("os_fd_used", "Files and sockets open.", Gauge, open);
    }
    if let Some(limit) = limit {
        page.number("process_max_fds", "Files and sockets allowed.", Gauge, limit);
        page.number("os_fd_limit", "Files and sockets allowed.", Gauge, limit);
    }
}

/// User and system time: fields 14 and 15 of `/proc/self/stat`, in ticks. The second field is the
/// program's name, which may hold blanks; counting starts after its closing parenthesis.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let total = ticks()? + ticks()?;
    Some(total / rustix::param::clock_ticks_per_second() as f64)
}

/// Address space and resident memory: the first two fields of `/proc/self/statm`, in pages.
fn memory_bytes() -> Option<(u64, u64)> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = statm.split_ascii_whitespace();
    let mut bytes =
        || Some(fields.next()?.parse::<u64>().ok()? * rustix::param::page_size() as u64);
    Some((bytes()?, bytes()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A dashboard without memory and processor time says nothing about a leak.
    #[test]
    fn this_process_has_used_memory_and_time() {
        let (virtual_bytes, resident_bytes) = memory_bytes().unwrap();
        assert!(0 < resident_bytes && resident_bytes <= virtual_bytes);
        assert!(cpu_seconds().unwrap() >= 0.0);
    }
}
