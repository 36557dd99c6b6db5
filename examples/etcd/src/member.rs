//! The member: what every call needs to answer.
//!
//! One [`Member`] is shared by all connections on all threads. [`Shared`] implements every gRPC
//! service, one file each under [`crate::service`]; what they have in common is here.
//!
//! ```text
//!   connection ──► dispatch ──► service::kv, service::watch, … ──► Member { kv, limits, metrics }
//! ```

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::Caller;
use drystone_kv::command::Command;
use drystone_kv::reply::{AlarmReply, Reply};
use tonic::Status;

use crate::admission::{Admission, Class, Reason, class, line};
use crate::auth::Passwords;
use crate::comparison::RightOfWay;
use crate::config::Config;
use crate::convert::signed;
use crate::error_text;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::peers::Office;
use crate::place::Place;
use crate::relay::relayed;
use crate::shutdown::Shutdown;
use crate::store::{Error, Replica};
use crate::user_limits::UserLimits;

/// What gRPC itself adds to a request, by etcd's reckoning.
const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;
/// etcd asks again when nobody has confirmed a read for so long, and counts it as slow.
const SLOW_READ_INDEX: Duration = Duration::from_millis(500);

/// The member as tasks and threads share it.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Member>);

impl Deref for Shared {
    type Target = Member;

    fn deref(&self) -> &Member {
        &self.0
    }
}

/// What every call needs to answer.
pub(crate) struct Member {
    /// The store.
    pub(crate) kv: Replica,
    /// The way to the other members.
    pub(crate) office: Arc<Office>,
    /// Who this is.
    pub(crate) identity: Identity,
    /// As the flags gave it.
    pub(crate) config: Config,
    /// What is let in, by what there is to do.
    pub(crate) admission: Admission,
    /// What is let in, by whom it is from; `None` bounds nobody.
    pub(crate) user_limits: Option<UserLimits>,
    /// Who goes before the scrub.
    pub(crate) right_of_way: RightOfWay,
    /// Where passwords are hashed.
    pub(crate) passwords: Passwords,
    /// What /metrics shows.
    pub(crate) metrics: Metrics,
    /// Tells streams to end.
    pub(crate) shutdown: Shutdown,
    pub(crate) is_learner: Arc<AtomicBool>,
    /// Set once the storage has failed: from then on nothing can be written.
    broken: AtomicBool,
}

impl Member {
    /// The header of an answer that stands at `revision`.
    pub(crate) fn header(&self, revision: u64) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.identity.cluster.0,
            member_id: self.identity.member.0,
            revision: signed(revision),
            raft_term: self.term(),
        }
    }

    /// The header of an answer that stands at the newest revision.
    pub(crate) fn header_now(&self) -> pb::ResponseHeader {
        self.header(self.kv.revision())
    }

    /// The consensus term that it is in.
    pub(crate) fn term(&self) -> u64 {
        self.kv.rank().term.0
    }

    /// Has a command done for `caller`, and waits for its reply.
    ///
    /// The caller may go away while it waits; the command is done all the same.
    pub(crate) async fn propose(&self, caller: &Caller, command: Command) -> Result<Reply, Status> {
        let bytes = class::bytes_of(&command);
        let pass = self.admission.command(Class::of_command(&command, bytes), bytes).await;
        let pass = pass.inspect_err(|_| self.metrics.proposals_failed.add(1))?;
        let result = self.try_propose(caller, command).await;
        if result.is_ok() {
            pass.done();
        }
        result.map_err(|error| self.failed(&error))
    }

    /// The same, with the store's own word for what went wrong.
    pub(crate) async fn try_propose(
        &self,
        caller: &Caller,
        command: Command,
    ) -> Result<Reply, Error> {
        let result = relayed(pin!(self.kv.propose_as(caller, command))).await;
        if result.is_err() {
            self.metrics.proposals_failed.add(1);
        }
        result
    }

    /// Resolves when nobody has led for three election timeouts: who asked to be told hears of it.
    pub(crate) fn leaderless(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut rank, patience) = (self.kv.watch_rank(), 3 * self.config.election_timeout);
        async move {
            // The watch closes when the member stops, which ends the stream on its own.
            while rank.wait_for(|rank| rank.leader.is_none()).await.is_ok() {
                let elected = rank.wait_for(|rank| rank.leader.is_some());
                if tokio::time::timeout(patience, elected).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        }
    }

    /// Whether it has no vote.
    pub(crate) fn is_learner(&self) -> bool {
        self.is_learner.load(Relaxed)
    }

    /// Refuses what a learner does not do.
    pub(crate) fn check_votes(&self) -> Result<(), Status> {
        match self.is_learner() {
            true => Err(Status::failed_precondition(error_text::LEARNER)),
            false => Ok(()),
        }
    }

    /// Waits until a read shows every write that was acknowledged before this call.
    pub(crate) async fn linearize(&self) -> Result<(), Status> {
        let began = Instant::now();
        let confirmed = relayed(pin!(self.kv.linearize())).await;
        if began.elapsed() > SLOW_READ_INDEX {
            self.metrics.read_indexes_slow.add(1);
        }
        confirmed.map_err(|error| {
            self.metrics.read_indexes_failed.add(1);
            self.failed(&error)
        })
    }

    /// The answer to a request that the store did not do; notes if that is because storage failed.
    pub(crate) fn failed(&self, error: &Error) -> Status {
        let is_answer = !matches!(
            error,
            Error::Engine(_) | Error::Log(_) | Error::BadRecord { .. } | Error::BadCommand { .. }
        );
        if !is_answer && !self.shutdown.has_fired() && !self.broken.swap(true, Relaxed) {
            let error = error_text::chain(error);
            tracing::error!(error, "storage failed; nothing can be written until a restart");
        }
        error_text::status(error)
    }

    /// Whether the storage has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// The largest message that is read, bytes.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.config.max_request_bytes.saturating_add(GRPC_OVERHEAD_BYTES)
    }
}

impl Shared {
    /// A member over an open store.
    pub(crate) fn new(place: &Place, config: Config, shutdown: Shutdown) -> Shared {
        let Place { replica: kv, office, identity, is_learner, disk, applies, .. } = place.clone();
        let metrics = Metrics::new(disk, applies);
        let broken = AtomicBool::new(false);
        let passwords = Passwords::new(config.bcrypt_cost);
        let user_limits = UserLimits::new(config.user_limits.clone());
        Shared(Arc::new(Member {
            kv,
            office,
            identity,
            config,
            admission: Admission::default(),
            user_limits,
            right_of_way: RightOfWay::default(),
            passwords,
            metrics,
            shutdown,
            is_learner,
            broken,
        }))
    }

    /// Runs `read` where it may take its time: on a thread that serves no connections.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Member) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let member = self.clone();
        let done = tokio::task::spawn_blocking(move || read(&member)).await;
        done.map_err(|error| Status::internal(format!("drystone-etcd: a read broke off: {error}")))
    }

    /// The same for a read that may be long, once it is its turn; refused if that does not come.
    pub(crate) async fn read_long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Member) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.read_seated(read).await.map(|(read, _)| read)
    }

    /// The same; its turn goes on until the seat is given back.
    pub(crate) async fn read_seated<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Member) -> T + Send + 'static,
    ) -> Result<(T, line::Place), Status> {
        self.admission.look(Class::Large, false)?;
        let place = line::of_this_thread().enter().await;
        let place = place.ok_or_else(|| self.admission.refuse(Class::Large, Reason::Line))?;
        // The thread is taken until it is done, whoever waits for it.
        self.off_thread(move |member| (read(member), place)).await
    }

    /// [`Shared::read_long`] if `long`, else here.
    pub(crate) async fn read_long_if<T: Send + 'static>(
        &self,
        long: bool,
        read: impl FnOnce(&Member) -> T + Send + 'static,
    ) -> Result<T, Status> {
        if long { self.read_long(read).await } else { Ok(read(self)) }
    }
}

/// Why a reply of the wrong kind is a bug of the store and not of the request.
const MISMATCH: &str = "the store answers a command with a reply of its kind";

macro_rules! reply_of {
    ($($name:ident: $variant:ident -> $type:ty;)*) => {$(
        /// The reply to the command of the same name.
        pub(crate) fn $name(reply: Reply) -> $type {
            match reply {
                Reply::$variant(reply) => reply,
                _ => unreachable!("{MISMATCH}"),
            }
        }
    )*};
}

reply_of! {
    put_reply: Put -> drystone_kv::reply::PutReply;
    delete_reply: DeleteRange -> drystone_kv::reply::DeleteRangeReply;
    txn_reply: Txn -> drystone_kv::reply::TxnReply;
    compact_reply: Compact -> drystone_kv::reply::CompactReply;
    lease_grant_reply: LeaseGrant -> drystone_kv::reply::LeaseGrantReply;
    lease_revoke_reply: LeaseRevoke -> drystone_kv::reply::LeaseRevokeReply;
    alarm_reply: Alarm -> AlarmReply;
    auth_reply: Auth -> drystone_kv::reply::AuthReply;
    cluster_reply: Cluster -> drystone_kv::reply::ClusterReply;
}
