//! A copy of the store's state as a database of etcd's.
//!
//! All history that the store can still show is in it, so that watches from old revisions go on
//! where the copy is restored, be it here or by etcd.
//!
//! What came after a revision ([`write_since`]) is no database that anything can begin with: it
//! lacks what was there before. It has the shape of one all the same, with the records after that
//! revision alone.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use anyhow::Result;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb;
use drystone_etcd_bolt::Writer;
use drystone_kv::checkpoint::Content;
use drystone_kv::command::AlarmKind;
use drystone_kv::engine::Engine;
use drystone_kv::record::Record;
use drystone_kv::types::Revision;
use drystone_kv::{Auth, Checkpoint, Error};
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::auth;
use super::buckets::{self, revision_key};
use super::members::{Described, id_text};
use super::messages::Lease;
use crate::convert::{key_value, signed};
use crate::version;

/// Writes the state into `out`, which is empty, and returns that. `term` is of the consensus log.
///
/// # Errors
///
/// Those of `out` and of the store's engine.
pub(crate) fn write<E: Engine>(checkpoint: &Checkpoint<E>, term: u64, out: File) -> Result<File> {
    let content = checkpoint.content()?;
    let mut writer = Writer::new(out)?;
    // By name, as they stand in the file.
    write_alarms(&mut writer, &content)?;
    write_auth(&mut writer, &content.auth)?;
    // Which etcd it is to be is for the etcd that restores it to say: no cluster version.
    writer.begin(buckets::CLUSTER.as_bytes())?;
    writer.begin(buckets::KEY.as_bytes())?;
    let last = write_records(&mut writer, checkpoint.records())?;
    // Where nothing else tells how far the store has come (it was restored to a higher revision), a
    // record of no key does, as with `etcdutl snapshot restore --bump-revision`.
    if content.revision > last.max(content.compacted.unwrap_or(1)) {
        writer.put(&revision_key(Revision::new(content.revision, 0), false), &[])?;
    }
    write_leases(&mut writer, &content)?;
    write_members(&mut writer, &content)?;
    write_meta(&mut writer, &content, term)?;
    Ok(writer.finish()?)
}

/// Writes what came after revision `since`, and all that is no record as it is now, from where
/// `out` stands, and returns that.
///
/// # Errors
///
/// Those of `out` and of the store's engine.
pub(crate) fn write_since<E: Engine>(
    checkpoint: &Checkpoint<E>,
    content: &Content,
    since: u64,
    term: u64,
    out: File,
) -> Result<File> {
    let mut writer = Writer::new(out)?.leave_out_empty();
    write_alarms(&mut writer, content)?;
    write_auth(&mut writer, &content.auth)?;
    writer.begin(buckets::KEY.as_bytes())?;
    write_records(&mut writer, checkpoint.records_of(since + 1..=content.revision))?;
    write_leases(&mut writer, content)?;
    write_members(&mut writer, content)?;
    write_meta(&mut writer, content, term)?;
    Ok(writer.finish()?)
}

/// A hash of all that is no record, and the same on every member: leases, alarms, members, users
/// and roles.
///
/// # Errors
///
/// None that can be expected.
pub(crate) fn hash_of_small(content: &Content) -> Result<[u8; 32]> {
    let mut writer = Writer::new(Hashing(Sha256::new()))?;
    write_alarms(&mut writer, content)?;
    write_auth(&mut writer, &content.auth)?;
    write_leases(&mut writer, content)?;
    write_members(&mut writer, content)?;
    Ok(writer.finish()?.0.finalize().into())
}

/// Hashes what is written to it, in the order in which it is.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Hashing {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

fn write_alarms(writer: &mut Writer<impl Write + Seek>, content: &Content) -> Result<()> {
    writer.begin(buckets::ALARM.as_bytes())?;
    let alarm = |alarm: &drystone_kv::reply::Alarm| {
        let kind = match alarm.kind {
            AlarmKind::NoSpace => pb::AlarmType::Nospace,
            AlarmKind::Corrupt => pb::AlarmType::Corrupt,
            // It is about a disk that the copy will not lie on, and etcd would never let it go.
            AlarmKind::DiskFull => return None,
        };
        Some(pb::AlarmMember { member_id: alarm.member, alarm: kind.into() }.encode_to_vec())
    };
    let mut alarms: Vec<Vec<u8>> = content.alarms.iter().filter_map(alarm).collect();
    alarms.sort_unstable();
    for alarm in alarms {
        writer.put(&alarm, &[])?;
    }
    Ok(())
}

fn write_auth(writer: &mut Writer<impl Write + Seek>, from: &Auth) -> Result<()> {
    writer.begin(buckets::AUTH.as_bytes())?;
    for (key, value) in auth::settings(from) {
        writer.put(key, &value)?;
    }
    writer.begin(buckets::AUTH_ROLES.as_bytes())?;
    for (name, role) in auth::roles(from) {
        writer.put(name.as_bytes(), &role)?;
    }
    writer.begin(buckets::AUTH_USERS.as_bytes())?;
    for (name, user) in auth::users(from) {
        writer.put(name.as_bytes(), &user)?;
    }
    Ok(())
}

/// Writes records; returns the main revision of the last.
fn write_records(
    writer: &mut Writer<impl Write + Seek>,
    records: impl Iterator<Item = Result<(Revision, Record), Error>>,
) -> Result<u64> {
    let mut last = 0;
    let mut value = Vec::new();
    for record in records {
        let (revision, record) = record?;
        let (kv, is_tombstone) = match record {
            Record::Put(kv) => (key_value(kv), false),
            Record::Tombstone { key } => (mvccpb::KeyValue { key, ..Default::default() }, true),
        };
        value.clear();
        kv.encode(&mut value)?;
        writer.put(&revision_key(revision, is_tombstone), &value)?;
        last = revision.main;
    }
    Ok(last)
}

fn write_leases(writer: &mut Writer<impl Write + Seek>, content: &Content) -> Result<()> {
    writer.begin(buckets::LEASE.as_bytes())?;
    let mut leases = content.leases.clone();
    // Ids are signed, their bytes are not.
    leases.sort_unstable_by_key(|(id, _)| id.0.to_be_bytes());
    for (id, ttl) in leases {
        let lease = Lease { id: id.0, ttl, remaining_ttl: 0 };
        writer.put(&id.0.to_be_bytes(), &lease.encode_to_vec())?;
    }
    Ok(())
}

fn write_members(writer: &mut Writer<impl Write + Seek>, content: &Content) -> Result<()> {
    writer.begin(buckets::MEMBERS.as_bytes())?;
    let members = content.cluster.members.iter();
    let mut members: Vec<_> = members.map(|member| (id_text(member.id), member)).collect();
    members.sort_unstable_by(|one, two| one.0.cmp(&two.0));
    for (id, member) in members {
        writer.put(id.as_bytes(), &serde_json::to_vec(&Described::of(member))?)?;
    }
    writer.begin(buckets::MEMBERS_REMOVED.as_bytes())?;
    let mut removed: Vec<String> = content.cluster.removed.iter().map(|&id| id_text(id)).collect();
    removed.sort_unstable();
    for id in removed {
        writer.put(id.as_bytes(), buckets::REMOVED.as_bytes())?;
    }
    Ok(())
}

fn write_meta(writer: &mut Writer<impl Write + Seek>, content: &Content, term: u64) -> Result<()> {
    writer.begin(buckets::META.as_bytes())?;
    let voters: Vec<u64> = content.cluster.voters().map(|member| member.id).collect();
    let learners = content.cluster.members.iter().filter(|member| member.is_learner);
    let learners: Vec<u64> = learners.map(|member| member.id).collect();
    let mut conf_state = serde_json::json!({"voters": voters, "auto_leave": false});
    if !learners.is_empty() {
        conf_state["learners"] = learners.into();
    }
    let compaction = |at: u64| revision_key(Revision::new(at, 0), false);
    let finished = content.swept.filter(|swept| Some(*swept) <= content.compacted);
    let records = [
        (buckets::META_CONF_STATE, Some(serde_json::to_vec(&conf_state)?)),
        (buckets::META_INDEX, Some(content.applied.to_be_bytes().to_vec())),
        (buckets::META_FINISHED, finished.map(compaction)),
        (buckets::META_SCHEDULED, content.compacted.map(compaction)),
        (buckets::META_STORAGE_VERSION, Some(version::STORAGE.as_bytes().to_vec())),
        (buckets::META_TERM, Some(u64::try_from(signed(term))?.to_be_bytes().to_vec())),
    ];
    for (key, value) in records {
        if let Some(value) = value {
            writer.put(key.as_bytes(), &value)?;
        }
    }
    Ok(())
}
