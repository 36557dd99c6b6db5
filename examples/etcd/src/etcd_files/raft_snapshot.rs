//! The raft snapshots that etcd writes beside its database: who was a member at their index.
//!
//! ```text
//!   <data-dir>/member/snap/<term, 16 hex>-<index, 16 hex>.snap
//!
//!   checksum (CRC-32C of what follows) │ raft snapshot: data, index, term
//!   data     JSON: a tree of nodes with values, of which these matter
//!            /0/members/<id>/raftAttributes   {"peerURLs":[…]}
//!            /0/members/<id>/attributes       {"name":"…","clientURLs":[…]}
//!            /0/removed_members/<id>
//! ```
//!
//! The keys are in the database, and there are members, too. But up to 3.4 it is this tree, and the
//! changes in the journal behind it, that etcd believes: after `etcdctl snapshot restore` its
//! database knows of no members at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use prost::Message;
use serde::Deserialize;

use super::crc32c::Crc32c;
use super::members::{Described, Table, parse_id};
use super::messages::{RaftSnapshot, SnapFile};

/// A node of the tree.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Node {
    value: String,
    children: Option<BTreeMap<String, Node>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tree {
    root: Node,
}

impl Node {
    fn at(&self, path: &[&str]) -> Option<&Node> {
        let [first, rest @ ..] = path else { return Some(self) };
        self.children.as_ref()?.get(*first)?.at(rest)
    }

    fn children(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.children.iter().flatten()
    }
}

/// The members in the newest sound snapshot that is not of a later index than `index_max`, and its
/// index; nothing if there is none.
///
/// # Errors
///
/// If the folder cannot be read, or a sound snapshot not be understood.
pub(crate) fn newest(dir: &Path, index_max: u64) -> Result<Option<(u64, Table)>> {
    let mut newest = None;
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "snap") {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // etcd takes an older one, too, where the newest is damaged.
        let Some(snapshot) = open(&bytes) else { continue };
        let index = snapshot.metadata.unwrap_or_default().index;
        if index <= index_max && newest.as_ref().is_none_or(|(other, _)| *other < index) {
            let table = table(&snapshot.data);
            newest = Some((index, table.with_context(|| format!("in {}", path.display()))?));
        }
    }
    Ok(newest)
}

fn open(bytes: &[u8]) -> Option<RaftSnapshot> {
    let file = SnapFile::decode(bytes).ok()?;
    let mut crc = Crc32c::default();
    crc.update(&file.data);
    if crc.0 != file.crc {
        return None;
    }
    RaftSnapshot::decode(file.data).ok()
}

fn table(tree: &[u8]) -> Result<Table> {
    let Tree { root } = serde_json::from_slice(tree).context("the members cannot be read")?;
    let mut table = Table::default();
    for (id, node) in root.at(&["0", "members"]).into_iter().flat_map(Node::children) {
        let id = parse_id(id.as_bytes()).context("a member's id is not one")?;
        let part = |name: &str| -> Result<Described> {
            let node = node.at(&[name]);
            node.map_or_else(
                || Ok(Described::default()),
                |node| Ok(serde_json::from_str(&node.value)?),
            )
        };
        let mut member = part("raftAttributes")?.member(id);
        let said = part("attributes")?.member(id);
        (member.name, member.client_urls) = (said.name, said.client_urls);
        table.members.insert(id, member);
    }
    for (id, _) in root.at(&["0", "removed_members"]).into_iter().flat_map(Node::children) {
        table.removed.insert(parse_id(id.as_bytes()).context("a member's id is not one")?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd_files::messages::SnapshotMeta;

    fn file(index: u64, name: &str) -> Vec<u8> {
        let said = format!(r#"{{\"name\":\"{name}\",\"clientURLs\":[\"c\"]}}"#);
        let raft = r#"{\"peerURLs\":[\"p\"],\"isLearner\":true}"#;
        let member = format!(
            r#"{{"attributes":{{"Value":"{said}"}},"raftAttributes":{{"Value":"{raft}"}}}}"#
        );
        let members = format!(r#"{{"Children":{{"a":{{"Children":{member}}}}}}}"#);
        let removed = r#"{"Children":{"b":{"Value":"removed"}}}"#;
        let zero = format!(r#"{{"members":{members},"removed_members":{removed}}}"#);
        let root = format!(r#"{{"Path":"/","Children":{{"0":{{"Children":{zero}}}}}}}"#);
        let tree = format!(r#"{{"Root":{root},"CurrentIndex":9}}"#);
        let metadata = Some(SnapshotMeta { index, term: 1 });
        let data = RaftSnapshot { data: tree.into(), metadata }.encode_to_vec();
        let mut crc = Crc32c::default();
        crc.update(&data);
        SnapFile { crc: crc.0, data: data.into() }.encode_to_vec()
    }

    // A damaged snapshot, or one of entries that are not in the journal, would name other members.
    #[test]
    fn newest_sound_snapshot_names_the_members() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        assert_eq!(newest(dir.path(), 9).unwrap(), None);
        write("1.snap", &file(3, "three"));
        write("2.snap", &file(5, "five"));
        write("3.snap", &file(10, "ten"));
        write("db", b"");
        let mut damaged = file(7, "seven");
        let last = damaged.len() - 3;
        damaged[last] ^= 1;
        write("4.snap", &damaged);
        let (index, table) = newest(dir.path(), 9).unwrap().unwrap();
        let member = &table.members[&10];
        assert_eq!((index, member.name.as_str(), member.is_learner), (5, "five", true));
        assert_eq!(
            (&member.peer_urls[..], &member.client_urls[..]),
            (&["p".to_owned()][..], &["c".to_owned()][..])
        );
        assert_eq!(table.removed, [11].into());
    }
}
