//! A command as bytes: what the journal holds and members will send each other.
//!
//! ```text
//! command    1 byte  format version, 1
//!            1 byte  kind: 1 put, 2 delete range, 3 txn, 4 compact, 5 grant, 6 revoke, 7 alarm,
//!                    9 cluster init, 10 member add, 11 remove, 12 update, 13 promote,
//!                    14 publish, 15 cluster force, 16 users and roles
//!            body    by kind, to the last byte
//!
//! put        key bytes | value option<bytes> | lease option<zigzag> | prev_kv bool
//! delete     range | prev_kv bool
//! txn        compares count, each: range | relation 1 byte | target 1 byte + its value
//!            success  count, each: kind 1 byte (1 put, 2 delete, 3 txn, 8 range) + body
//!            failure  count, each: likewise
//! range op   range | revision option<varint> | limit varint | sort option<by 1 byte, order 1 byte>
//!            keys_only bool | count_only bool | four option<varint> revision bounds
//! compact    revision varint
//! grant      id zigzag | ttl zigzag
//! revoke     id zigzag
//! alarm      raise bool | member varint | alarm kind 1 byte
//! init       cluster varint | members count, each: member
//! add        member | learners_max varint
//! remove     id varint                                      (promote likewise)
//! update     id varint | peer URLs
//! publish    id varint | name bytes | client URLs
//! force      cluster varint | member
//! users      see `auth::format`
//! range      start bytes | end option<bytes>
//! member     see `members::format`, URLs too
//! ```
//!
//! The building blocks are those of [`crate::codec`]. A value has exactly one encoding.

use bytes::Bytes;

use crate::auth::format::{put_change, take_change};
use crate::codec::{Decoder, Malformed, put_bool, put_bytes, put_option, put_varint, put_zigzag};
use crate::command::{
    AlarmChange, AlarmKind, Command, Compact, Compare, CompareTarget, DeleteRange, LeaseGrant,
    LeaseRevoke, Put, RangeRequest, Relation, RevisionBounds, Sort, SortBy, SortOrder, Txn, TxnOp,
};
use crate::key_range::KeyRange;
use crate::members::format::{
    put_member, put_members, put_text, put_urls, take_member, take_members, take_name, take_urls,
};
use crate::types::LeaseId;

/// The only version there is.
const FORMAT_VERSION: u8 = 1;
/// Transactions nest no deeper in a journal, which bounds the decoder's stack; [`crate::limits`]
/// refuses what does. With etcd's limit on operations, of which every level costs at least one, no
/// command comes near.
pub(crate) const NESTING_MAX: usize = 256;

const KIND_PUT: u8 = 1;
const KIND_DELETE_RANGE: u8 = 2;
const KIND_TXN: u8 = 3;
const KIND_COMPACT: u8 = 4;
const KIND_LEASE_GRANT: u8 = 5;
const KIND_LEASE_REVOKE: u8 = 6;
const KIND_ALARM: u8 = 7;
/// Inside a transaction only.
const KIND_RANGE: u8 = 8;
const KIND_CLUSTER_INIT: u8 = 9;
const KIND_MEMBER_ADD: u8 = 10;
const KIND_MEMBER_REMOVE: u8 = 11;
const KIND_MEMBER_UPDATE: u8 = 12;
const KIND_MEMBER_PROMOTE: u8 = 13;
const KIND_MEMBER_PUBLISH: u8 = 14;
const KIND_CLUSTER_FORCE: u8 = 15;
const KIND_AUTH: u8 = 16;

impl Command {
    /// Appends the command's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT_VERSION);
        match self {
            Command::Put(put) => {
                out.push(KIND_PUT);
                encode_put(out, put);
            }
            Command::DeleteRange(delete) => {
                out.push(KIND_DELETE_RANGE);
                encode_delete(out, delete);
            }
            Command::Txn(txn) => {
                out.push(KIND_TXN);
                encode_txn(out, txn);
            }
            Command::Compact(compact) => {
                out.push(KIND_COMPACT);
                put_varint(out, compact.revision);
            }
            Command::LeaseGrant(grant) => {
                out.push(KIND_LEASE_GRANT);
                put_zigzag(out, grant.id.0);
                put_zigzag(out, grant.ttl);
            }
            Command::LeaseRevoke(revoke) => {
                out.push(KIND_LEASE_REVOKE);
                put_zigzag(out, revoke.id.0);
            }
            Command::Alarm(alarm) => {
                out.push(KIND_ALARM);
                put_bool(out, alarm.raise);
                put_varint(out, alarm.member);
                out.push(alarm.kind as u8);
            }
            Command::Auth(change) => {
                out.push(KIND_AUTH);
                put_change(out, change);
            }
            Command::ClusterInit { .. }
            | Command::MemberAdd { .. }
            | Command::MemberRemove { .. }
            | Command::MemberUpdate { .. }
            | Command::MemberPromote { .. }
            | Command::MemberPublish { .. }
            | Command::ClusterForce { .. } => encode_of_members(out, self),
        }
    }

    /// The command that `bytes` hold, all of them. Keys and values share the memory of `bytes`.
    pub fn decode(bytes: Bytes) -> Result<Command, Malformed> {
        let mut input = Decoder::new(bytes);
        if input.byte()? != FORMAT_VERSION {
            return Err(Malformed("unknown command format version"));
        }
        let command = match input.byte()? {
            KIND_PUT => Command::Put(decode_put(&mut input)?),
            KIND_DELETE_RANGE => Command::DeleteRange(decode_delete(&mut input)?),
            KIND_TXN => Command::Txn(decode_txn(&mut input, 0)?),
            KIND_COMPACT => Command::Compact(Compact { revision: input.varint()? }),
            KIND_LEASE_GRANT => Command::LeaseGrant(LeaseGrant {
                id: LeaseId(input.zigzag()?),
                ttl: input.zigzag()?,
            }),
            KIND_LEASE_REVOKE => Command::LeaseRevoke(LeaseRevoke { id: LeaseId(input.zigzag()?) }),
            KIND_ALARM => Command::Alarm(AlarmChange {
                raise: input.bool()?,
                member: input.varint()?,
                kind: AlarmKind::from_byte(input.byte()?).ok_or(Malformed("unknown alarm"))?,
            }),
            KIND_AUTH => Command::Auth(take_change(&mut input)?),
            kind => decode_of_members(&mut input, kind)?,
        };
        input.finish()?;
        Ok(command)
    }
}

impl AlarmKind {
    /// The kind whose disk number is `byte`.
    pub fn from_byte(byte: u8) -> Option<AlarmKind> {
        match byte {
            1 => Some(AlarmKind::NoSpace),
            2 => Some(AlarmKind::Corrupt),
            3 => Some(AlarmKind::DiskFull),
            _ => None,
        }
    }
}

fn encode_of_members(out: &mut Vec<u8>, command: &Command) {
    match command {
        Command::ClusterInit { cluster, members } => {
            out.push(KIND_CLUSTER_INIT);
            put_varint(out, *cluster);
            put_members(out, members);
        }
        Command::MemberAdd { member, learners_max } => {
            out.push(KIND_MEMBER_ADD);
            put_member(out, member);
            put_varint(out, *learners_max);
        }
        Command::MemberRemove { id } => {
            out.push(KIND_MEMBER_REMOVE);
            put_varint(out, *id);
        }
        Command::MemberUpdate { id, peer_urls } => {
            out.push(KIND_MEMBER_UPDATE);
            put_varint(out, *id);
            put_urls(out, peer_urls);
        }
        Command::MemberPromote { id } => {
            out.push(KIND_MEMBER_PROMOTE);
            put_varint(out, *id);
        }
        Command::MemberPublish { id, name, client_urls } => {
            out.push(KIND_MEMBER_PUBLISH);
            put_varint(out, *id);
            put_text(out, name);
            put_urls(out, client_urls);
        }
        Command::ClusterForce { cluster, member } => {
            out.push(KIND_CLUSTER_FORCE);
            put_varint(out, *cluster);
            put_member(out, member);
        }
        _ => unreachable!("the caller has seen that it is of members"),
    }
}

fn decode_of_members(input: &mut Decoder, kind: u8) -> Result<Command, Malformed> {
    Ok(match kind {
        KIND_CLUSTER_INIT => {
            Command::ClusterInit { cluster: input.varint()?, members: take_members(input)? }
        }
        KIND_MEMBER_ADD => {
            Command::MemberAdd { member: take_member(input)?, learners_max: input.varint()? }
        }
        KIND_MEMBER_REMOVE => Command::MemberRemove { id: input.varint()? },
        KIND_MEMBER_UPDATE => {
            Command::MemberUpdate { id: input.varint()?, peer_urls: take_urls(input)? }
        }
        KIND_MEMBER_PROMOTE => Command::MemberPromote { id: input.varint()? },
        KIND_MEMBER_PUBLISH => Command::MemberPublish {
            id: input.varint()?,
            name: take_name(input)?,
            client_urls: take_urls(input)?,
        },
        KIND_CLUSTER_FORCE => {
            Command::ClusterForce { cluster: input.varint()?, member: take_member(input)? }
        }
        _ => return Err(Malformed("unknown command kind")),
    })
}

fn encode_range(out: &mut Vec<u8>, range: &KeyRange) {
    put_bytes(out, &range.start);
    put_option(out, range.end.as_ref(), |out, end| put_bytes(out, end));
}

fn decode_range(input: &mut Decoder) -> Result<KeyRange, Malformed> {
    Ok(KeyRange { start: input.bytes()?, end: input.option(Decoder::bytes)? })
}

fn encode_put(out: &mut Vec<u8>, put: &Put) {
    put_bytes(out, &put.key);
    put_option(out, put.value.as_ref(), |out, value| put_bytes(out, value));
    put_option(out, put.lease, |out, lease| put_zigzag(out, lease.0));
    put_bool(out, put.prev_kv);
}

fn decode_put(input: &mut Decoder) -> Result<Put, Malformed> {
    Ok(Put {
        key: input.bytes()?,
        value: input.option(Decoder::bytes)?,
        lease: input.option(Decoder::zigzag)?.map(LeaseId),
        prev_kv: input.bool()?,
    })
}

fn encode_delete(out: &mut Vec<u8>, delete: &DeleteRange) {
    encode_range(out, &delete.range);
    put_bool(out, delete.prev_kv);
}

fn decode_delete(input: &mut Decoder) -> Result<DeleteRange, Malformed> {
    Ok(DeleteRange { range: decode_range(input)?, prev_kv: input.bool()? })
}

fn encode_range_request(out: &mut Vec<u8>, request: &RangeRequest) {
    encode_range(out, &request.range);
    put_option(out, request.revision, put_varint);
    put_varint(out, request.limit as u64);
    put_option(out, request.sort, |out, sort| {
        out.push(sort.by as u8);
        out.push(sort.order as u8);
    });
    put_bool(out, request.keys_only);
    put_bool(out, request.count_only);
    let RevisionBounds { mod_min, mod_max, create_min, create_max } = request.bounds;
    for bound in [mod_min, mod_max, create_min, create_max] {
        put_option(out, bound, put_varint);
    }
}

fn decode_range_request(input: &mut Decoder) -> Result<RangeRequest, Malformed> {
    Ok(RangeRequest {
        range: decode_range(input)?,
        revision: input.option(Decoder::varint)?,
        limit: usize::try_from(input.varint()?).map_err(|_| Malformed("limit is too large"))?,
        sort: input.option(decode_sort)?,
        keys_only: input.bool()?,
        count_only: input.bool()?,
        bounds: RevisionBounds {
            mod_min: input.option(Decoder::varint)?,
            mod_max: input.option(Decoder::varint)?,
            create_min: input.option(Decoder::varint)?,
            create_max: input.option(Decoder::varint)?,
        },
    })
}

fn decode_sort(input: &mut Decoder) -> Result<Sort, Malformed> {
    let by = match input.byte()? {
        0 => SortBy::Key,
        1 => SortBy::Version,
        2 => SortBy::Create,
        3 => SortBy::Mod,
        4 => SortBy::Value,
        _ => return Err(Malformed("unknown sort target")),
    };
    let order = match input.byte()? {
        0 => SortOrder::Ascend,
        1 => SortOrder::Descend,
        2 => SortOrder::AscendAfterLimit,
        _ => return Err(Malformed("unknown sort order")),
    };
    Ok(Sort { by, order })
}

fn encode_txn(out: &mut Vec<u8>, txn: &Txn) {
    put_varint(out, txn.compares.len() as u64);
    for compare in &txn.compares {
        encode_compare(out, compare);
    }
    for branch in [&txn.success, &txn.failure] {
        put_varint(out, branch.len() as u64);
        for op in branch {
            encode_op(out, op);
        }
    }
}

fn decode_txn(input: &mut Decoder, depth: usize) -> Result<Txn, Malformed> {
    if depth == NESTING_MAX {
        return Err(Malformed("transactions nest too deep"));
    }
    let compares = decode_list(input, decode_compare)?;
    let success = decode_list(input, |input| decode_op(input, depth))?;
    let failure = decode_list(input, |input| decode_op(input, depth))?;
    Ok(Txn { compares, success, failure })
}

fn decode_list<T>(
    input: &mut Decoder,
    mut read: impl FnMut(&mut Decoder) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = input.count()?;
    // Not reserved up front: `count` bytes of input are cheap, `count` operations are not.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(read(input)?);
    }
    Ok(items)
}

fn encode_op(out: &mut Vec<u8>, op: &TxnOp) {
    match op {
        TxnOp::Range(request) => {
            out.push(KIND_RANGE);
            encode_range_request(out, request);
        }
        TxnOp::Put(put) => {
            out.push(KIND_PUT);
            encode_put(out, put);
        }
        TxnOp::DeleteRange(delete) => {
            out.push(KIND_DELETE_RANGE);
            encode_delete(out, delete);
        }
        TxnOp::Txn(txn) => {
            out.push(KIND_TXN);
            encode_txn(out, txn);
        }
    }
}

fn decode_op(input: &mut Decoder, depth: usize) -> Result<TxnOp, Malformed> {
    match input.byte()? {
        KIND_RANGE => decode_range_request(input).map(TxnOp::Range),
        KIND_PUT => decode_put(input).map(TxnOp::Put),
        KIND_DELETE_RANGE => decode_delete(input).map(TxnOp::DeleteRange),
        KIND_TXN => decode_txn(input, depth + 1).map(TxnOp::Txn),
        _ => Err(Malformed("unknown operation kind")),
    }
}

fn encode_compare(out: &mut Vec<u8>, compare: &Compare) {
    encode_range(out, &compare.range);
    out.push(compare.relation as u8);
    match &compare.target {
        CompareTarget::Version(version) => {
            out.push(0);
            put_zigzag(out, *version);
        }
        CompareTarget::Create(revision) => {
            out.push(1);
            put_zigzag(out, *revision);
        }
        CompareTarget::Mod(revision) => {
            out.push(2);
            put_zigzag(out, *revision);
        }
        CompareTarget::Value(value) => {
            out.push(3);
            put_bytes(out, value);
        }
        CompareTarget::Lease(lease) => {
            out.push(4);
            put_zigzag(out, lease.0);
        }
        CompareTarget::Unknown => out.push(5),
    }
}

fn decode_compare(input: &mut Decoder) -> Result<Compare, Malformed> {
    let range = decode_range(input)?;
    let relation = match input.byte()? {
        0 => Relation::Equal,
        1 => Relation::Greater,
        2 => Relation::Less,
        3 => Relation::NotEqual,
        4 => Relation::Any,
        _ => return Err(Malformed("unknown relation")),
    };
    let target = match input.byte()? {
        0 => CompareTarget::Version(input.zigzag()?),
        1 => CompareTarget::Create(input.zigzag()?),
        2 => CompareTarget::Mod(input.zigzag()?),
        3 => CompareTarget::Value(input.bytes()?),
        4 => CompareTarget::Lease(LeaseId(input.zigzag()?)),
        5 => CompareTarget::Unknown,
        _ => return Err(Malformed("unknown compare target")),
    };
    Ok(Compare { range, relation, target })
}
