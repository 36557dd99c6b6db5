//! Requests of one kind, by many clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use tokio::task::JoinSet;
use tonic::Status;

use super::histogram::Times;
use super::options::{Kind, Options};
use super::report::Report;
use super::schedule::Schedule;
use crate::remote::Remote;

/// How long a client waits after a request that failed: a server that is gone refuses at once.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Keys of a range.
const RANGE_KEYS: i64 = 100;
/// How long leases live, seconds: they end by themselves.
const LEASE_SECONDS: i64 = 60;

/// Requests of one kind.
pub(super) struct Load {
    pub(super) kind: Kind,
    pub(super) remotes: Vec<Remote>,
    pub(super) options: Options,
    keys: u64,
    pub(super) value: Bytes,
}

/// What one client, or all, have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) times: Times,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) last: Option<Instant>,
}

impl Seen {
    pub(super) fn note(&mut self, due: Instant, answered: Result<(), Status>) {
        let now = Instant::now();
        match answered {
            Ok(()) => {
                self.times.note(now - due);
                self.last = Some(now);
            }
            Err(status) => *self.errors.entry(status.message().to_owned()).or_default() += 1,
        }
    }

    pub(super) fn add(&mut self, other: Seen) {
        self.times.add(&other.times);
        for (text, count) in other.errors {
            *self.errors.entry(text).or_default() += count;
        }
        self.last = self.last.max(other.last);
    }
}

impl Load {
    pub(super) fn new(kind: Kind, options: &Options, remotes: Vec<Remote>) -> Load {
        // Not all the same: some disks compress.
        let byte = |at: usize| (at * 131 + at / 7 * 29) as u8;
        let value = (0..options.value_size).map(byte).collect::<Vec<_>>().into();
        Load { kind, keys: options.keys(), options: options.clone(), remotes, value }
    }

    /// Key number `number`, of the size that was asked for.
    pub(super) fn key(&self, number: u64) -> Bytes {
        let prefix = &self.options.prefix;
        let width = self.options.key_size - prefix.len();
        format!("{prefix}{:0width$}", number % self.keys).into()
    }

    pub(super) fn schedule(&self) -> Arc<Schedule> {
        let options = &self.options;
        Arc::new(Schedule::new(options.total(), options.time, options.rate))
    }

    /// Runs it.
    pub(super) async fn run(&self) -> Result<Report> {
        if matches!(self.kind, Kind::Get | Kind::GetSerializable | Kind::Range) {
            self.fill().await?;
        }
        let mut clients = Vec::with_capacity(self.options.clients());
        for number in 0..self.options.clients() {
            let remote = self.remotes[number % self.remotes.len()].clone();
            clients.push(Client::prepare(self, number as u64, remote).await?);
        }
        let schedule = self.schedule();
        let mut running = JoinSet::new();
        for client in clients {
            running.spawn(client.run(schedule.clone()));
        }
        let mut seen = Seen::default();
        for one in running.join_all().await {
            seen.add(one);
        }
        Ok(Report::new(self, &schedule, seen))
    }

    /// There must be something to read.
    async fn fill(&self) -> Result<()> {
        let mut kv = super::first(&self.remotes)?.kv();
        for number in 0..self.keys.min(1000) {
            let put = self.put(number);
            kv.put(put).await.map_err(|status| anyhow::anyhow!("{}", status.message()))?;
        }
        Ok(())
    }

    fn put(&self, number: u64) -> pb::PutRequest {
        pb::PutRequest { key: self.key(number), value: self.value.clone(), ..Default::default() }
    }
}

/// One client: what it needs for its next request.
struct Client {
    kind: Kind,
    remote: Remote,
    /// Makes keys.
    prefix: String,
    width: usize,
    keys: u64,
    value: Bytes,
    /// For transactions: its own key, and where it left it.
    own: (Bytes, i64),
    /// For keep-alives: the stream, and the lease.
    lease: Option<KeepAlive>,
}

struct KeepAlive {
    id: i64,
    ask: tokio::sync::mpsc::Sender<pb::LeaseKeepAliveRequest>,
    answers: tonic::Streaming<pb::LeaseKeepAliveResponse>,
}

impl Client {
    async fn prepare(load: &Load, number: u64, remote: Remote) -> Result<Client> {
        let options = &load.options;
        let own = format!("{}txn-{number}", options.prefix).into();
        let mut client = Client {
            kind: load.kind,
            prefix: options.prefix.clone(),
            width: options.key_size - options.prefix.len(),
            keys: load.keys,
            value: load.value.clone(),
            own: (own, 0),
            lease: None,
            remote,
        };
        let text = |status: Status| anyhow::anyhow!("{}", status.message());
        if load.kind == Kind::LeaseKeepAlive {
            client.lease = Some(client.keep_alive().await.map_err(text)?);
        }
        if load.kind == Kind::Txn {
            let (key, value) = (client.own.0.clone(), client.value.clone());
            let put = pb::PutRequest { key, value, ..Default::default() };
            let put = client.remote.kv().put(put).await.map_err(text)?.into_inner();
            client.own.1 = put.header.map_or(0, |header| header.revision);
        }
        Ok(client)
    }

    async fn keep_alive(&self) -> Result<KeepAlive, Status> {
        let grant = pb::LeaseGrantRequest { id: 0, ttl: LEASE_SECONDS };
        let id = self.remote.lease().lease_grant(grant).await?.into_inner().id;
        let (ask, asked) = tokio::sync::mpsc::channel(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(asked);
        // Some servers answer with headers only when they are asked for the first time.
        let first = ask.try_send(pb::LeaseKeepAliveRequest { id });
        first.map_err(|_| Status::internal("a new stream has room"))?;
        let mut answers = self.remote.lease().lease_keep_alive(stream).await?.into_inner();
        answers.message().await?;
        Ok(KeepAlive { id, ask, answers })
    }

    async fn run(mut self, schedule: Arc<Schedule>) -> Seen {
        let mut seen = Seen::default();
        while let Some((number, due)) = schedule.take() {
            tokio::time::sleep_until(due.into()).await;
            let answered = self.ask(number).await;
            let failed = answered.is_err();
            seen.note(due, answered);
            if failed {
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
        seen
    }

    fn key(&self, number: u64) -> Bytes {
        let (prefix, width) = (&self.prefix, self.width);
        format!("{prefix}{:0width$}", number % self.keys).into()
    }

    async fn ask(&mut self, number: u64) -> Result<(), Status> {
        let mut kv = self.remote.kv();
        let key = self.key(number);
        match self.kind {
            Kind::Put => self.put(key).await,
            Kind::Mixed if number.is_multiple_of(5) => self.put(key).await,
            Kind::Get | Kind::Mixed | Kind::GetSerializable => {
                let serializable = self.kind == Kind::GetSerializable;
                let get = pb::RangeRequest { key, serializable, ..Default::default() };
                kv.range(get).await.map(drop)
            }
            Kind::Range => {
                // From a key on, as far as keys go.
                let range_end = Bytes::from_static(&[0]);
                let range =
                    pb::RangeRequest { key, range_end, limit: RANGE_KEYS, ..Default::default() };
                kv.range(range).await.map(drop)
            }
            Kind::Txn => self.swap().await,
            Kind::LeaseGrant => {
                let grant = pb::LeaseGrantRequest { id: 0, ttl: LEASE_SECONDS };
                self.remote.lease().lease_grant(grant).await.map(drop)
            }
            Kind::LeaseKeepAlive => self.renew().await,
            Kind::Watch => unreachable!("it has a run of its own"),
        }
    }

    async fn put(&self, key: Bytes) -> Result<(), Status> {
        let put = pb::PutRequest { key, value: self.value.clone(), ..Default::default() };
        self.remote.kv().put(put).await.map(drop)
    }

    /// Writes its key if it is as it left it. Nobody else writes it: it always is.
    async fn swap(&mut self) -> Result<(), Status> {
        let (key, revision) = self.own.clone();
        let compare = pb::Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::ModRevision(revision)),
            ..Default::default()
        };
        let put =
            pb::PutRequest { key: key.clone(), value: self.value.clone(), ..Default::default() };
        let get = pb::RangeRequest { key, ..Default::default() };
        let op = |request| pb::RequestOp { request: Some(request) };
        let txn = pb::TxnRequest {
            compare: vec![compare],
            success: vec![op(Request::RequestPut(put))],
            failure: vec![op(Request::RequestRange(get))],
        };
        let done = self.remote.kv().txn(txn).await?.into_inner();
        let revision = done.header.map_or(0, |header| header.revision);
        if done.succeeded {
            self.own.1 = revision;
            return Ok(());
        }
        // An attempt whose answer was lost was done after all.
        let found = done.responses.into_iter().find_map(|response| match response.response {
            Some(pb::response_op::Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        self.own.1 = found.map_or(0, |kv| kv.mod_revision);
        Err(Status::aborted("the key was not as this client left it"))
    }

    async fn renew(&mut self) -> Result<(), Status> {
        if self.lease.is_none() {
            self.lease = Some(self.keep_alive().await?);
        }
        let broken = || Status::unavailable("the stream of keep-alives has ended");
        let Some(lease) = &mut self.lease else { return Err(broken()) };
        let asked = lease.ask.send(pb::LeaseKeepAliveRequest { id: lease.id }).await;
        let answered = match asked {
            Ok(()) => lease.answers.message().await,
            Err(_) => Err(broken()),
        };
        match answered {
            Ok(Some(answer)) if answer.ttl > 0 => Ok(()),
            Ok(Some(_)) => Err(Status::not_found("the lease has ended")),
            Ok(None) => {
                self.lease = None;
                Err(broken())
            }
            Err(status) => {
                self.lease = None;
                Err(status)
            }
        }
    }
}
