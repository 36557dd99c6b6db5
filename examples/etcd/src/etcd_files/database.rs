//! etcd's database, read.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use drystone_etcd_api::{etcdserverpb as pb, mvccpb};
use drystone_etcd_bolt::{Entry, File};
use drystone_kv::command::AlarmKind;
use drystone_kv::record::Record;
use drystone_kv::reply::Alarm;
use drystone_kv::runtime::Import;
use drystone_kv::types::{KeyValue, LeaseId, REVISION_FRESH, Revision};
use prost::Message;

use super::auth;
use super::buckets::{self, parse_revision_key};
use super::members::{Described, Table, parse_id};
use super::messages::Lease;

/// A database of etcd's.
pub(crate) struct Database {
    file: File,
    meta: Vec<(Bytes, Bytes)>,
}

/// Where the state of a database stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The newest main revision.
    pub(crate) revision: u64,
    /// The oldest readable main revision.
    pub(crate) compacted: Option<u64>,
}

impl Database {
    /// Opens the file, if it is a database of etcd's.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is something else.
    pub(crate) fn open(path: &Path) -> Result<Database> {
        let file = File::open(path)?;
        let mut database = Database { file, meta: Vec::new() };
        if database.file.bucket(buckets::KEY.as_bytes())?.is_none() {
            bail!("{} is a bbolt file, but not one of etcd's: no bucket `key`", path.display());
        }
        let mut meta = Vec::new();
        database.each(buckets::META, |entry| {
            meta.push((entry.key.clone(), entry.value.clone()));
            Ok(())
        })?;
        database.meta = meta;
        Ok(database)
    }

    /// The last entry of the journal whose effect is in it.
    pub(crate) fn index(&self) -> Result<u64> {
        self.number(buckets::META_INDEX)
    }

    /// That entry's term, if etcd has written it down (from 3.5 on); 0 otherwise.
    pub(crate) fn term(&self) -> Result<u64> {
        self.number(buckets::META_TERM)
    }

    fn meta(&self, key: &str) -> Option<&Bytes> {
        self.meta.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    fn number(&self, key: &str) -> Result<u64> {
        let Some(value) = self.meta(key) else { return Ok(0) };
        let bytes = value[..].try_into();
        let bytes = bytes.map_err(|_| self.odd(&format!("`{key}` is not 8 bytes wide")))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The compaction that was begun last: from then on nothing below it is shown, finished or not.
    fn compacted(&self) -> Result<Option<u64>> {
        let mut newest = None;
        for key in [buckets::META_SCHEDULED, buckets::META_FINISHED] {
            let Some(value) = self.meta(key) else { continue };
            let (revision, _) = parse_revision_key(value)
                .ok_or_else(|| self.odd(&format!("`{key}` is not a revision")))?;
            newest = newest.max(Some(revision.main));
        }
        Ok(newest)
    }

    /// Who is a member, and who was.
    pub(crate) fn table(&self) -> Result<Table> {
        let mut table = Table::default();
        self.each(buckets::MEMBERS, |entry| {
            let id = parse_id(&entry.key).ok_or_else(|| anyhow!("a member's id is not one"))?;
            let described: Described = serde_json::from_slice(&entry.value)?;
            table.members.insert(id, described.member(id));
            Ok(())
        })?;
        self.each(buckets::MEMBERS_REMOVED, |entry| {
            let id = parse_id(&entry.key).ok_or_else(|| anyhow!("a member's id is not one"))?;
            table.removed.insert(id);
            Ok(())
        })?;
        Ok(table)
    }

    /// Hands leases, records, alarms, users and roles over, in this order; says where that ends.
    pub(crate) fn pour(&self, import: &mut Import) -> Result<Reached> {
        self.each(buckets::LEASE, |entry| {
            let lease = Lease::decode(entry.value.clone())?;
            if lease.id == 0 || entry.key[..] != lease.id.to_be_bytes() {
                bail!("a lease does not stand under its own id");
            }
            Ok(import.lease(LeaseId(lease.id), lease.ttl)?)
        })?;
        let compacted = self.compacted()?;
        let mut revision = REVISION_FRESH.max(compacted.unwrap_or(0));
        self.each(buckets::KEY, |entry| {
            let (at, record) = record(entry)?;
            revision = revision.max(at.main);
            record.map_or(Ok(()), |record| Ok(import.record(at, &record)?))
        })?;
        self.each(buckets::ALARM, |entry| {
            let alarm = pb::AlarmMember::decode(entry.key.clone())?;
            let kind = match alarm.alarm() {
                pb::AlarmType::Nospace => AlarmKind::NoSpace,
                pb::AlarmType::Corrupt => AlarmKind::Corrupt,
                pb::AlarmType::None => bail!("an alarm is of no kind"),
            };
            import.alarm(Alarm { member: alarm.member_id, kind });
            Ok(())
        })?;
        let auth = auth::read(&self.file);
        import.auth(&auth.with_context(|| self.file.path().display().to_string())?);
        Ok(Reached { revision, compacted })
    }

    /// Visits the records of a bucket; none if there is no such bucket.
    fn each(&self, bucket: &str, mut visit: impl FnMut(&Entry) -> Result<()>) -> Result<()> {
        let Some(found) = self.file.bucket(bucket.as_bytes())? else { return Ok(()) };
        for entry in self.file.entries(&found) {
            let entry = entry?;
            visit(&entry).with_context(|| {
                let (file, page) = (self.file.path().display(), entry.page);
                format!("{file}: page {page}, bucket `{bucket}`: a record cannot be used")
            })?;
        }
        Ok(())
    }

    fn odd(&self, what: &str) -> anyhow::Error {
        anyhow!("{}: {what}", self.file.path().display())
    }
}

/// The revision that an entry of the bucket `key` stands at, and the record, unless it only marks
/// the revision: those of `--bump-revision` are of no key.
fn record(entry: &Entry) -> Result<(Revision, Option<Record>)> {
    let parsed = parse_revision_key(&entry.key);
    let (at, is_tombstone) = parsed.ok_or_else(|| anyhow!("its key is not a revision"))?;
    let kv = mvccpb::KeyValue::decode(entry.value.clone())?;
    if kv.key.is_empty() {
        return Ok((at, None));
    }
    if is_tombstone {
        return Ok((at, Some(Record::Tombstone { key: kv.key })));
    }
    let number = |number: i64| u64::try_from(number).context("a revision is negative");
    let kv = KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: number(kv.create_revision)?,
        mod_revision: number(kv.mod_revision)?,
        version: number(kv.version)?,
        lease: LeaseId(kv.lease),
    };
    if kv.mod_revision != at.main {
        bail!("it says that it is of revision {}, and stands at {at}", kv.mod_revision);
    }
    Ok((at, Some(Record::Put(kv))))
}
