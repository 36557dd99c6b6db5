//! A store as etcd is one: revisions, transactions, leases, watches; one that answers from one
//! place.
//!
//! Its state outlives its crashes, as that of a cluster with a quorum does. Leases get their whole
//! time again when it comes back, as etcd gives it to them when its leader changes.

use std::collections::BTreeMap;

use drystone_sim::NodeId;
use mason_core::keys::{Key, Keys};
use mason_core::mirror::Change;
use mason_core::txn::{Op, Txn};
use mason_core::types::Revision;

use crate::flaw::Flaw;
use crate::message::{CallId, Request, Response};

/// Changes that are kept for watchers; older ones are compacted.
const HISTORY_MAX: usize = 4000;
/// How long a question about changes is left open.
const POLL: u64 = 5_000;

#[derive(Clone, Debug)]
struct Value {
    value: Vec<u8>,
    made: Revision,
    changed: Revision,
    lease: Option<i64>,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl: u64,
    expires_at: u64,
}

/// Somebody who waits for changes.
#[derive(Clone, Debug)]
struct Poll {
    from: NodeId,
    call: CallId,
    prefix: String,
    since: Revision,
    until: u64,
}

/// The store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    revision: Revision,
    keys: BTreeMap<String, Value>,
    history: Vec<(Revision, Vec<Change>)>,
    compacted: Revision,
    leases: BTreeMap<i64, Lease>,
    next_lease: i64,
    polls: Vec<Poll>,
    /// Until then no poll is answered.
    lags_until: u64,
    is_lagging: bool,
    /// Transactions whose comparisons did not hold, by what was compared.
    refusals: BTreeMap<&'static str, u64>,
    flaw: Flaw,
}

impl Store {
    /// An empty one.
    pub fn new(flaw: Flaw) -> Store {
        Store { flaw, ..Store::default() }
    }

    /// Its newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What has changed after a revision, one entry a revision.
    pub fn since(&self, revision: Revision) -> impl Iterator<Item = &(Revision, Vec<Change>)> {
        let at = self.history.partition_point(|(it, _)| *it <= revision);
        self.history[at..].iter()
    }

    /// All keys with a prefix.
    pub fn list(&self, prefix: &str) -> Vec<Change> {
        let from = self.keys.range(prefix.to_owned()..);
        let those = from.take_while(|(path, _)| path.starts_with(prefix));
        those.map(|(path, value)| change(path, Some(value), 0)).collect()
    }

    /// It was restarted: leases get their time again, and nobody waits any more.
    pub fn restarted(&mut self, now: u64) {
        self.polls.clear();
        for lease in self.leases.values_mut() {
            lease.expires_at = now + lasts(self.flaw, lease.ttl);
        }
    }

    /// Answers a question, now or later.
    pub fn ask(
        &mut self,
        (from, call): (NodeId, CallId),
        request: Request,
        now: u64,
    ) -> Vec<(NodeId, CallId, Response)> {
        let answer = match request {
            Request::Commit(txn) => {
                let done = self.commit(&txn);
                Response::Committed { done, revision: self.revision }
            }
            Request::List(prefix) => Response::Listed(self.revision, self.list(&prefix)),
            Request::Poll(prefix, since) => {
                self.polls.retain(|it| (it.from, &it.prefix) != (from, &prefix));
                self.polls.push(Poll { from, call, prefix, since, until: now + POLL });
                return self.answer_polls(now);
            }
            Request::Grant(ttl) => {
                self.next_lease += 1;
                let lease = Lease { ttl, expires_at: now + lasts(self.flaw, ttl) };
                self.leases.insert(self.next_lease, lease);
                Response::Granted(self.next_lease)
            }
            Request::Renew(id) => {
                let flaw = self.flaw;
                let lease = self.leases.get_mut(&id);
                let there = lease.is_some();
                if let Some(lease) = lease {
                    lease.expires_at = now + lasts(flaw, lease.ttl);
                }
                Response::Renewed(there)
            }
            Request::Revoke(id) => {
                self.drop_lease(id);
                Response::Revoked
            }
        };
        let mut answers = vec![(from, call, answer)];
        answers.extend(self.answer_polls(now));
        answers
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) -> Vec<(NodeId, CallId, Response)> {
        let over = self.leases.iter().filter(|(_, lease)| lease.expires_at <= now);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_lease(id);
        }
        self.answer_polls(now)
    }

    /// When time has to be told.
    pub fn deadline(&self) -> Option<u64> {
        let lease = self.leases.values().map(|it| it.expires_at).min();
        let poll = self.polls.iter().map(|it| it.until).min().filter(|_| !self.is_lagging);
        let lag = (!self.polls.is_empty()).then_some(self.lags_until);
        let lag = lag.filter(|_| self.is_lagging);
        [lease, poll, lag].into_iter().flatten().min()
    }

    /// Does a transaction, if its comparisons hold.
    pub fn commit(&mut self, txn: &Txn) -> bool {
        assert!(txn.fits(), "a transaction within etcd's limits");
        let mut minded = txn.when.iter().filter(|it| self.flaw.minds(it.key()));
        let holds = minded.all(|compare| {
            let value = self.keys.get(compare.key());
            let (made, changed) = value.map_or((0, 0), |it| (it.made, it.changed));
            compare.holds(made, changed)
        });
        if !holds {
            self.note_refusal(txn);
            return false;
        }
        self.write(&txn.then);
        true
    }

    /// How often comparisons of each kind did not hold.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.iter().map(|(what, count)| (*what, *count))
    }

    fn note_refusal(&mut self, txn: &Txn) {
        for compare in &txn.when {
            let value = self.keys.get(compare.key());
            let (made, changed) = value.map_or((0, 0), |it| (it.made, it.changed));
            let what = match Keys::default().parse(compare.key()) {
                _ if compare.holds(made, changed) => continue,
                Some(Key::Lead(_)) => "refused: a former leader",
                Some(Key::Job(_)) => "refused: the job has changed",
                Some(Key::State(_)) => "refused: the state has changed",
                Some(Key::Task(_)) => "refused: the task has changed",
                Some(Key::Run(..)) => "refused: the run has changed",
                Some(Key::Result(_)) => "refused: the result is there, or another",
                Some(Key::Alive(_)) => "refused: the node lives, or does not, or anew",
                _ => "refused: something else has changed",
            };
            *self.refusals.entry(what).or_default() += 1;
        }
    }

    fn write(&mut self, ops: &[Op]) {
        let mut seen: Vec<&str> = ops.iter().map(Op::key).collect();
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "no key twice in {seen:?}");
        let revision = self.revision + 1;
        let mut changes = Vec::new();
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    assert!(
                        lease.is_none_or(|it| self.leases.contains_key(&it)),
                        "its lease lives"
                    );
                    let made = self.keys.get(key).map_or(revision, |it| it.made);
                    let value =
                        Value { value: value.clone(), made, changed: revision, lease: *lease };
                    changes.push(change(key, Some(&value), revision));
                    self.keys.insert(key.clone(), value);
                }
                Op::Delete(key) => {
                    if self.keys.remove(key).is_some() {
                        changes.push(change(key, None, revision));
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.revision = revision;
            self.history.push((revision, changes));
            if self.history.len() > HISTORY_MAX {
                self.compact(HISTORY_MAX / 2);
            }
        }
    }

    /// Forgets all changes but the newest so many.
    pub fn compact(&mut self, keep: usize) {
        let gone = self.history.len().saturating_sub(keep);
        if gone > 0 {
            self.compacted = self.history[gone - 1].0;
            self.history.drain(..gone);
        }
    }

    /// Whoever waits for changes waits in vain.
    pub fn cut(&mut self) {
        self.polls.clear();
    }

    /// Until then its watchers hear nothing.
    pub fn lag(&mut self, until: u64) {
        (self.is_lagging, self.lags_until) = (true, until);
    }

    /// The oldest lease that holds an office is revoked.
    pub fn depose(&mut self) {
        let keys = Keys::default();
        let leads =
            self.keys.iter().filter(|(path, _)| matches!(keys.parse(path), Some(Key::Lead(_))));
        let oldest = leads.min_by_key(|(_, it)| it.made).and_then(|(_, it)| it.lease);
        if let Some(lease) = oldest {
            self.drop_lease(lease);
        }
    }

    /// Whether a lease lives.
    pub fn has_lease(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    fn drop_lease(&mut self, id: i64) {
        self.leases.remove(&id);
        let its = self.keys.iter().filter(|(_, it)| it.lease == Some(id));
        let ops: Vec<Op> = its.map(|(key, _)| Op::Delete(key.clone())).collect();
        self.write(&ops);
    }

    fn answer_polls(&mut self, now: u64) -> Vec<(NodeId, CallId, Response)> {
        let mut answers = Vec::new();
        self.is_lagging &= now < self.lags_until;
        if self.is_lagging {
            return answers;
        }
        let mut polls = std::mem::take(&mut self.polls);
        polls.retain(|poll| {
            let answer = if poll.since <= self.compacted && self.revision >= poll.since {
                Some(Response::Compacted)
            } else {
                let after = self.since(poll.since - 1).flat_map(|(_, changes)| changes);
                let its = after.filter(|it| it.path.starts_with(&poll.prefix));
                let changes: Vec<Change> = its.cloned().collect();
                let is_due = !changes.is_empty() || poll.until <= now;
                is_due.then_some(Response::Changed(self.revision, changes))
            };
            answers.extend(answer.clone().map(|it| (poll.from, poll.call, it)));
            answer.is_none()
        });
        self.polls = polls;
        answers
    }
}

/// How long a lease of so long really lasts.
fn lasts(flaw: Flaw, ttl: u64) -> u64 {
    if flaw == Flaw::EarlyExpiry { ttl / 3 } else { ttl }
}

fn change(path: &str, value: Option<&Value>, at: Revision) -> Change {
    Change {
        path: path.to_owned(),
        value: value.map(|it| it.value.clone()),
        made: value.map_or(0, |it| it.made),
        changed: value.map_or(at, |it| it.changed),
    }
}
