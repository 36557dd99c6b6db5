//! What a part of a backup is of: asked for, answered, and written at the head of an increment.
//!
//! Both sides of a Snapshot call say it as JSON in the metadata `drystone-backup`: the client what
//! it has ([`Ask`]), the member what it sends ([`Label`]). A member that does not know of it sends
//! a whole copy, and no label.
//!
//! ```text
//!   increment   one line, zeros up to 1536 bytes │ pages of bbolt │ SHA-256 of all before, 32
//!   line        "drystone-etcd increment 1 " label "\n"
//! ```
//!
//! So no program takes an increment for a database: bbolt looks for a meta page at the beginning of
//! a file, and if that is damaged at powers of two behind it. None is there.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The key of the metadata, both ways.
pub(crate) const METADATA: &str = "drystone-backup";
/// What an increment is, in its first bytes.
const MAGIC: &str = "drystone-etcd increment 1 ";
/// Where its pages begin.
pub(crate) const HEAD_BYTES: usize = 1536;
const _: () = assert!(HEAD_BYTES.is_multiple_of(512), "etcd's tools look at the length");
const _: () = assert!(!HEAD_BYTES.is_power_of_two(), "bbolt looks for its second meta page there");
const _: () = assert!(!(HEAD_BYTES + 4096).is_power_of_two(), "there, too");
/// How a refusal begins whose reason is that it is about another cluster.
pub(crate) const OTHER_CLUSTER: &str = "drystone-etcd: this is another cluster";
/// How a refusal begins whose reason is that the client's last revision was another one's.
pub(crate) const OTHER_HISTORY: &str = "drystone-etcd: another history";

/// What a client has already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    /// The main revision that it has all of; 0 asks for a whole copy.
    pub(crate) since: u64,
    /// Of which cluster.
    pub(crate) cluster: String,
    /// [`Label::tail`] of that revision.
    pub(crate) tail: String,
    /// [`Label::state`] of what it has.
    pub(crate) state: String,
}

/// What a copy is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// It has the records after this main revision; 0 if it is whole.
    pub(crate) since: u64,
    /// The newest main revision in it.
    pub(crate) revision: u64,
    /// The oldest readable main revision; 0 if nothing was ever compacted.
    pub(crate) compacted: u64,
    /// The member's clock when it had just looked, RFC 3339.
    pub(crate) time: String,
    /// The number of the cluster, in hex.
    pub(crate) cluster: String,
    /// That of the member.
    pub(crate) member: String,
    /// A hash of the newest records: tells `revision` from the same number in another history.
    pub(crate) tail: String,
    /// A hash of all that is no record.
    pub(crate) state: String,
    /// That is what the client has, so nothing follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unchanged: bool,
}

impl Label {
    /// The head of an increment.
    pub(crate) fn head(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("numbers and texts are JSON");
        let mut head = format!("{MAGIC}{json}\n").into_bytes();
        assert!(head.len() <= HEAD_BYTES, "a label is short");
        head.resize(HEAD_BYTES, 0);
        head
    }

    /// The label of an increment; `None` if the file is something else.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is an increment whose label cannot.
    pub(crate) fn of(path: &Path) -> Result<Option<Label>> {
        let mut head = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut head));
        read.with_context(|| format!("cannot read {}", path.display()))?;
        let Some(rest) = head.strip_prefix(MAGIC.as_bytes()) else { return Ok(None) };
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let label = serde_json::from_slice(&rest[..end]);
        label.with_context(|| format!("{}: its label is damaged", path.display())).map(Some)
    }
}

/// Refuses an increment where a whole copy is wanted.
///
/// # Errors
///
/// If it is one; if it cannot be read.
pub(crate) fn refuse_increment(path: &Path) -> Result<()> {
    let Some(label) = Label::of(path)? else { return Ok(()) };
    bail!(
        "{} is an increment of a backup: it has what came after revision {} up to {}, and nothing \
         before; restore the folder that it belongs to: drystone-etcd backup restore DIR",
        path.display(),
        label.since,
        label.revision
    )
}

/// A hash of all that `from` still has, and how many bytes that were.
///
/// # Errors
///
/// Those of `from`.
pub(crate) fn hash(from: &mut impl Read) -> io::Result<([u8; 32], u64)> {
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok((hasher.finalize().into(), bytes)),
            count => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // What lies in folders for years must be read as what it was.
    #[test]
    fn label_comes_back_as_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let text = |text: &str| text.repeat(64);
        let label = Label {
            since: u64::MAX,
            revision: u64::MAX,
            compacted: u64::MAX,
            time: "2026-11-30T05:51:31.123Z".into(),
            cluster: text("f"),
            member: text("f"),
            tail: text("f"),
            state: text("f"),
            unchanged: false,
        };
        std::fs::write(&path, label.head()).unwrap();
        assert_eq!(Label::of(&path).unwrap(), Some(label.clone()));
        let said = refuse_increment(&path).unwrap_err().to_string();
        assert!(said.contains("is an increment of a backup"), "{said}");
        let mut head = label.head();
        head[MAGIC.len()] = b'!';
        std::fs::write(&path, head).unwrap();
        assert!(Label::of(&path).is_err(), "a damaged one is not a whole copy");
        std::fs::write(&path, "else").unwrap();
        assert_eq!(Label::of(&path).unwrap(), None);
    }
}
