//! Where the members were when this one last heard: what it dials after a restart.
//!
//! Who is a member stands in the replicated state, but a member that starts may hold only an older
//! one, or none, until it has talked to the others; and to talk to them it has to know where they
//! are. So that is written down beside the state, whenever it changes, with the position in the log
//! that it was true at; and what the state says counts only once it has come so far again. It is a
//! hint: a member that is dialled in vain has moved, and one that is not there any more does not
//! answer.
//!
//! ```text
//! peers = "drystone-etcd-peers 2\n"
//!         "founding\n"                as long as these are the founders, and no cluster stands
//!         "as of <position>\n"
//!         one line a member: <16 hex> <URL> <URL> …
//!         "crc=<8 hex>\n"             the CRC-32 of everything before
//! ```
//!
//! The first version had no position, and is read as of 0.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use drystone_kv::members::{Cluster, Member};
use drystone_raft::NodeId;

pub(crate) const FILE: &str = "peers";
const TMP: &str = "peers.tmp";
const FORMAT_NAME: &str = "drystone-etcd-peers";
/// The version that this build writes, and the one before, which it reads, too.
const VERSION: u32 = 2;
const VERSION_WITHOUT_POSITION: u32 = 1;
const FOUNDING: &str = "founding";
const AS_OF: &str = "as of ";

/// Where members are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Their peer URLs.
    pub(crate) members: BTreeMap<NodeId, Vec<String>>,
    /// They are to found a cluster, and none stands yet.
    pub(crate) founding: bool,
    /// All of the log up to here was applied when this was so.
    pub(crate) as_of: u64,
}

impl Known {
    /// Those who are to found a cluster.
    pub(crate) fn among(founders: &[Member]) -> Known {
        let members = founders.iter().map(|member| (member.id, member.peer_urls.clone()));
        Known { members: members.collect(), founding: true, as_of: 0 }
    }

    /// What the replicated state says that has applied the log up to `as_of`, or further.
    pub(crate) fn of(cluster: &Cluster, as_of: u64) -> Known {
        let members = cluster.members.iter().map(|member| (member.id, member.peer_urls.clone()));
        Known { members: members.collect(), founding: false, as_of }
    }
}

/// The file that says so.
pub(crate) struct Roll {
    dir: PathBuf,
    known: Known,
}

impl Roll {
    /// The file in `dir`.
    pub(crate) fn file(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// Reads the file in `dir`. One that is missing or damaged says nothing.
    pub(crate) fn open(dir: &Path) -> io::Result<Roll> {
        let file = Roll::file(dir);
        let known = match fs::read_to_string(&file) {
            Ok(text) => decode(&text).map(|(_, known)| known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Known::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        if known.is_none() {
            tracing::warn!(file = %file.display(), "the list of members is damaged and not used");
        }
        Ok(Roll { dir: dir.to_path_buf(), known: known.unwrap_or_default() })
    }

    /// The version of the file in `dir`, for whoever only looks: nothing inside if the file is
    /// damaged, or of a version that this build does not know; nothing at all if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn version(dir: &Path) -> io::Result<Option<Option<u32>>> {
        match fs::read_to_string(Roll::file(dir)) {
            Ok(text) => Ok(Some(decode(&text).map(|(version, _)| version))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(None)),
            Err(error) => Err(error),
        }
    }

    /// Where they were.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Whether `known` is at least as new as what was written down.
    pub(crate) fn is_news(&self, known: &Known) -> bool {
        known.as_of >= self.known.as_of
    }

    /// Writes down where they are now, if that has changed.
    pub(crate) fn keep(&mut self, known: Known) -> io::Result<()> {
        if (&known.members, known.founding) == (&self.known.members, self.known.founding) {
            return Ok(());
        }
        let tmp = self.dir.join(TMP);
        let mut file = File::create(&tmp)?;
        file.write_all(encode(&known).as_bytes())?;
        file.sync_all()?;
        fs::rename(&tmp, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()?;
        self.known = known;
        Ok(())
    }
}

fn encode(known: &Known) -> String {
    let mut text = format!("{FORMAT_NAME} {VERSION}\n");
    if known.founding {
        text.push_str(&format!("{FOUNDING}\n"));
    }
    text.push_str(&format!("{AS_OF}{}\n", known.as_of));
    for (id, urls) in &known.members {
        text.push_str(&format!("{id:016x} {}\n", urls.join(" ")));
    }
    let crc = crc32fast::hash(text.as_bytes());
    text + &format!("crc={crc:08x}\n")
}

fn decode(text: &str) -> Option<(u32, Known)> {
    let (body, last) = text.trim_end_matches('\n').rsplit_once('\n')?;
    let crc = u32::from_str_radix(last.strip_prefix("crc=")?, 16).ok()?;
    let body = format!("{body}\n");
    let mut lines = body.lines();
    let version = lines.next()?.strip_prefix(FORMAT_NAME)?.strip_prefix(' ')?.parse().ok()?;
    let is_known = [VERSION, VERSION_WITHOUT_POSITION].contains(&version);
    if crc != crc32fast::hash(body.as_bytes()) || !is_known {
        return None;
    }
    let (mut members, mut founding, mut as_of) = (BTreeMap::new(), false, 0);
    for line in lines {
        if line == FOUNDING {
            founding = true;
            continue;
        }
        if let Some(position) = line.strip_prefix(AS_OF) {
            as_of = position.parse().ok()?;
            continue;
        }
        let mut words = line.split(' ');
        let id = u64::from_str_radix(words.next()?, 16).ok()?;
        members.insert(id, words.filter(|url| !url.is_empty()).map(str::to_owned).collect());
    }
    Some((version, Known { members, founding, as_of }))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A member that does not find the others again is one less, for ever.
    #[test]
    fn what_is_kept_is_found_again_and_damage_is_noticed() {
        let tmp = tempfile::tempdir().unwrap();
        let mut roll = Roll::open(tmp.path()).unwrap();
        assert_eq!(roll.known(), &Known::default());
        let mut known = Known::default();
        known.members.insert(1, vec!["http://a:1".into(), "http://b:2".into()]);
        known.members.insert(u64::MAX, Vec::new());
        (known.founding, known.as_of) = (true, 77);
        roll.keep(known.clone()).unwrap();
        assert_eq!(Roll::open(tmp.path()).unwrap().known(), &known);
        let file = tmp.path().join(FILE);
        let text = fs::read(&file).unwrap();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            assert_eq!(Roll::open(tmp.path()).unwrap().known(), &Known::default(), "byte {at}");
        }
    }
}
