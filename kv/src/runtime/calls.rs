//! What callers ask of a replica, and where it gets done.
//!
//! ```text
//!   propose     leads?  ─► group.propose ─► applied here ─► reply
//!               follows ─► Peers::ask(leader, Propose) ─► applied here ─► reply
//!   linearize   group.read: the leader is confirmed, and all up to then applied here
//!   keep_alive  leads?  ─► linearize in this term ─► countdown starts over
//!               follows ─► Peers::ask(leader, KeepAlive)
//! ```
//!
//! While nobody leads, callers wait for the next leader, up to
//! [`ReplicaOptions::request_timeout`](super::ReplicaOptions::request_timeout). A command is handed
//! on again only while nothing can have come of it.

use std::future::Future;

use bytes::Bytes;
use drystone_raft::runtime::Rank;
use drystone_raft::{NodeId, ReadMode, Refused, Role};
use futures_util::FutureExt as _;
use tokio::time::{Duration, sleep, timeout};

use crate::auth::Caller;
use crate::command::{AlarmChange, AlarmKind, Command};
use crate::engine::Engine;
use crate::error::{Error, Refusal};
use crate::expiry::Renewal;
use crate::kv::LeaseInfo;
use crate::reply::Reply;
use crate::runtime::envelope::{Origin, seal};
use crate::runtime::peers::{Ask, GroupProgress, MemberProgress, Told};
use crate::runtime::replica::Replica;
use crate::runtime::roster;
use crate::types::LeaseId;

/// How long to wait until a leader is looked for again, if none is announced before.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

impl Replica {
    /// Has a command done: replicated, applied here, and answered. Nobody is asked whether it may
    /// be: it is the group's own.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] and [`Error::Busy`]: not done. [`Error::TimedOut`] and
    /// [`Error::LeaderLost`]: perhaps done, perhaps yet to be done. [`Error::Stopped`].
    pub async fn propose(&self, command: Command) -> Result<Reply, Error> {
        self.propose_as(&Caller::System, command).await
    }

    /// The same for `caller`, if he may have it done.
    ///
    /// # Errors
    ///
    /// As for [`Replica::propose`].
    pub async fn propose_as(&self, caller: &Caller, command: Command) -> Result<Reply, Error> {
        let options = &self.core().options.store;
        options.limits.check(&command)?;
        if command.is_of_keys() && self.is_corrupt() {
            return Err(Refusal::Corrupt.into());
        }
        if let Some(alarm) = self.lack_of_space(&command) {
            // Rare, so it gets no room in the future of every call.
            return Err(Box::pin(self.raise(alarm)).await);
        }
        self.drive(caller, &command)?.await
    }

    /// What remains of a command is its bytes: there are as many of these futures as callers.
    fn drive(
        &self,
        caller: &Caller,
        command: &Command,
    ) -> Result<impl Future<Output = Result<Reply, Error>> + use<'_>, Error> {
        let bytes = self.core().encode(caller, command);
        self.core().options.store.limits.check_bytes(bytes.len())?;
        let place = self.core().pending.enter(bytes.len(), command.is_urgent())?;
        let driven = self.in_time(self.drive_bytes(bytes));
        Ok(driven.inspect(move |_| drop(place)))
    }

    /// Has it done where the leader is, wherever that is.
    async fn drive_bytes(&self, bytes: Bytes) -> Result<Reply, Error> {
        loop {
            let rank = self.rank();
            match self.leader(rank) {
                Some(Leader::Here) => match self.group().propose(bytes.clone()).await {
                    Ok(outcome) => return outcome,
                    Err(Refused::NotLeader(_) | Refused::Transferring) => {}
                    Err(Refused::Overloaded) => return Err(Error::Busy),
                    Err(Refused::Stopped) => return Err(Error::Stopped),
                    Err(_) => return Err(Error::LeaderLost),
                },
                Some(Leader::There(leader)) => {
                    if let Some(outcome) = self.hand_on(leader, &bytes).await {
                        return outcome;
                    }
                }
                None => {}
            }
            // Seldom: it gets no room in the future of every call.
            Box::pin(self.rank_after(rank)).await?;
        }
    }

    /// Hands a command on to the leader; `None` if it is certain that it was not taken.
    async fn hand_on(&self, leader: NodeId, bytes: &[u8]) -> Option<Result<Reply, Error>> {
        let mut waiter = self.core().pending.wait();
        let origin = Origin { member: self.id(), serial: waiter.serial };
        let asked = self.peers().ask(leader, Ask::Propose(seal(origin, bytes)));
        tokio::select! {
            biased;
            outcome = &mut waiter.reply => return Some(outcome.unwrap_or(Err(Error::Stopped))),
            told = asked => match told {
                Some(Told::NotLeader) => return None,
                Some(Told::Busy) => return Some(Err(Error::Busy)),
                // It is applied here later, or it never is.
                _ => {}
            },
        }
        Some((&mut waiter.reply).await.unwrap_or(Err(Error::Stopped)))
    }

    /// Resolves when reads here show every write that was acknowledged before this call.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] without a quorum; [`Error::Busy`]; [`Error::Stopped`].
    pub async fn linearize(&self) -> Result<(), Error> {
        let rank = self.rank();
        if rank.alone && self.core().caught_up_in(rank.term) {
            // Nothing is acknowledged but what is applied here.
            return self.check_whole();
        }
        self.in_time(async {
            loop {
                let rank = self.rank();
                match self.group().read(ReadMode::Index).await {
                    Ok(_) => {
                        if rank.role == Role::Leader && self.rank() == rank {
                            self.core().note_caught_up(rank.term);
                        }
                        return self.check_whole();
                    }
                    Err(Refused::Overloaded) => return Err(Error::Busy),
                    Err(Refused::Stopped) => return Err(Error::Stopped),
                    Err(_) => self.rank_after(rank).await?,
                }
            }
        })
        .await
    }

    /// Renews a lease: its full time to live in seconds, or `None` when there is no such lease. A
    /// lease that is due cannot be renewed any more; the answer then comes once it is gone.
    ///
    /// # Errors
    ///
    /// As for [`Replica::linearize`].
    pub async fn keep_alive(&self, id: LeaseId) -> Result<Option<i64>, Error> {
        let ask = || Ask::KeepAlive(id);
        let here = || async { self.keep_alive_here(id).await };
        match self.ask_leader(here, ask).await? {
            Told::KeptAlive(ttl) => Ok(ttl),
            _ => Err(Error::LeaderLost),
        }
    }

    /// A lease and its time, if it stands, as its leader counts it.
    ///
    /// # Errors
    ///
    /// As for [`Replica::linearize`].
    pub async fn lease(&self, id: LeaseId, with_keys: bool) -> Result<Option<LeaseInfo>, Error> {
        let ask = || Ask::Lease(id, with_keys);
        let here = || async { self.lease_here(id, with_keys).await };
        match self.ask_leader(here, ask).await? {
            Told::Lease(info) => Ok(info),
            _ => Err(Error::LeaderLost),
        }
    }

    /// All leases, the one that expires first in front.
    ///
    /// # Errors
    ///
    /// As for [`Replica::linearize`].
    pub async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        let here = || async { self.leases_here().await };
        match self.ask_leader(here, || Ask::Leases).await? {
            Told::Leases(ids) => Ok(ids),
            _ => Err(Error::LeaderLost),
        }
    }

    /// How far the members have come, as the leader sees it.
    ///
    /// # Errors
    ///
    /// As for [`Replica::linearize`].
    pub async fn progress(&self) -> Result<GroupProgress, Error> {
        let here = || async { self.progress_here().await };
        match self.ask_leader(here, || Ask::Progress).await? {
            Told::Progress(progress) => Ok(progress),
            _ => Err(Error::LeaderLost),
        }
    }

    /// Answers another member.
    pub async fn serve(&self, ask: Ask) -> Told {
        match ask {
            Ask::Propose(bytes) => match self.group().propose(bytes).await {
                Ok(_) => Told::Proposed,
                Err(Refused::NotLeader(_) | Refused::Transferring | Refused::Stopped) => {
                    Told::NotLeader
                }
                Err(Refused::Overloaded) => Told::Busy,
                Err(_) => Told::Unknown,
            },
            Ask::KeepAlive(id) => self.keep_alive_here(id).await,
            Ask::Lease(id, with_keys) => self.lease_here(id, with_keys).await,
            Ask::Leases => self.leases_here().await,
            Ask::Progress => self.progress_here().await,
        }
    }

    /// Confirms that this member is the lessor, at a time after the call.
    async fn confirm_office(&self) -> Result<drystone_raft::Term, Told> {
        let lessor = &self.core().lessor;
        let Some(term) = lessor.term() else { return Err(Told::NotLeader) };
        match self.group().read(ReadMode::Index).await {
            Ok(_) => {}
            Err(Refused::Overloaded) => return Err(Told::Busy),
            Err(_) => return Err(Told::NotLeader),
        }
        // A member that follows is told by its leader, which says nothing of this one's office.
        let rank = self.rank();
        let is_it = rank.role == Role::Leader && rank.term == term;
        if is_it { Ok(term) } else { Err(Told::NotLeader) }
    }

    async fn keep_alive_here(&self, id: LeaseId) -> Told {
        let term = match self.confirm_office().await {
            Ok(term) => term,
            Err(told) => return told,
        };
        let core = self.core();
        let renew = || match core.lessor.renew(id, term) {
            None => Some(Told::NotLeader),
            Some(Renewal::Renewed(ttl)) => Some(Told::KeptAlive(Some(ttl))),
            Some(Renewal::Missing) => Some(Told::KeptAlive(None)),
            Some(Renewal::Dying) => None,
        };
        core.lessor.bell.until(renew).await
    }

    async fn lease_here(&self, id: LeaseId, with_keys: bool) -> Told {
        if let Err(told) = self.confirm_office().await {
            return told;
        }
        let core = self.core();
        let Some(lease) = core.store.lease(id) else { return Told::Lease(None) };
        let Some(remaining) = core.lessor.remaining(id) else { return Told::NotLeader };
        let keys = if with_keys { lease.keys.into_iter().collect() } else { Vec::new() };
        Told::Lease(Some(LeaseInfo { id, granted: lease.ttl, remaining, keys }))
    }

    async fn leases_here(&self) -> Told {
        if let Err(told) = self.confirm_office().await {
            return told;
        }
        self.core().lessor.by_deadline().map_or(Told::NotLeader, Told::Leases)
    }

    async fn progress_here(&self) -> Told {
        let Ok(status) = self.group().status().await else { return Told::NotLeader };
        if status.role != Role::Leader {
            return Told::NotLeader;
        }
        let others = status.followers.iter().map(|follower| MemberProgress {
            id: follower.id,
            matched: follower.matched.0,
            in_touch: follower.in_touch,
        });
        let (leader, last) = (self.id(), status.last.index.0);
        Told::Progress(GroupProgress { leader, last, others: others.collect() })
    }

    /// Asks the leader, or answers as it, until one has.
    async fn ask_leader<F>(
        &self,
        here: impl Fn() -> F,
        ask: impl Fn() -> Ask,
    ) -> Result<Told, Error>
    where
        F: Future<Output = Told>,
    {
        self.in_time(async {
            loop {
                let rank = self.rank();
                let told = match self.leader(rank) {
                    Some(Leader::Here) => Some(here().await),
                    Some(Leader::There(leader)) => self.peers().ask(leader, ask()).await,
                    None => None,
                };
                match told {
                    Some(Told::Busy) => return Err(Error::Busy),
                    // To ask twice does no harm.
                    None | Some(Told::NotLeader | Told::Unknown) => self.rank_after(rank).await?,
                    Some(told) => return Ok(told),
                }
            }
        })
        .await
    }

    /// Changes the table of members, and waits until the group has come to hold what it says, or
    /// for as long as a call may take: the leader goes on with it in any case.
    ///
    /// # Errors
    ///
    /// As for [`Replica::propose`]. Whether a change is wise (who is in touch, who is in sync) is
    /// for the caller to find out: [`Replica::progress`].
    pub async fn change_members(&self, command: Command) -> Result<Reply, Error> {
        self.change_members_as(&Caller::System, command).await
    }

    /// The same for `caller`, if he may have it done.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn change_members_as(
        &self,
        caller: &Caller,
        command: Command,
    ) -> Result<Reply, Error> {
        let id = match &command {
            Command::MemberAdd { member, .. } => Some(member.id),
            Command::MemberRemove { id } => Some(*id),
            _ => None,
        };
        self.in_time(self.founded()).await?;
        let reply = self.propose_as(caller, command).await?;
        let Some(id) = id else { return Ok(reply) };
        let settled = async {
            while let Ok(status) = self.group().status().await {
                if roster::agrees(&self.cluster(), &status.members, id) {
                    break;
                }
                sleep(LOOK_PAUSE).await;
            }
        };
        // The table has changed, which is what was asked for.
        drop(timeout(self.core().options.election, settled).await);
        Ok(reply)
    }

    /// Waits until there is a table of members: the first leader founds it.
    async fn founded(&self) -> Result<(), Error> {
        while self.cluster().id.is_none() {
            self.rank_after(self.rank()).await?;
        }
        Ok(())
    }

    /// Hands the leadership to this member.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`] if this member does not lead; [`Error::BadTransferee`] if the other
    /// cannot; [`Error::TimedOut`].
    pub async fn move_leader(&self, to: NodeId) -> Result<(), Error> {
        if !matches!(self.leader(self.rank()), Some(Leader::Here)) {
            return Err(Error::NotLeader);
        }
        let table = self.cluster();
        if table.member(to).is_none_or(|member| member.is_learner) {
            return Err(Error::BadTransferee);
        }
        if to == self.id() {
            return Ok(());
        }
        self.in_time(async {
            match self.group().transfer(Some(to)).await {
                Ok(_) => Ok(()),
                Err(Refused::NotLeader(_)) => Err(Error::NotLeader),
                Err(Refused::Invalid(_)) => Err(Error::BadTransferee),
                Err(Refused::Stopped) => Err(Error::Stopped),
                Err(_) => Err(Error::TimedOut),
            }
        })
        .await
    }

    /// Hands the leadership to whoever can take it best; nothing is done by a member that does not
    /// lead, or has no other.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if nobody took it; [`Error::Stopped`].
    pub async fn hand_over(&self) -> Result<(), Error> {
        let rank = self.rank();
        if rank.role != Role::Leader || rank.alone {
            return Ok(());
        }
        let handed = timeout(2 * self.core().options.election, self.group().transfer(None)).await;
        match handed {
            Ok(Ok(_) | Err(Refused::NotLeader(_))) => Ok(()),
            Ok(Err(Refused::Stopped)) => Err(Error::Stopped),
            Ok(Err(_)) | Err(_) => Err(Error::TimedOut),
        }
    }

    /// The alarm that there is cause for if the disk has no room for it, or the quota has none.
    fn lack_of_space(&self, command: &Command) -> Option<AlarmKind> {
        let core = self.core();
        let cost = crate::quota::cost(command);
        if cost > 0 && core.options.disk.is_full() {
            return Some(AlarmKind::DiskFull);
        }
        let quota = core.options.store.quota_bytes?;
        let outgrown = cost > 0 && core.store.engine().stats().bytes_in_use + cost > quota;
        outgrown.then_some(AlarmKind::NoSpace)
    }

    /// Raises an alarm for want of space, unless one stands, and says why.
    async fn raise(&self, kind: AlarmKind) -> Error {
        let core = self.core();
        if core.store.refuses(true).is_none() {
            let change = AlarmChange { raise: true, member: core.options.id, kind };
            // The client is refused whether or not the alarm came through.
            if let Ok(raised) = self.drive(&Caller::System, &Command::Alarm(change)) {
                drop(raised.await);
            }
        }
        Refusal::NoSpace.into()
    }

    /// Refuses to show what may be half of a change.
    fn check_whole(&self) -> Result<(), Error> {
        self.core().failure().map_or(Ok(()), Err)
    }

    fn leader(&self, rank: Rank) -> Option<Leader> {
        match rank.leader? {
            _ if rank.role == Role::Leader => Some(Leader::Here),
            leader if leader == self.id() => None,
            leader => Some(Leader::There(leader)),
        }
    }

    /// Waits for a while, or until the rank is another.
    async fn rank_after(&self, rank: Rank) -> Result<(), Error> {
        let mut watch = self.watch_rank();
        if *watch.borrow_and_update() != rank {
            return Ok(());
        }
        match timeout(LOOK_PAUSE, watch.changed()).await {
            Ok(Err(_)) => Err(Error::Stopped),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// An `async fn` would hold the call twice: as it was given, and as it is awaited.
    fn in_time<T, F>(&self, call: F) -> impl Future<Output = Result<T, Error>> + use<T, F>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let limit = self.core().options.request_timeout;
        timeout(limit, call).map(|outcome| outcome.unwrap_or(Err(Error::TimedOut)))
    }
}

/// Where the leader is.
enum Leader {
    Here,
    There(NodeId),
}
