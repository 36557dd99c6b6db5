//! What a folder of backups holds: a line of JSON for each file, in the order of their making.
//!
//! ```text
//!   {"kind":"begin","format":1,"crc32":"…"}
//!   {"kind":"base","chain":1,"file":"chain-000001-base.db",…,"crc32":"…"}
//!   {"kind":"increment","chain":1,"file":"chain-000001-00001.increment",…,"crc32":"…"}
//!   {"kind":"drop","chain":1,"crc32":"…"}       its files are being removed, or are gone
//! ```
//!
//! `crc32` is that of all bytes of the line before `,"crc32"`. Lines are only added (when a chain
//! was dropped all are written anew, to another file), so that a crash leaves at most half a line
//! at the end, which never counted. Any other line that is not as it was written is damage.
//!
//! A base and the increments behind it, each of which begins where the one before ends, are a
//! *chain*.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::label::Label;

/// The manifest's name.
pub(super) const MANIFEST: &str = "manifest";
/// What a file is called behind its name until it counts.
const PART: &str = ".part";
const FORMAT: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Line {
    /// The first.
    Begin {
        /// The version of the folder's format.
        format: u32,
    },
    /// A whole copy.
    Base(Entry),
    /// What came since the file before.
    Increment(Entry),
    /// A chain is no longer there.
    Drop {
        /// Its number.
        chain: u64,
    },
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The number of its chain, from 1.
    pub(super) chain: u64,
    /// Its name.
    pub(super) file: String,
    /// What it is of.
    #[serde(flatten)]
    pub(super) label: Label,
    pub(super) bytes: u64,
    /// Of all its bytes, in hex.
    pub(super) sha256: String,
}

/// A base and the increments behind it. Invariants, checked when it is read:
///
/// - the first is whole, and no other is;
/// - each begins at the revision at which the one before ends, and is of the same cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Its number.
    pub(super) number: u64,
    /// Its files.
    pub(super) entries: Vec<Entry>,
}

/// What stands in a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The chains, oldest first.
    pub(super) chains: Vec<Chain>,
    /// Chains that were dropped, with their files, some of which may be there still.
    pub(super) dropped: Vec<Chain>,
    /// How many bytes of the file are whole lines.
    pub(super) sound_bytes: u64,
    /// How many bytes follow that are not.
    pub(super) torn_bytes: u64,
}

impl Line {
    /// The line, with its end.
    pub(super) fn text(&self) -> String {
        let json = serde_json::to_string(self).expect("numbers and texts are JSON");
        let body = json.strip_suffix('}').expect("it is an object");
        format!("{body},\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()))
    }

    /// The line that such a text is.
    fn parse(text: &[u8]) -> Result<Line> {
        let text = std::str::from_utf8(text).context("it is not text")?;
        let (body, crc) = text.rsplit_once(",\"crc32\":\"").context("it has no checksum")?;
        let crc = crc.strip_suffix("\"}").and_then(|crc| u32::from_str_radix(crc, 16).ok());
        if crc != Some(crc32fast::hash(body.as_bytes())) {
            bail!("its checksum does not fit");
        }
        serde_json::from_str(&format!("{body}}}")).context("it is not understood")
    }
}

impl Manifest {
    /// Reads the manifest of the folder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is damaged: what is wrong with which line.
    pub(super) fn read(dir: &Path) -> Result<Option<Manifest>> {
        let path = dir.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Manifest::parse(&bytes).with_context(|| path.display().to_string()).map(Some)
    }

    fn parse(bytes: &[u8]) -> Result<Manifest> {
        let sound = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut manifest = Manifest {
            sound_bytes: sound as u64,
            torn_bytes: (bytes.len() - sound) as u64,
            ..Manifest::default()
        };
        let mut chains: BTreeMap<u64, Chain> = BTreeMap::new();
        let lines = bytes[..sound].split_inclusive(|byte| *byte == b'\n');
        for (number, line) in (1..).zip(lines) {
            let damaged = || format!("line {number} is damaged");
            let line = Line::parse(&line[..line.len() - 1]).with_context(damaged)?;
            if (number == 1) != matches!(line, Line::Begin { .. }) {
                bail!("line {number} is damaged: the first line, and no other, says what this is");
            }
            match line {
                Line::Begin { format: FORMAT } => {}
                Line::Begin { format } => bail!("it is of format {format}, which is not known"),
                Line::Base(entry) => {
                    if chains.contains_key(&entry.chain) {
                        bail!("line {number}: chain {} has two bases", entry.chain);
                    }
                    chains.entry(entry.chain).or_default().add(entry).with_context(damaged)?;
                }
                Line::Increment(entry) => {
                    let Some(chain) = chains.get_mut(&entry.chain) else {
                        bail!("line {number}: {} is an increment of no base", entry.file);
                    };
                    chain.add(entry).with_context(damaged)?;
                }
                Line::Drop { chain } => manifest.dropped.extend(chains.remove(&chain)),
            }
        }
        if sound == 0 {
            bail!("it has no whole line");
        }
        manifest.chains = chains.into_values().collect();
        Ok(manifest)
    }

    /// The newest file.
    pub(super) fn newest(&self) -> Option<&Entry> {
        self.chains.last()?.entries.last()
    }

    /// The newest revision that any of the files has.
    pub(super) fn revision_max(&self) -> u64 {
        let entries = self.chains.iter().flat_map(|chain| &chain.entries);
        entries.map(|entry| entry.label.revision).max().unwrap_or(0)
    }

    /// The text of a manifest that has the chains alone.
    pub(super) fn text(&self) -> String {
        let mut text = Line::Begin { format: FORMAT }.text();
        for entry in self.chains.iter().flat_map(|chain| &chain.entries) {
            text.push_str(&entry.line().text());
        }
        text
    }
}

impl Chain {
    /// Adds a file, if it may stand there.
    pub(super) fn add(&mut self, entry: Entry) -> Result<()> {
        let Entry { file, label, .. } = &entry;
        entry.time()?;
        match self.entries.last() {
            None if label.since > 0 => bail!("{file} is an increment, and has no base before it"),
            None => self.number = entry.chain,
            Some(_) if label.since == 0 => bail!("{file} is whole, and stands behind a base"),
            Some(before) if before.label.cluster != label.cluster => bail!(
                "{file} is of cluster {}, and {} before it of cluster {}",
                label.cluster,
                before.file,
                before.label.cluster
            ),
            Some(before) if before.label.revision != label.since => bail!(
                "there is a gap: {file} begins behind revision {}, and {} before it ends at {}",
                label.since,
                before.file,
                before.label.revision
            ),
            Some(_) if label.since > label.revision => bail!("{file} ends before it begins"),
            Some(_) => {}
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The base.
    pub(super) fn base(&self) -> &Entry {
        &self.entries[0]
    }

    /// The newest file.
    pub(super) fn newest(&self) -> &Entry {
        self.entries.last().expect("a chain has a base")
    }
}

impl Entry {
    /// The file of that chain behind so many others of it.
    pub(super) fn name(chain: u64, behind: usize) -> String {
        match behind {
            0 => format!("chain-{chain:06}-base.db"),
            number => format!("chain-{chain:06}-{number:06}.increment"),
        }
    }

    /// Its line in the manifest.
    pub(super) fn line(&self) -> Line {
        match self.label.since {
            0 => Line::Base(self.clone()),
            _ => Line::Increment(self.clone()),
        }
    }

    /// When it was made, by the member's clock.
    pub(super) fn time(&self) -> Result<Timestamp> {
        let time = self.label.time.parse();
        time.with_context(|| format!("{}: {:?} is no time", self.file, self.label.time))
    }

    /// Where it is. A crash may have left it under the name it had before it counted.
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        let path = dir.join(&self.file);
        let part = part(dir, &self.file);
        if !path.exists() && part.exists() { part } else { path }
    }
}

/// The name of a file that does not count yet.
pub(super) fn part(dir: &Path, file: &str) -> PathBuf {
    dir.join(format!("{file}{PART}"))
}

/// Whether a file is called like one that does not count yet.
pub(super) fn is_part(name: &str) -> bool {
    name.starts_with("chain-") && name.ends_with(PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(chain: u64, at: usize, since: u64, revision: u64) -> Entry {
        let label = Label {
            since,
            revision,
            time: "2026-11-30T05:51:31Z".into(),
            cluster: "c1".into(),
            ..Label::default()
        };
        let file = Entry::name(chain, at);
        Entry { chain, file, label, bytes: 7, sha256: "00".into() }
    }

    fn manifest() -> String {
        let lines = [
            Line::Begin { format: 1 },
            entry(1, 0, 0, 5).line(),
            entry(1, 1, 5, 9).line(),
            entry(2, 0, 0, 8).line(),
            Line::Drop { chain: 1 },
            entry(2, 1, 8, 8).line(),
        ];
        lines.iter().map(Line::text).collect()
    }

    fn said(text: &str) -> String {
        format!("{:#}", Manifest::parse(text.as_bytes()).expect_err("it is damaged"))
    }

    // Who restores must get what was written, and not what the rest of a crash seems to say.
    #[test]
    fn half_a_line_at_the_end_never_counted() {
        let text = manifest();
        let whole = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!((whole.chains.len(), whole.dropped.len(), whole.torn_bytes), (1, 1, 0));
        assert_eq!((whole.revision_max(), whole.newest().unwrap().label.since), (8, 8));
        let last = text[..text.len() - 1].rfind('\n').unwrap() + 1;
        for end in last + 1..text.len() {
            let torn = Manifest::parse(&text.as_bytes()[..end]).unwrap();
            assert_eq!((torn.sound_bytes, torn.torn_bytes), (last as u64, (end - last) as u64));
            assert_eq!(torn.newest().unwrap().label.since, 0);
        }
        let again = Manifest::parse(whole.text().as_bytes()).unwrap();
        assert_eq!((again.chains, again.dropped), (whole.chains, Vec::new()));
    }

    // A flipped digit of a revision would have somebody restore something else.
    #[test]
    fn every_flipped_bit_of_a_line_is_noticed() {
        let text = manifest();
        let end = text.rfind("{\"kind\":\"increment\"").unwrap() - 1;
        for at in 0..end {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Manifest::parse(&bytes).is_err(), "byte {at}");
        }
        let third = text.match_indices('\n').nth(1).unwrap().0 + 9;
        let mut bytes = text.into_bytes();
        bytes[third] ^= 1;
        let said = said(std::str::from_utf8(&bytes).unwrap());
        assert!(said.starts_with("line 3 is damaged: its checksum"), "{said}");
    }

    // What does not belong together must not be put together, whatever its checksums say.
    #[test]
    fn chains_are_of_one_cluster_and_without_gaps() {
        let begin = Line::Begin { format: 1 };
        let of = |entries: &[Entry]| {
            let lines = entries.iter().map(|entry| entry.line().text());
            said(&std::iter::once(begin.text()).chain(lines).collect::<String>())
        };
        let gap = of(&[entry(1, 0, 0, 5), entry(1, 2, 6, 9)]);
        assert!(gap.contains("chain-000001-000002.increment begins behind revision 6"), "{gap}");
        let mut stranger = entry(1, 1, 5, 9);
        stranger.label.cluster = "c2".into();
        let mixed = of(&[entry(1, 0, 0, 5), stranger]);
        assert!(mixed.contains("is of cluster c2, and chain-000001-base.db before it"), "{mixed}");
        assert!(of(&[entry(1, 1, 5, 9)]).contains("is an increment of no base"));
        assert!(of(&[entry(1, 0, 0, 5), entry(1, 0, 0, 5)]).contains("has two bases"));
    }
}
