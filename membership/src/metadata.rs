//! A member's metadata: keys and values that it alone writes and everyone can read.
//!
//! Each change has the next version of its member. To bring another up to date it is enough to send
//! what has changed since the version that it has, so a change costs what it is worth however much
//! there is, and there is no limit but the configured one.
//!
//! ```text
//!     member 8, life 4, since varint, version varint, count varint, then for each entry
//!         key      varint, bytes
//!         version  varint            1 or more
//!         value    0 if it was removed; else 1, varint, bytes
//! ```
//!
//! *since* is the version that the receiver must have for these entries to be all that it lacks; 0
//! is a full copy, which takes the place of what was there. A removed key is kept as a *tombstone*,
//! so that the removal travels; of those the last [`TOMBSTONES_MAX`] are kept, and whoever is
//! further behind is sent a full copy.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::types::NodeId;
use crate::wire::{Put, Reader};

/// The most bytes of a key.
pub const KEY_BYTES_MAX: usize = 256;
/// How many removed keys are remembered.
const TOMBSTONES_MAX: usize = 64;

/// Versioned keys and values.
///
/// * `version` is that of the newest entry, or above.
/// * `floor` is at least the version of every tombstone that was forgotten.
/// * `bytes` are those of all keys and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) version: u64,
    floor: u64,
    entries: BTreeMap<Box<str>, Entry>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    version: u64,
    value: Option<Bytes>,
}

/// What a delta says before its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta<'a> {
    pub(crate) id: NodeId,
    pub(crate) life: u32,
    pub(crate) since: u64,
    pub(crate) version: u64,
    entries: Vec<(&'a str, u64, Option<&'a [u8]>)>,
}

impl Metadata {
    pub(crate) fn get(&self, key: &str) -> Option<&Bytes> {
        self.entries.get(key)?.value.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, entry)| Some((&**key, entry.value.as_ref()?)))
    }

    /// Sets or removes a key. Whether anything has changed.
    pub(crate) fn set(
        &mut self,
        key: &str,
        value: Option<Bytes>,
        bytes_max: usize,
    ) -> Result<bool> {
        if key.len() > KEY_BYTES_MAX {
            let bytes_max = KEY_BYTES_MAX;
            return Err(Error::TooLarge { what: "a key", bytes: key.len(), bytes_max });
        }
        if self.get(key) == value.as_ref() {
            return Ok(false);
        }
        let cost = |value: &Option<Bytes>| key.len() + value.as_ref().map_or(0, Bytes::len);
        let old = self.entries.get(key).map_or(0, |entry| cost(&entry.value));
        let bytes = self.bytes - old + cost(&value);
        if bytes > bytes_max {
            return Err(Error::TooLarge { what: "metadata", bytes, bytes_max });
        }
        self.version += 1;
        self.bytes = bytes;
        self.entries.insert(key.into(), Entry { version: self.version, value });
        self.forget_tombstones();
        Ok(true)
    }

    /// Those of all keys and values.
    fn count_bytes(&self) -> usize {
        let costs = self.entries.iter();
        costs.map(|(key, it)| key.len() + it.value.as_ref().map_or(0, Bytes::len)).sum()
    }

    fn forget_tombstones(&mut self) {
        let removed = self.entries.iter().filter(|(_, entry)| entry.value.is_none());
        let mut versions: Vec<u64> = removed.map(|(_, entry)| entry.version).collect();
        if versions.len() <= TOMBSTONES_MAX {
            return;
        }
        versions.sort_unstable();
        let last = versions[versions.len() - TOMBSTONES_MAX - 1];
        self.floor = self.floor.max(last);
        self.entries.retain(|_, entry| entry.value.is_some() || entry.version > last);
        self.bytes = self.count_bytes();
    }

    /// What somebody lacks who has this version.
    pub(crate) fn delta(&self, id: NodeId, life: u32, since: u64) -> Vec<u8> {
        let since = if since < self.floor { 0 } else { since };
        let newer = |entry: &Entry| entry.version > since && (since > 0 || entry.value.is_some());
        let mut out = Vec::new();
        out.put_id(id);
        out.put_u32(life);
        out.put_varint(since);
        out.put_varint(self.version);
        out.put_varint(self.entries.values().filter(|entry| newer(entry)).count() as u64);
        for (key, entry) in self.entries.iter().filter(|(_, entry)| newer(entry)) {
            out.put_slice(key.as_bytes());
            out.put_varint(entry.version);
            out.push(u8::from(entry.value.is_some()));
            if let Some(value) = &entry.value {
                out.put_slice(value);
            }
        }
        out
    }

    /// Takes a delta in, and says which keys have changed; `None` if what is between is missing, or
    /// if it is more than is allowed.
    pub(crate) fn apply(&mut self, delta: &Delta<'_>, bytes_max: usize) -> Option<Vec<String>> {
        if delta.version <= self.version || delta.since > self.version {
            return (delta.since <= self.version).then(Vec::new);
        }
        let mut next = if delta.since == 0 {
            Metadata { floor: delta.version, ..Metadata::default() }
        } else {
            self.clone()
        };
        for (key, version, value) in &delta.entries {
            let value = value.map(Bytes::copy_from_slice);
            next.entries.insert((*key).into(), Entry { version: *version, value });
        }
        next.version = delta.version;
        next.forget_tombstones();
        next.bytes = next.count_bytes();
        if next.bytes > bytes_max {
            return None;
        }
        let keys = self.entries.keys().chain(next.entries.keys());
        let mut changed: Vec<String> = keys
            .filter(|key| self.get(key) != next.get(key))
            .map(|key| String::from(&**key))
            .collect();
        changed.sort_unstable();
        changed.dedup();
        *self = next;
        Some(changed)
    }

    /// What it takes in memory, about.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.entries.len() * (size_of::<Entry>() + size_of::<Box<str>>() + 16)
    }
}

impl<'a> Delta<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Delta<'a>> {
        let place = reader.clone();
        let (id, life) = (reader.id()?, reader.u32()?);
        let since = reader.number(1 << 62, "a version out of bounds")?;
        let version = reader.number(1 << 62, "a version out of bounds")?;
        let count = reader.count(3)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let key = reader.text(KEY_BYTES_MAX, "a key of too many bytes")?;
            let entry_version = reader.number(version, "an entry newer than its delta")?;
            // No copy would have it, so that some would know it and others never.
            if entry_version == 0 {
                return reader.wrong("an entry of no version");
            }
            let value = match reader.byte()? {
                0 => None,
                1 => Some(reader.slice(1 << 20, "a value of too many bytes")?),
                _ => return reader.wrong("an entry neither set nor removed"),
            };
            entries.push((key, entry_version, value));
        }
        if since > version {
            return place.wrong("a delta to an older version");
        }
        Ok(Delta { id, life, since, version, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 16;

    fn value(text: &str) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Brings `to` up to date with `from`, and says which keys have changed.
    fn catch_up(from: &Metadata, to: &mut Metadata, since: u64) -> Option<Vec<String>> {
        let bytes = from.delta(NodeId(1), 2, since);
        let mut reader = Reader::new(&bytes, 0);
        let delta = Delta::read(&mut reader).unwrap();
        assert_eq!((delta.id, delta.life, reader.left()), (NodeId(1), 2, 0));
        to.apply(&delta, MAX)
    }

    fn same(one: &Metadata, other: &Metadata) -> bool {
        one.version == other.version && one.iter().eq(other.iter())
    }

    // What is sent must be what has changed, and arrive at the same.
    #[test]
    fn whoever_is_behind_is_sent_what_has_changed() {
        let (mut from, mut to) = (Metadata::default(), Metadata::default());
        from.set("a", value("1"), MAX).unwrap();
        from.set("b", value("2"), MAX).unwrap();
        assert_eq!(catch_up(&from, &mut to, 0).unwrap(), ["a", "b"]);
        from.set("a", None, MAX).unwrap();
        from.set("c", value("3"), MAX).unwrap();
        assert!(from.delta(NodeId(1), 2, 2).len() < from.delta(NodeId(1), 2, 0).len() + 8);
        assert_eq!(catch_up(&from, &mut to, 2).unwrap(), ["a", "c"]);
        assert!(same(&from, &to) && to.get("a").is_none());
        assert_eq!(catch_up(&from, &mut to, 2).unwrap(), [""; 0], "again, and nothing new");
    }

    // An entry that was missed would be missed for good.
    #[test]
    fn a_gap_is_noticed() {
        let (mut from, mut to) = (Metadata::default(), Metadata::default());
        for number in 0..5 {
            from.set(&format!("k{number}"), value("v"), MAX).unwrap();
        }
        assert_eq!(catch_up(&from, &mut to, 3), None);
        assert_eq!(to, Metadata::default());
    }

    // A removal that nobody remembers must not let the key live on elsewhere.
    #[test]
    fn whoever_is_behind_the_tombstones_gets_a_full_copy() {
        let (mut from, mut to) = (Metadata::default(), Metadata::default());
        from.set("stays", value("1"), MAX).unwrap();
        for number in 0..TOMBSTONES_MAX + 10 {
            from.set(&format!("k{number}"), value("v"), MAX).unwrap();
        }
        catch_up(&from, &mut to, 0).unwrap();
        let since = to.version;
        for number in 0..TOMBSTONES_MAX + 10 {
            from.set(&format!("k{number}"), None, MAX).unwrap();
        }
        assert!(from.entries.len() == TOMBSTONES_MAX + 1 && from.floor > since);
        assert_eq!(catch_up(&from, &mut to, since).unwrap().len(), TOMBSTONES_MAX + 10);
        assert!(same(&from, &to));
    }

    // An entry that no copy of a copy would have splits the cluster for good: sums are the same.
    #[test]
    fn an_entry_without_a_version_is_refused() {
        let mut from = Metadata::default();
        from.set("a", value("1"), MAX).unwrap();
        let mut bytes = from.delta(NodeId(1), 2, 0);
        assert!(Delta::read(&mut Reader::new(&bytes, 0)).is_ok());
        let place = bytes.len() - 4;
        assert_eq!(std::mem::take(&mut bytes[place]), 1);
        let what = "an entry of no version";
        let refused = Delta::read(&mut Reader::new(&bytes, 0));
        assert_eq!(refused, Err(Error::Packet { offset: place + 1, what }));
    }

    // What a member may write is bounded, and so is what it may make others keep.
    #[test]
    fn too_much_is_refused_on_both_sides() {
        let mut from = Metadata::default();
        from.set("a", value("12345"), 10).unwrap();
        let refused = from.set("b", value("123456"), 10);
        let (what, bytes, bytes_max) = ("metadata", 13, 10);
        assert_eq!(refused, Err(Error::TooLarge { what, bytes, bytes_max }));
        from.set("b", value("123456"), MAX).unwrap();
        let bytes = from.delta(NodeId(1), 2, 0);
        let delta = Delta::read(&mut Reader::new(&bytes, 0)).unwrap();
        assert_eq!(Metadata::default().apply(&delta, 10), None);
    }
}
