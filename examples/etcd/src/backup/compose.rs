//! A base and increments made into one database of etcd's, as of a point.
//!
//! ```text
//!   bucket        from
//!   key           all files, up to the point
//!   lease         the small file; leases that keys hung on at the point, see below
//!   alarm, auth…, members…   the small file
//!   meta          the small file; what was compacted: there, or all, if the revision is bumped
//! ```
//!
//! The *small file* is the last that does not go beyond the point. If the point lies between two
//! files, a key may hang on a lease that was granted in between. The next file may still have it;
//! if not it has ended since, and nobody knows how long it was for: the key gets a lease of that
//! number for [`STRAY_TTL`] seconds, for it was meant to go.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use drystone_etcd_api::mvccpb;
use drystone_etcd_bolt::{File, Writer};
use drystone_kv::types::Revision;
use prost::Message;

use super::chain::Plan;
use super::manifest::Entry;
use crate::etcd_files::buckets::{self, parse_revision_key, revision_key};
use crate::etcd_files::messages::Lease;

/// How long a lease stands of which nothing is known but that a key hangs on it.
pub(super) const STRAY_TTL: i64 = 60;

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Composed {
    /// Where it stands.
    pub(super) revision: u64,
    /// How many leases were made up.
    pub(super) strays: usize,
}

/// Writes a database of the plan's point into `out`; at `bumped`, if it is to begin there.
///
/// # Errors
///
/// If a file is not what it should be, and those of `out`.
pub(super) fn compose(
    dir: &Path,
    plan: &Plan<'_>,
    bumped: Option<u64>,
    out: fs::File,
) -> Result<(fs::File, Composed)> {
    let mut files = Vec::with_capacity(plan.files.len().min(2));
    for at in [0, plan.small, plan.small + 1] {
        files.push(plan.files.get(at).map(|entry| entry.pages(dir)).transpose()?);
    }
    let [Some(base), Some(small), next] = &files[..] else {
        bail!("a plan has a base");
    };
    let mut leases = Leases::of(small, next.as_ref())?;
    let mut writer = Writer::new(out)?;
    for bucket in
        [buckets::ALARM, buckets::AUTH, buckets::AUTH_ROLES, buckets::AUTH_USERS, buckets::CLUSTER]
    {
        copy(&mut writer, small, bucket)?;
    }
    writer.begin(buckets::KEY.as_bytes())?;
    let last = write_records(&mut writer, dir, plan, &mut leases)?;
    let revision = bumped.unwrap_or(plan.point);
    let meta = meta(base, small, bumped)?;
    // As in a whole copy: where nothing else tells how far it has come, a record of no key does.
    let compacted = meta.get(buckets::META_SCHEDULED.as_bytes());
    let compacted = compacted.and_then(|key| parse_revision_key(key)).map_or(1, |(at, _)| at.main);
    if bumped.is_some() || revision > last.max(compacted) {
        writer.put(&revision_key(Revision::new(revision, 0), false), &[])?;
    }
    writer.begin(buckets::LEASE.as_bytes())?;
    let strays = leases.write(&mut writer)?;
    copy(&mut writer, small, buckets::MEMBERS)?;
    copy(&mut writer, small, buckets::MEMBERS_REMOVED)?;
    writer.begin(buckets::META.as_bytes())?;
    meta.iter().try_for_each(|(key, value)| writer.put(key, value))?;
    Ok((writer.finish()?, Composed { revision, strays }))
}

/// Copies a bucket as it is.
fn copy(writer: &mut Writer<impl Write + Seek>, from: &File, bucket: &str) -> Result<()> {
    writer.begin(bucket.as_bytes())?;
    let Some(found) = from.bucket(bucket.as_bytes())? else { return Ok(()) };
    for entry in from.entries(&found) {
        let entry = entry?;
        writer.put(&entry.key, &entry.value)?;
    }
    Ok(())
}

/// Writes the records up to the point; returns the main revision of the last.
fn write_records(
    writer: &mut Writer<impl Write + Seek>,
    dir: &Path,
    plan: &Plan<'_>,
    leases: &mut Leases,
) -> Result<u64> {
    let mut last = 0;
    // Up to where every lease that a key hangs on is known.
    let settled = plan.files[plan.small].label.revision;
    let settled = if settled <= plan.point { settled } else { 0 };
    for file in plan.files {
        let Entry { label, .. } = file;
        let pages = file.pages(dir)?;
        let Some(bucket) = pages.bucket(buckets::KEY.as_bytes())? else { continue };
        for entry in pages.entries(&bucket) {
            let entry = entry?;
            let odd = |what| anyhow!("{}: page {}: {what}", pages.path().display(), entry.page);
            let parsed = parse_revision_key(&entry.key);
            let (at, is_tombstone) = parsed.ok_or_else(|| odd("a record's key is no revision"))?;
            if at.main <= label.since || label.revision < at.main {
                return Err(odd("a record is of a revision that the file does not have"));
            }
            if at.main > plan.point {
                break;
            }
            // Such a one only marks a revision.
            if entry.value.is_empty() {
                continue;
            }
            if at.main > settled {
                leases.see(&entry.value, is_tombstone).with_context(|| odd("a record"))?;
            }
            writer.put(&entry.key, &entry.value)?;
            last = at.main;
        }
    }
    Ok(last)
}

/// The bucket `meta`.
fn meta(base: &File, small: &File, bumped: Option<u64>) -> Result<BTreeMap<Bytes, Bytes>> {
    let [finished, scheduled] = [buckets::META_FINISHED, buckets::META_SCHEDULED]
        .map(|name| Bytes::from_static(name.as_bytes()));
    let mut meta = all(small, buckets::META)?;
    if let Some(revision) = bumped {
        let key = revision_key(Revision::new(revision, 0), false);
        meta.insert(scheduled.clone(), key.into());
    }
    // What was swept of the small file's store is not of the base.
    meta.remove(&finished);
    let swept = all(base, buckets::META)?.remove(&finished);
    if let Some(swept) = swept.filter(|swept| meta.get(&scheduled).is_some_and(|all| swept <= all))
    {
        meta.insert(finished, swept);
    }
    Ok(meta)
}

/// All that a small bucket has.
fn all(file: &File, bucket: &str) -> Result<BTreeMap<Bytes, Bytes>> {
    let mut all = BTreeMap::new();
    let Some(found) = file.bucket(bucket.as_bytes())? else { return Ok(all) };
    for entry in file.entries(&found) {
        let entry = entry?;
        // By themselves: a page would be kept for each.
        all.insert(Bytes::copy_from_slice(&entry.key), Bytes::copy_from_slice(&entry.value));
    }
    Ok(all)
}

/// The leases that stand at the point.
struct Leases {
    standing: BTreeMap<Bytes, Bytes>,
    /// Those that may have been granted before the point or after it.
    later: BTreeMap<Bytes, Bytes>,
    /// Keys that hang on one of which nothing is known.
    strays: HashMap<Bytes, i64>,
}

impl Leases {
    fn of(small: &File, next: Option<&File>) -> Result<Leases> {
        let standing = all(small, buckets::LEASE)?;
        let later = next.map_or(Ok(BTreeMap::new()), |next| all(next, buckets::LEASE))?;
        Ok(Leases { standing, later, strays: HashMap::new() })
    }

    /// A key that changed since it was known which leases stand.
    fn see(&mut self, record: &Bytes, is_tombstone: bool) -> Result<()> {
        let kv = mvccpb::KeyValue::decode(record.clone())?;
        let id = kv.lease.to_be_bytes();
        if is_tombstone || kv.lease == 0 || self.standing.contains_key(&id[..]) {
            self.strays.remove(&kv.key);
        } else if let Some((id, lease)) = self.later.remove_entry(&id[..]) {
            self.standing.insert(id, lease);
            self.strays.remove(&kv.key);
        } else {
            self.strays.insert(Bytes::copy_from_slice(&kv.key), kv.lease);
        }
        Ok(())
    }

    /// Writes them; returns how many of them are made up.
    fn write(mut self, writer: &mut Writer<impl Write + Seek>) -> Result<usize> {
        let known = self.standing.len();
        for id in self.strays.into_values() {
            let lease = Lease { id, ttl: STRAY_TTL, remaining_ttl: 0 };
            let key = Bytes::copy_from_slice(&id.to_be_bytes());
            self.standing.insert(key, lease.encode_to_vec().into());
        }
        self.standing.iter().try_for_each(|(id, lease)| writer.put(id, lease))?;
        Ok(self.standing.len() - known)
    }
}
