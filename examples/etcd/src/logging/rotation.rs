//! A log file that is put aside when it has grown (`--enable-log-rotation`).
//!
//! ```text
//!   etcd.log                                     written to, up to maxsize
//!   etcd-2026-11-30T02-37-01.123456.log          put aside, and removed in the end: when there
//!   etcd-2026-11-29T17-01-45.000017.log          are more than maxbackups, or after maxage
//! ```
//!
//! The names are etcd's, but for microseconds. What is put aside is not compressed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as UtcTime};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MEGABYTE: u64 = 1 << 20;
/// etcd's default, and what it takes 0 for.
const MEGABYTES_DEFAULT: u64 = 100;

/// When a log file is put aside, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    bytes_max: u64,
    /// `None` is for ever.
    age_max: Option<Duration>,
    /// `None` is all.
    backups_max: Option<usize>,
}

/// `--log-rotation-config-json`.
#[derive(Deserialize)]
#[serde(default)]
struct Json {
    maxsize: u64,
    maxage: u32,
    maxbackups: usize,
    compress: bool,
}

impl Default for Json {
    fn default() -> Json {
        Json { maxsize: MEGABYTES_DEFAULT, maxage: 0, maxbackups: 0, compress: false }
    }
}

impl Rotation {
    /// As `json` has it, of a log with these outputs.
    ///
    /// # Errors
    ///
    /// If it is no JSON, or there is not exactly one file.
    pub(crate) fn new(json: &str, outputs: &[String]) -> Result<Rotation, String> {
        let is_file =
            |output: &&String| !matches!(output.as_str(), "default" | "stderr" | "stdout");
        if outputs.iter().filter(is_file).count() != 1 {
            let rule = "--log-outputs requires a single file path when --log-rotate-config-json is \
                defined";
            return Err(rule.to_owned());
        }
        let read: Json = serde_json::from_str(json)
            .map_err(|error| format!("improperly formatted log rotation config: {error}"))?;
        if read.compress {
            return Err("--log-rotation-config-json: compress is not implemented".to_owned());
        }
        let megabytes = if read.maxsize == 0 { MEGABYTES_DEFAULT } else { read.maxsize };
        Ok(Rotation {
            bytes_max: megabytes.saturating_mul(MEGABYTE),
            age_max: (read.maxage > 0).then(|| DAY * read.maxage),
            backups_max: (read.maxbackups > 0).then_some(read.maxbackups),
        })
    }
}

/// A log file that is put aside in time.
pub(super) struct Rotating {
    path: PathBuf,
    rotation: Rotation,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl Rotating {
    /// Goes on with the file at `path`, or begins it.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Rotating> {
        let open = Mutex::new(Open::at(path)?);
        Ok(Rotating { path: path.to_owned(), rotation, open })
    }

    /// Writes a line, which is whole in one file.
    pub(super) fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock();
        let grown = open.bytes + line.len() as u64 > self.rotation.bytes_max;
        if grown && open.bytes > 0 {
            fs::rename(&self.path, self.aside())?;
            *open = Open::at(&self.path)?;
            self.clean()?;
        }
        open.file.write_all(line)?;
        open.bytes += line.len() as u64;
        Ok(())
    }

    /// A name for what is put aside now.
    fn aside(&self) -> PathBuf {
        let mut now = String::new();
        // Writing to a text cannot fail.
        let _ = UtcTime.format_time(&mut Writer::new(&mut now));
        let now = now.trim_end_matches('Z').replace(':', "-");
        let (stem, extension) = self.parts();
        self.path.with_file_name(format!("{stem}-{now}{extension}"))
    }

    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = self.path.extension().map(|_| format!(".{}", text(self.path.extension())));
        (text(self.path.file_stem()), extension.unwrap_or_default())
    }

    /// Removes what was put aside and is not wanted any more.
    fn clean(&self) -> io::Result<()> {
        let mut aside = self.all_aside()?;
        aside.sort_unstable();
        let too_many = self.rotation.backups_max.map_or(0, |max| aside.len().saturating_sub(max));
        let now = SystemTime::now();
        for (at, file) in aside.iter().enumerate() {
            let written = fs::metadata(file).and_then(|found| found.modified());
            let age = written.ok().and_then(|written| now.duration_since(written).ok());
            let is_old = self.rotation.age_max.zip(age).is_some_and(|(max, age)| age > max);
            if at < too_many || is_old {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// All that was put aside.
    fn all_aside(&self) -> io::Result<Vec<PathBuf>> {
        let (stem, extension) = self.parts();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut found = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            let time = name.strip_prefix(&format!("{stem}-"));
            let time = time.and_then(|rest| rest.strip_suffix(&extension));
            // Nothing is removed but what has a time in its name.
            let is_time = |time: &str| {
                time.len() >= 19
                    && time.bytes().all(|byte| byte.is_ascii_digit() || b"-T.".contains(&byte))
            };
            if time.is_some_and(is_time) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Open> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Open { file, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(list: &[&str]) -> Vec<String> {
        list.iter().map(|output| (*output).to_owned()).collect()
    }

    // The disk must not fill up, no line may be lost or cut, and nobody else's file may go.
    #[test]
    fn full_files_are_put_aside_and_the_oldest_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.log");
        fs::write(folder.path().join("etcd-notes.log"), "mine").unwrap();
        let rotation = Rotation { bytes_max: 10, age_max: None, backups_max: Some(2) };
        let log = Rotating::open(&path, rotation.clone()).unwrap();
        for number in 0..4 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 3\n");
        let mut aside = log.all_aside().unwrap();
        aside.sort_unstable();
        let texts: Vec<String> = aside.iter().map(|f| fs::read_to_string(f).unwrap()).collect();
        assert_eq!(texts, ["line 1\n", "line 2\n"]);
        assert!(folder.path().join("etcd-notes.log").exists());
        // A restart goes on where the last run was.
        let log = Rotating::open(&path, rotation).unwrap();
        log.write(b"line 4\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
    }

    // etcd's rules: one file, and a configuration that can be read.
    #[test]
    fn rules_are_etcds() {
        let default = r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false}"#;
        let rotation = Rotation::new(default, &outputs(&["stderr", "a.log"])).unwrap();
        let expected = Rotation { bytes_max: 100 << 20, age_max: None, backups_max: None };
        assert_eq!(rotation, expected);
        for list in [&["stderr"][..], &["a.log", "b.log"]] {
            let error = Rotation::new(default, &outputs(list)).unwrap_err();
            assert!(error.contains("requires a single file path"), "{error}");
        }
        let error = Rotation::new("{", &outputs(&["a"])).unwrap_err();
        assert!(error.contains("improperly formatted"), "{error}");
        assert!(Rotation::new(r#"{"compress":true}"#, &outputs(&["a"])).is_err());
    }
}
