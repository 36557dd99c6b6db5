//! What this process has done to the disk, and whether it still does anything.
//!
//! Bytes written are those handed to write calls: `wchar` of `/proc/self/io`. The kernel's other
//! figure, `write_bytes`, would be closer to the disk, but counts whole folios of the page cache:
//! 64 KiB for 200 bytes changed in a file that was written in large pieces, half a megabyte a put
//! for one who reads ahead. What is written through a mapping is not seen. Linux only.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cost::Meters;

/// `st_blocks` are of this size, whatever the file system's are.
const BLOCK_BYTES: u64 = 512;

/// Work in the background pauses for less than this.
const QUIET_FOR: Duration = Duration::from_millis(200);

/// As much CPU as asking costs.
const QUIET_CPU: Duration = Duration::from_millis(4);

/// Work that takes longer is not waited for.
const QUIET_WITHIN: Duration = Duration::from_secs(120);

/// Bytes that this process has had written so far.
///
/// # Errors
/// If the kernel does not count them.
pub fn written_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/io").context("reading /proc/self/io")?;
    parse(&text).context("/proc/self/io has no wchar")
}

fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
}

/// Bytes of disk that all files below `dir` take; holes take none.
///
/// # Errors
/// If a folder cannot be read.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += disk_bytes(&entry.path())?,
            Ok(metadata) => bytes += metadata.blocks() * BLOCK_BYTES,
            // Removed since the folder was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// How long this thread was ready to run so far while the machine ran others.
///
/// # Errors
/// If the kernel does not count it.
pub fn waited_for_cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("reading schedstat")?;
    parse_waited(&text).context("schedstat has no second figure")
}

fn parse_waited(text: &str) -> Option<Duration> {
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// Waits until this process does nothing any more; whether it came to that.
///
/// # Errors
/// If the kernel does not tell.
pub fn wait_until_quiet() -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < QUIET_WITHIN {
        let (before, written) = (Meters::read()?, written_bytes()?);
        thread::sleep(QUIET_FOR);
        if before.spent()?.cpu() < QUIET_CPU && written == written_bytes()? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A meter that stands still would make every write free.
    #[test]
    fn what_is_written_is_counted() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let before = written_bytes().unwrap();
        let mut file = fs::File::create(dir.path().join("file")).unwrap();
        file.write_all(&vec![1; 8 << 20]).unwrap();
        assert!(written_bytes().unwrap() - before >= 8 << 20);
        file.sync_all().unwrap();
        let bytes = disk_bytes(dir.path()).unwrap();
        assert!((8 << 20..9 << 20).contains(&bytes), "{bytes}");
        assert_eq!(parse("rchar: 1\nwchar: 77\n"), Some(77));
        assert_eq!(parse("write_bytes: 77\n"), None);
    }

    /// What others took of the machine must not pass for our own doing, nor the other way round.
    #[test]
    fn time_without_a_processor_is_counted() {
        assert_eq!(parse_waited("500 77 3\n"), Some(Duration::from_nanos(77)));
        assert_eq!(parse_waited("500"), None);
        let before = waited_for_cpu().unwrap();
        let threads = 4 * thread::available_parallelism().unwrap().get();
        let spin = || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(200) {}
        };
        thread::scope(|scope| {
            (0..threads).for_each(|_| drop(scope.spawn(spin)));
            spin();
        });
        let waited = waited_for_cpu().unwrap() - before;
        assert!(waited > Duration::from_millis(20), "{waited:?}");
    }
}
