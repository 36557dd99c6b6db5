//! What a member does by itself while it leads: it counts down leases, and keeps the group's
//! voters those of the table.
//!
//! Two tasks, woken by whatever may concern them: an election, a command that changed the members,
//! a lease that is due. They decide nothing that a command does not carry, and propose here and
//! nowhere else, so that a leader that has been deposed does no harm.

use std::sync::{Arc, Weak};
use std::time::Duration;

use drystone_raft::runtime::{Group, Rank};
use drystone_raft::{ReadMode, Role};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::auth::Caller;
use crate::command::{Command, LeaseRevoke};
use crate::error::{Error, Refusal};
use crate::runtime::machine::Machine;
use crate::runtime::replica::Core;
use crate::runtime::roster;

/// How many leases are revoked at once; twice a second, that is etcd's bound of 1,000 a second,
/// which keeps a storm of expiries from crowding out clients.
const EXPIRIES_MAX: usize = 500;
/// How long to wait after so many, or after one that could not be revoked.
const EXPIRY_PAUSE: Duration = Duration::from_millis(500);
/// How often the leases are looked at, at least and at most.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(500);
/// How often table and group are compared while a step has to wait, and else.
const ROSTER_PAUSE: Duration = Duration::from_millis(100);
const ROSTER_PERIOD: Duration = Duration::from_secs(5);

/// What a member does by itself. It ends when the node stops, or nobody holds the replica any more.
pub(crate) struct Duties {
    core: Weak<Core>,
    group: Group<Machine>,
    rank: watch::Receiver<Rank>,
    /// The others have been removed by decree. Whoever is added from then on stays.
    has_forced: bool,
}

impl Duties {
    pub(crate) fn new(core: &Arc<Core>, group: Group<Machine>) -> Duties {
        let rank = group.watch();
        Duties { core: Arc::downgrade(core), group, rank, has_forced: false }
    }

    /// Counts down leases.
    pub(crate) async fn leases(mut self) {
        loop {
            let Some(core) = self.core.upgrade() else { return };
            let rank = *self.rank.borrow_and_update();
            let pause = if rank.role != Role::Leader {
                core.lessor.lay_down(None);
                ROSTER_PERIOD
            } else if core.lessor.term() == Some(rank.term) || self.take_up(&core, rank).await {
                self.expire(&core).await
            } else {
                LOOK_MIN
            };
            drop(core);
            if timeout(pause, self.rank.changed()).await.is_ok_and(|changed| changed.is_err()) {
                return;
            }
        }
    }

    /// Takes up office, if it still leads once all that came before is applied.
    async fn take_up(&self, core: &Core, rank: Rank) -> bool {
        core.lessor.lay_down(Some(rank.term));
        if self.group.read(ReadMode::Index).await.is_err() || self.group.rank() != rank {
            return false;
        }
        core.lessor.take_up(rank.term, || core.store.leases());
        true
    }

    /// Revokes leases that are due. Returns when to look again.
    async fn expire(&self, core: &Core) -> Duration {
        // A store that is marked corrupt refuses to revoke: to try would only fill the log.
        if core.store.refuses(false).is_some() {
            return EXPIRY_PAUSE;
        }
        let due = core.lessor.take_due(EXPIRIES_MAX);
        let many = due.len() == EXPIRIES_MAX;
        let mut revocations = JoinSet::new();
        for id in due {
            let group = self.group.clone();
            let command = core.encode(&Caller::System, &Command::LeaseRevoke(LeaseRevoke { id }));
            revocations.spawn(async move { (id, group.propose(command).await) });
        }
        let mut failed = false;
        for (id, outcome) in revocations.join_all().await {
            let is_gone =
                matches!(outcome, Ok(Ok(_) | Err(Error::Refused(Refusal::LeaseNotFound))));
            if matches!(outcome, Ok(Ok(_))) {
                core.options.observer.lease_expired();
            }
            if !is_gone {
                core.lessor.retry(id);
                failed = true;
            }
        }
        if many || failed {
            return EXPIRY_PAUSE;
        }
        core.lessor.next_due().unwrap_or(LOOK_MAX).clamp(LOOK_MIN, LOOK_MAX)
    }

    /// Founds the table of members, and makes the group what it says.
    pub(crate) async fn roster(mut self) {
        let Some(changed) = self.core.upgrade().map(|core| Arc::clone(&core.roster_changed)) else {
            return;
        };
        loop {
            let Some(core) = self.core.upgrade() else { return };
            let leads = self.rank.borrow_and_update().role == Role::Leader;
            let pause = if leads { self.keep_roster(&core).await } else { ROSTER_PERIOD };
            drop(core);
            tokio::select! {
                ended = self.rank.changed() => if ended.is_err() { return },
                () = changed.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Takes what steps can be taken. Returns when to look again.
    async fn keep_roster(&mut self, core: &Core) -> Duration {
        let table = core.store.cluster();
        let options = &core.options;
        let is_alone = |id| table.members.len() == 1 && table.members[0].id == id;
        let command = match &options.alone {
            Some(member) if table.id.is_none() || !is_alone(member.id) && !self.has_forced => {
                let (cluster, member) = (options.cluster, member.clone());
                Some(Command::ClusterForce { cluster, member })
            }
            None if table.id.is_none() && !options.founders.is_empty() => {
                let (cluster, members) = (options.cluster, options.founders.clone());
                Some(Command::ClusterInit { cluster, members })
            }
            _ => None,
        };
        if let Some(command) = command {
            let done = self.group.propose(core.encode(&Caller::System, &command)).await;
            if !matches!(done, Ok(Ok(_))) {
                return ROSTER_PAUSE;
            }
            self.has_forced = options.alone.is_some();
        }
        match roster::reconcile(&self.group, || core.store.cluster()).await {
            Ok(false) => ROSTER_PERIOD,
            Ok(true) | Err(_) => ROSTER_PAUSE,
        }
    }
}
