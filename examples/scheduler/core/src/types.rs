//! The names of things: jobs, tasks, runs, nodes.
//!
//! ```text
//!   job  default/train        what a user made, by namespace and name; `Uid` tells it from an
//!                             older one of the same name
//!   task default/train/17     one of its slots: an index of an array, a replica of a service
//!   run  3fa9c01be2d4-1z      one attempt at a task, on one node; never reused, never moved
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Milliseconds since the start of 1970, by the clock of whoever wrote it.
pub type UnixMs = u64;
/// A span, in milliseconds.
pub type Ms = u64;
/// A revision of the store, in which a key was made or last changed. None has 0.
pub type Revision = i64;

/// The beginning of a text, so many bytes at most, in whole letters.
pub fn start_of(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no name: {rule}")]
pub struct BadName {
    /// What was given.
    pub name: String,
    /// What it breaks.
    pub rule: &'static str,
}

/// Longest name of anything, in bytes: the limit of a DNS label.
pub const NAME_BYTES_MAX: usize = 63;

/// Whether it may name something: a DNS label as of RFC 1123, lowercase.
///
/// # Errors
/// Says which rule it breaks.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let refuse = |rule| Err(BadName { name: name.chars().take(80).collect(), rule });
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match name.as_bytes() {
        [] => refuse("it is empty"),
        bytes if bytes.len() > NAME_BYTES_MAX => refuse("it is longer than 63 bytes"),
        bytes if !bytes.iter().all(|&byte| plain(byte) || byte == b'-') => {
            refuse("only a-z, 0-9 and - may be in it")
        }
        [first, .., last] if !plain(*first) || !plain(*last) => refuse("it begins or ends with -"),
        [b'-'] => refuse("it begins or ends with -"),
        _ => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Box<str>);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> $name {
                $name(text.into())
            }
        }
    };
}

text_id! {
    /// A machine with an agent on it.
    NodeId
}
text_id! {
    /// One attempt at a task: twelve hex digits that a leader drew when it took office, and the
    /// number of this one in its term in base 36. Unique for ever: a leader counts, and two that
    /// draw the same number are as unlikely as 2^-48.
    RunId
}
text_id! {
    /// Tells an object from an older one of the same name: random, drawn when it was made.
    Uid
}
text_id! {
    /// SHA-256 of a task's spec, in hex: the same spec is kept once, however many run it.
    SpecHash
}

impl RunId {
    /// The `count`-th run of a leader that drew this number.
    pub fn new(term: u64, count: u64) -> RunId {
        let mut digits = Vec::new();
        let mut rest = count;
        loop {
            let digit = u32::try_from(rest % 36).expect("a rest by 36 is small");
            digits.push(char::from_digit(digit, 36).expect("a digit in base 36"));
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        let count: String = digits.iter().rev().collect();
        RunId(format!("{:012x}-{count}", term & 0xffff_ffff_ffff).into())
    }
}

/// A job, service, cron or workflow, by its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct JobKey {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name in there.
    pub name: Box<str>,
}

impl JobKey {
    /// A job by its two names.
    pub fn new(namespace: &str, name: &str) -> JobKey {
        JobKey { namespace: namespace.into(), name: name.into() }
    }

    /// One of its tasks.
    pub fn task(&self, index: u32) -> TaskKey {
        TaskKey { job: self.clone(), index }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl From<JobKey> for String {
    fn from(key: JobKey) -> String {
        key.to_string()
    }
}

/// Text that is no key of a job or task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name {1}")]
pub struct BadKey(String, &'static str);

impl FromStr for JobKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<JobKey, BadKey> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.contains('/') => {
                Ok(JobKey::new(namespace, name))
            }
            _ => Err(BadKey(text.to_owned(), "a job: namespace/name")),
        }
    }
}

impl TryFrom<String> for JobKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<JobKey, BadKey> {
        text.parse()
    }
}

/// One slot of a job: an index of its array, or a replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TaskKey {
    /// Whose.
    pub job: JobKey,
    /// Which: 0-based.
    pub index: u32,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.index)
    }
}

impl From<TaskKey> for String {
    fn from(key: TaskKey) -> String {
        key.to_string()
    }
}

impl FromStr for TaskKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<TaskKey, BadKey> {
        let bad = || BadKey(text.to_owned(), "a task: namespace/name/index");
        let (job, index) = text.rsplit_once('/').ok_or_else(bad)?;
        let job = job.parse().map_err(|_| bad())?;
        let index = index.parse().map_err(|_| bad())?;
        Ok(TaskKey { job, index })
    }
}

impl TryFrom<String> for TaskKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<TaskKey, BadKey> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name becomes a part of keys, host names and paths: what could leave its place is refused.
    #[test]
    fn names_are_labels() {
        for good in ["a", "0", "train-17", &"x".repeat(63)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-", "-a", "a-", "A", "a.b", "a/b", "..", "ä", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    /// Half a letter at the end would be a panic.
    #[test]
    fn a_text_is_cut_between_letters() {
        for (bytes, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aä"), (9, "aä")] {
            assert_eq!(start_of("aä", bytes), expected);
        }
    }

    /// Keys are written into the store and read back by others.
    #[test]
    fn keys_read_back_as_written() {
        let task = JobKey::new("ml", "train").task(17);
        assert_eq!(task.to_string(), "ml/train/17");
        assert_eq!("ml/train/17".parse(), Ok(task));
        for bad in ["", "/", "ml", "/a", "ml/train/x/1"] {
            assert!(bad.parse::<JobKey>().is_err(), "{bad}");
        }
        for bad in ["ml/train", "ml/train/-1", "ml/train/4294967296", "a/b/c/1"] {
            assert!(bad.parse::<TaskKey>().is_err(), "{bad}");
        }
    }

    /// Two runs of one leader, or of two, never share a name.
    #[test]
    fn runs_are_counted_within_a_term() {
        assert_eq!(RunId::new(0x3fa9_c01b_e2d4, 71).as_str(), "3fa9c01be2d4-1z");
        assert_eq!(RunId::new(0, 0).as_str(), "000000000000-0");
        assert_eq!(RunId::new(u64::MAX, 36).as_str(), "ffffffffffff-10");
    }
}
