//! Members as bytes: in commands, and in the engine.
//!
//! ```text
//! member   id varint | name bytes | peer URLs | client URLs | is_learner bool
//! URLs     count varint, each: bytes
//!
//! Space::Meta    "cluster"             8 bytes   the cluster's id; absent: there is none yet
//!                "member/"  id 8 bytes  member   one that is there
//!                "removed/" id 8 bytes  empty    one that was there once
//! ```
//!
//! The building blocks are those of [`crate::codec`]; names and URLs are UTF-8; the numbers in keys
//! and of the cluster are big-endian. Whatever is decoded is within the bounds of
//! [`crate::limits`], and whoever changes the table sees to it that what is encoded is, too.

use bytes::Bytes;

use super::{Cluster, Edit, Member};
use crate::codec::{Decoder, Malformed, put_bool, put_bytes, put_varint};
use crate::engine::{Batch, Direction, Snapshot, Space};
use crate::error::Error;
use crate::limits::{MEMBER_NAME_BYTES_MAX, MEMBER_URL_BYTES_MAX, MEMBER_URLS_MAX, MEMBERS_MAX};
use crate::state::{damaged, load_number};

const META_CLUSTER: &[u8] = b"cluster";
const META_MEMBER: &[u8] = b"member/";
const META_REMOVED: &[u8] = b"removed/";

pub(crate) fn put_member(out: &mut Vec<u8>, member: &Member) {
    put_varint(out, member.id);
    put_text(out, &member.name);
    put_urls(out, &member.peer_urls);
    put_urls(out, &member.client_urls);
    put_bool(out, member.is_learner);
}

pub(crate) fn take_member(input: &mut Decoder) -> Result<Member, Malformed> {
    Ok(Member {
        id: input.varint()?,
        name: take_name(input)?,
        peer_urls: take_urls(input)?,
        client_urls: take_urls(input)?,
        is_learner: input.bool()?,
    })
}

pub(crate) fn put_members(out: &mut Vec<u8>, members: &[Member]) {
    put_varint(out, members.len() as u64);
    members.iter().for_each(|member| put_member(out, member));
}

pub(crate) fn take_members(input: &mut Decoder) -> Result<Vec<Member>, Malformed> {
    let count = input.count()?;
    if count > MEMBERS_MAX {
        return Err(Malformed("too many members"));
    }
    (0..count).map(|_| take_member(input)).collect()
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(crate) fn take_name(input: &mut Decoder) -> Result<String, Malformed> {
    take_text(input, MEMBER_NAME_BYTES_MAX, Malformed("a member's name is too long"))
}

pub(crate) fn put_urls(out: &mut Vec<u8>, urls: &[String]) {
    put_varint(out, urls.len() as u64);
    urls.iter().for_each(|url| put_text(out, url));
}

pub(crate) fn take_urls(input: &mut Decoder) -> Result<Vec<String>, Malformed> {
    let count = input.count()?;
    if count > MEMBER_URLS_MAX {
        return Err(Malformed("a member has too many URLs"));
    }
    let too_long = Malformed("a member's URL is too long");
    (0..count).map(|_| take_text(input, MEMBER_URL_BYTES_MAX, too_long)).collect()
}

fn take_text(input: &mut Decoder, max: usize, too_long: Malformed) -> Result<String, Malformed> {
    let bytes = input.bytes()?;
    if bytes.len() > max {
        return Err(too_long);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Malformed("not UTF-8"))?;
    Ok(text.to_owned())
}

impl Edit {
    /// Adds what the engine has to change.
    pub(crate) fn save(&self, batch: &mut Batch) {
        if let Some(id) = self.id {
            batch.put(Space::Meta, META_CLUSTER, Bytes::copy_from_slice(&id.to_be_bytes()));
        }
        for &id in &self.removed {
            batch.delete(Space::Meta, &meta_key(META_MEMBER, id));
            batch.put(Space::Meta, &meta_key(META_REMOVED, id), Bytes::new());
        }
        for member in &self.put {
            let mut bytes = Vec::new();
            put_member(&mut bytes, member);
            batch.put(Space::Meta, &meta_key(META_MEMBER, member.id), bytes.into());
        }
    }
}

/// Forgets the cluster and all its members, those that were removed among them.
#[cfg(feature = "runtime")]
pub(crate) fn forget_all(snapshot: &impl Snapshot, batch: &mut Batch) -> Result<(), Error> {
    let cluster = Cluster::load(snapshot)?;
    batch.delete(Space::Meta, META_CLUSTER);
    for id in cluster.removed {
        batch.delete(Space::Meta, &meta_key(META_REMOVED, id));
    }
    for member in cluster.members {
        batch.delete(Space::Meta, &meta_key(META_MEMBER, member.id));
    }
    Ok(())
}

impl Cluster {
    /// The cluster that an engine holds.
    pub(crate) fn load(snapshot: &impl Snapshot) -> Result<Cluster, Error> {
        let id = load_number(snapshot, META_CLUSTER)?;
        let mut cluster = Cluster { id, ..Cluster::default() };
        each_under(snapshot, META_REMOVED, |id, _| {
            cluster.removed.insert(id);
            Ok(())
        })?;
        each_under(snapshot, META_MEMBER, |id, bytes| {
            let mut input = Decoder::new(bytes);
            let member = take_member(&mut input).and_then(|member| input.finish().map(|()| member));
            let member = member.map_err(|malformed| damaged(malformed.0))?;
            if member.id != id || id == 0 || cluster.is_removed(id) {
                return Err(damaged("a member stands where it cannot be"));
            }
            cluster.members.push(member);
            Ok(())
        })?;
        let is_sound = match cluster.id {
            Some(_) => cluster.voters().next().is_some(),
            None => cluster.members.is_empty(),
        };
        if !is_sound {
            return Err(damaged("a cluster has no voter, or a member no cluster"));
        }
        Ok(cluster)
    }
}

fn meta_key(prefix: &[u8], id: u64) -> Vec<u8> {
    [prefix, &id.to_be_bytes()].concat()
}

/// Calls `visit` with the id and the value of every record under `prefix`, by id.
fn each_under(
    snapshot: &impl Snapshot,
    prefix: &[u8],
    mut visit: impl FnMut(u64, Bytes) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut end = prefix.to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    for entry in snapshot.range(Space::Meta, prefix, Some(&end), Direction::Forward) {
        let (key, bytes) = entry?;
        let id = <[u8; 8]>::try_from(&key[prefix.len()..]);
        let id = id.map_err(|_| damaged("a member's id is not 8 bytes wide"))?;
        visit(u64::from_be_bytes(id), bytes)?;
    }
    Ok(())
}
