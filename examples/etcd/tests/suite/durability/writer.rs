//! One client that writes, one request at a time, until the server is gone.
//!
//! | keys | whose | how they change |
//! |---|---|---|
//! | `k/<writer>/<n>` | its own | put, delete |
//! | `g/<writer>/<group>/<n>` | its own | all keys of a group at once |
//! | `l/<writer>/<n>` | its own | put on a lease of its own, or on none; deleted with the lease |
//! | `s/<n>` | everyone's | compare-and-swap |

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use drystone_etcd_api::etcdserverpb::request_op::Request;
use drystone_etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RequestOp, ResponseHeader, TxnRequest,
};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tonic::Status;

use super::chronicle::GROUP_KEYS;
use super::op::{Note, Op, Outcome};
use super::state::State;
use super::workload::{Common, outcome};

const KEYS: usize = 6;
const GROUPS: usize = 2;
const SHARED_KEYS: usize = 4;
/// Leases of one writer at a time.
const LEASES: usize = 2;
/// Long enough that none expires within a test.
const LEASE_TTL_SECONDS: i64 = 7200;
/// A lease's number is its writer's, times this, plus a count.
const LEASES_PER_WRITER: i64 = 1_000_000;

/// Where all groups begin.
pub(super) const GROUPS_PREFIX: &str = "g/";

pub(super) struct Writer {
    number: usize,
    round: u64,
    value_bytes: Range<usize>,
    dice: ChaCha8Rng,
    /// Requests so far.
    count: u64,
    /// Leases that stand.
    leases: Vec<i64>,
    lease_next: i64,
}

impl Writer {
    pub(super) fn new(
        number: usize,
        round: u64,
        value_bytes: Range<usize>,
        dice: ChaCha8Rng,
    ) -> Writer {
        Writer { number, round, value_bytes, dice, count: 0, leases: Vec::new(), lease_next: 0 }
    }

    /// The range of the keys that belong to writer `number` alone and to no group or lease.
    pub(super) fn keys_of(number: usize) -> (Bytes, Bytes) {
        (format!("k/{number}/").into(), format!("k/{number}0").into())
    }

    /// Writes until the crash; the last request may be without an answer.
    pub(super) async fn run(
        mut self,
        client: Client,
        state: State,
        common: Arc<Common>,
    ) -> Vec<Note> {
        let first = self.number as i64 * LEASES_PER_WRITER + 1;
        let mine = first..first + LEASES_PER_WRITER - 1;
        self.leases = state.leases.range(mine.clone()).map(|(id, _)| *id).collect();
        // Those of earlier rounds may have been revoked; their numbers must not come back.
        self.lease_next = first + self.round as i64 * 10_000;
        assert!(mine.contains(&self.lease_next), "the numbers of a writer's leases suffice");
        let mut notes = Vec::new();
        loop {
            let Some(op) = self.choose(&client, &common).await else { return notes };
            let sent_after = common.newest();
            let answer = ask(&client, &op, &common).await;
            let outcome = common.unless_crashed(answer, &format!("{op:?}"));
            let crashed = outcome.is_none();
            let outcome = outcome.unwrap_or(Outcome::Unknown);
            self.count += 1;
            match op {
                Op::Grant { lease, .. } => self.leases.push(lease),
                Op::Revoke { lease } => self.leases.retain(|id| *id != lease),
                _ => {}
            }
            notes.push(Note { op, sent_after, outcome });
            if crashed {
                return notes;
            }
        }
    }

    /// What to ask next; nothing if the server is gone.
    async fn choose(&mut self, client: &Client, common: &Common) -> Option<Op> {
        let value = self.value();
        let me = self.number;
        let own = |kind: &str, n: usize| Bytes::from(format!("{kind}/{me}/{n}"));
        let key = self.dice.random_range(0..KEYS);
        let group = format!("g/{me}/{}", self.dice.random_range(0..GROUPS));
        Some(match self.dice.random_range(0..100) {
            0..40 => Op::Put { key: own("k", key), value, lease: 0 },
            40..50 => Op::Delete { key: own("k", key) },
            50..68 => {
                let keys = (0..GROUP_KEYS).map(|n| format!("{group}/{n}").into());
                Op::SetGroup { keys: keys.collect(), value }
            }
            68..73 => {
                Op::DropGroup { key: format!("{group}/").into(), end: format!("{group}0").into() }
            }
            73..80 => {
                let key = Bytes::from(format!("s/{}", self.dice.random_range(0..SHARED_KEYS)));
                let request = RangeRequest { key: key.clone(), ..RangeRequest::default() };
                let answer = common.unless_crashed(client.kv().range(request).await, "a range")?;
                let expected = answer.into_inner().kvs.first().map_or(0, |kv| kv.mod_revision);
                Op::Swap { key, value, expected }
            }
            80..82 if !self.leases.is_empty() => {
                let lease = self.leases[self.dice.random_range(0..self.leases.len())];
                Op::Revoke { lease }
            }
            _ if self.leases.len() < LEASES => {
                self.lease_next += 1;
                Op::Grant { lease: self.lease_next, ttl: LEASE_TTL_SECONDS }
            }
            _ => {
                let at = self.dice.random_range(0..=self.leases.len());
                let lease = self.leases.get(at).copied().unwrap_or(0);
                Op::Put { key: own("l", key), value, lease }
            }
        })
    }

    /// A value that nobody writes again.
    fn value(&mut self) -> Bytes {
        let mut value = format!("{}.{}.{}.", self.number, self.round, self.count).into_bytes();
        let bytes = self.dice.random_range(self.value_bytes.clone());
        value.resize(bytes.max(value.len()), b'x');
        value.into()
    }
}

/// Asks for `op`, and says what the answer promises.
async fn ask(client: &Client, op: &Op, common: &Common) -> Result<Outcome, Status> {
    let revision =
        |header: Option<ResponseHeader>| header.expect("an answer has a header").revision;
    Ok(match op {
        Op::Put { key, value, lease } => {
            let answer = client.kv().put(put(key, value, *lease)).await?.into_inner();
            outcome(common, revision(answer.header), true)
        }
        Op::Delete { key } => {
            let request = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
            let answer = client.kv().delete_range(request).await?.into_inner();
            outcome(common, revision(answer.header), answer.deleted > 0)
        }
        Op::DropGroup { key, end } => {
            let (key, range_end) = (key.clone(), end.clone());
            let request = DeleteRangeRequest { key, range_end, ..DeleteRangeRequest::default() };
            let answer = client.kv().delete_range(request).await?.into_inner();
            outcome(common, revision(answer.header), answer.deleted > 0)
        }
        Op::SetGroup { keys, value } => {
            let puts = keys.iter().map(|key| operation(put(key, value, 0)));
            let request = TxnRequest { success: puts.collect(), ..TxnRequest::default() };
            let answer = client.kv().txn(request).await?.into_inner();
            outcome(common, revision(answer.header), true)
        }
        Op::Swap { key, value, expected } => {
            let request = TxnRequest {
                compare: vec![unchanged(key, *expected)],
                success: vec![operation(put(key, value, 0))],
                ..TxnRequest::default()
            };
            let answer = client.kv().txn(request).await?.into_inner();
            outcome(common, revision(answer.header), answer.succeeded)
        }
        Op::Grant { lease, ttl } => {
            let request = LeaseGrantRequest { id: *lease, ttl: *ttl };
            let answer = client.lease().lease_grant(request).await?.into_inner();
            outcome(common, revision(answer.header), false)
        }
        Op::Revoke { lease } => {
            let request = LeaseRevokeRequest { id: *lease };
            let answer = client.lease().lease_revoke(request).await?.into_inner();
            let header = revision(answer.header);
            common.heard(header);
            Outcome::By(header)
        }
    })
}

fn put(key: &Bytes, value: &Bytes, lease: i64) -> PutRequest {
    PutRequest { key: key.clone(), value: value.clone(), lease, ..PutRequest::default() }
}

fn operation(put: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// Holds if nobody has changed `key` since `revision`.
fn unchanged(key: &Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Compare::default()
    }
}
