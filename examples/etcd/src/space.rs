//! Room: what the store may take, what the disk has, and what happens before either is used up.
//!
//! **The problem.** A store meets two walls. The quota is an agreement, and etcd's way with it is
//! kept: an alarm that refuses what grows, and lets deletes and compactions through. The disk is no
//! agreement: a log that cannot be written ends the member, and what would make room again has to
//! be written as well.
//!
//! **The idea.** The disk's wall is moved in front of the quota's alarm. Some room is kept back
//! ([`Reserve`]), and before the disk is full what grows is refused, with the same alarm and the
//! same words; what is kept back is for what makes room. It goes by itself.
//!
//! ```text
//!   store ──► Timed ──► Roomy ──► OsVfs          a write that finds the disk full
//!                         │ opens                 cuts a step off, and comes again
//!                         ▼
//!   look at disk ──► Reserve ──► full? ──► store refuses what grows
//!        │                        │
//!        └──────► Outlook ────────┴──► alarm raised, engine and log give back, alarm disarmed
//! ```
//!
//! A look is a few numbers, five times a second, and more often when it may matter; whoever opens
//! the reserve has one made at once, and a start makes one before members are let in, and another
//! before clients are: what they put first may be what the log has no room for.
//! [`Outlook`] decides, and this file does what it says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drystone_kv::command::{AlarmChange, AlarmKind, Command};
use drystone_kv::reply::Alarm;
use tokio::task::JoinHandle;

use crate::error_text;
use crate::identity::MemberId;
use crate::member::Shared;
use crate::shutdown::Shutdown;

mod outlook;
mod reserve;
mod roomy;
mod volume;

use outlook::{Act, DiskLook, Look, Outlook, Rules};
pub(crate) use reserve::Reserves;
use reserve::{On, Reserve};
pub(crate) use roomy::Roomy;

/// How often it is looked, and while there is less free than some reserves.
const PERIOD: Duration = Duration::from_millis(200);
const PERIOD_NEAR: Duration = Duration::from_millis(20);
/// Reserves that are some.
const NEAR: u64 = 4;
/// How many looks lie between two attempts to make room on a full disk, if nothing was deleted.
const RECLAIM_LOOKS: u32 = 50;

/// The log's segments, and what gathers in it until the engine is saved, are of this size.
const LOG_BYTES_MAX: u64 = 64 << 20;
const LOG_BYTES_MIN: u64 = 1 << 20;
/// And at most this part of the disk.
const LOG_DISK_PART: u64 = 64;

/// On a small disk the engine has memory as this part of it: about as much is merged at once, and
/// the reserve has four times that for merges.
const ENGINE_DISK_PART: u64 = 64;
const ENGINE_BYTES_MAX: u64 = 128 << 20;
const ENGINE_BYTES_MIN: u64 = 1 << 20;

/// What the log may take for each of its purposes, on the disks that these are or will be on.
pub(crate) fn log_bytes<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> u64 {
    let total = |dir| volume::room(dir).map_or(u64::MAX, |room| room.total);
    let total = dirs.into_iter().map(total).min().unwrap_or(u64::MAX);
    (total / LOG_DISK_PART).clamp(LOG_BYTES_MIN, LOG_BYTES_MAX)
}

/// What the engine may hold in memory, if that is to be less than it would take: its tables are
/// made by it, and what is merged needs room for some of them.
pub(crate) fn engine_memory_bytes(dir: &Path) -> Option<u64> {
    let by_disk = volume::room(dir)?.total / ENGINE_DISK_PART;
    (by_disk < ENGINE_BYTES_MAX).then(|| by_disk.max(ENGINE_BYTES_MIN))
}

/// Looks at the room that there is, and does what is to be done, before clients are let in; what
/// is returned goes on with it until the member stops.
pub(crate) async fn watch(
    member: Shared,
    reserves: Reserves,
    mut stop: Shutdown,
) -> impl Future<Output = ()> {
    let rules =
        Rules { quota: member.config.quota_bytes, disarm_percent: member.config.disarm_percent };
    let mut steward = Steward {
        outlook: Outlook::new(rules),
        member,
        reserves,
        asking: None,
        reclaiming: None,
        reclaimed: (0, None),
        looks: 0,
        filled_badly: false,
    };
    let mut period = steward.look().await;
    async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                () = steward.reserves.opened() => {}
                () = stop.fired() => return,
            }
            period = steward.look().await;
        }
    }
}

/// Who sees to it that there is room.
struct Steward {
    outlook: Outlook,
    member: Shared,
    reserves: Reserves,
    /// A change of the alarm that is under way.
    asking: Option<JoinHandle<()>>,
    /// Room is being made.
    reclaiming: Option<JoinHandle<()>>,
    /// As of when it was made last: what was applied, and swept.
    reclaimed: (u64, Option<u64>),
    looks: u32,
    /// That a reserve cannot be filled has been told.
    filled_badly: bool,
}

/// Looks at a disk, on which so much is yet to be written.
fn look_at(reserve: &Reserve, unsaved: u64) -> DiskLook {
    let (available, missing) = (reserve.available(), reserve.missing());
    DiskLook { reserve: reserve.bytes(), available, missing, opened: reserve.is_full(), unsaved }
}

impl Steward {
    /// Looks, and does what is to be done. Returns when to look again.
    async fn look(&mut self) -> Duration {
        let reserves = self.reserves.clone();
        let unsaved = self.member.kv.status().engine.growth_bytes;
        // A file system on a network may keep whoever asks waiting.
        let seen = tokio::task::spawn_blocking(move || {
            // What the engine has to write does not go to the log's disk.
            let log = reserves.log.as_deref().map(|log| look_at(log, 0));
            (look_at(&reserves.data, unsaved), reserves.data.for_engine(), log)
        });
        let Ok((data, for_engine, log)) = seen.await else { return PERIOD };
        let available = data.available.unwrap_or(u64::MAX);
        self.reserves.disk().set_free(available);
        self.reserves.disk().set_room(available.saturating_add(for_engine));
        let (status, own) = (self.member.kv.status(), self.member.identity.member.0);
        let stands = |kind| status.alarms.contains(&Alarm { member: own, kind });
        let look = Look {
            data,
            log,
            alarmed: stands(AlarmKind::NoSpace),
            disk_alarmed: stands(AlarmKind::DiskFull),
            in_use: status.engine.bytes_in_use,
        };
        for act in self.outlook.decide(&look) {
            self.perform(act, &look).await;
        }
        if self.outlook.is_full() {
            self.reclaim((status.applied, status.swept));
        }
        let is_near =
            |disk: &DiskLook| disk.available.is_some_and(|bytes| bytes < NEAR * disk.reserve);
        let is_near = is_near(&look.data) || look.log.as_ref().is_some_and(is_near);
        if is_near && !self.outlook.is_full() { PERIOD_NEAR } else { PERIOD }
    }

    async fn perform(&mut self, act: Act, look: &Look) {
        let quota_bytes = self.member.config.quota_bytes.unwrap_or(0);
        let in_use_bytes = look.in_use;
        match act {
            Act::Warn(percent) => tracing::warn!(
                in_use_bytes,
                quota_bytes,
                "the store has reached {percent} % of its quota; compact, delete, or raise \
                 --quota-backend-bytes before writes are refused"
            ),
            Act::Refuse(on) => {
                self.on_reserve(on, Reserve::refuse).await;
                let disk = look.log.filter(|_| on == On::Log).unwrap_or(look.data);
                tracing::error!(
                    available_bytes = disk.available,
                    reserve_bytes = disk.reserve,
                    dir = %self.reserves.on(on).dir().display(),
                    "the disk is full: writes that need space are refused; deletes and \
                     compactions go on from what is kept back"
                );
            }
            Act::Raise => self.change_alarm(true, AlarmKind::DiskFull),
            Act::Disarm(kind) => self.change_alarm(false, kind),
            Act::Fill(on, room) => self.fill(on, room).await,
            Act::GoOn => {
                self.looks = 0;
                tracing::info!(available_bytes = look.data.available, "the disk has room again");
                // The node stops, if anything.
                drop(self.member.kv.be_frugal(false).await);
            }
        }
    }

    async fn fill(&mut self, on: On, room: u64) {
        let filled = self.on_reserve(on, move |reserve| reserve.refill(room)).await;
        match filled {
            Some(Err(error)) if !self.filled_badly => {
                self.filled_badly = true;
                tracing::warn!(%error, "cannot keep room back for a full disk; others may take it");
            }
            Some(Err(_)) | None => {}
            Some(Ok(())) => self.filled_badly = false,
        }
    }

    /// Does something to the file, where it may take its time.
    async fn on_reserve<T: Send + 'static>(
        &self,
        on: On,
        work: impl FnOnce(&Reserve) -> T + Send + 'static,
    ) -> Option<T> {
        let reserve = Arc::clone(self.reserves.on(on));
        tokio::task::spawn_blocking(move || work(&reserve)).await.ok()
    }

    /// Has an alarm raised or disarmed, in this member's name. It is tried again at the next look,
    /// as long as it is wanted.
    fn change_alarm(&mut self, raise: bool, kind: AlarmKind) {
        let idle = self.asking.as_ref().is_none_or(JoinHandle::is_finished);
        // One without a vote must not stop those who have one.
        if !idle || (raise && self.member.is_learner()) {
            return;
        }
        let member = self.member.clone();
        self.asking = Some(tokio::spawn(async move {
            let id = member.identity.member.0;
            let change = AlarmChange { raise, member: id, kind };
            match member.kv.propose(Command::Alarm(change)).await {
                Ok(_) if !raise => tracing::info!(
                    member_id = %MemberId(id),
                    "NOSPACE was disarmed by itself: there is space again"
                ),
                Ok(_) => {}
                Err(error) => {
                    let error = error_text::chain(&error);
                    tracing::debug!(error, "could not change the alarm");
                }
            }
        }));
    }

    /// Has the engine and the log give back what they can spare, if there may be something: on a
    /// full disk they must not wait until it pays.
    fn reclaim(&mut self, stand: (u64, Option<u64>)) {
        let idle = self.reclaiming.as_ref().is_none_or(JoinHandle::is_finished);
        self.looks = self.looks.saturating_add(1);
        if !idle || (self.reclaimed == stand && self.looks < RECLAIM_LOOKS) {
            return;
        }
        (self.reclaimed, self.looks) = (stand, 0);
        let member = self.member.clone();
        self.reclaiming = Some(tokio::spawn(async move {
            let shared = member.clone();
            let engine = tokio::task::spawn_blocking(move || {
                let _way = shared.right_of_way.take();
                shared.kv.defragment()
            });
            if let Ok(Err(error)) = engine.await {
                let error = error_text::chain(&error);
                tracing::debug!(error, "the engine could not give space back");
            }
            // Behind the engine: only what that has saved may leave the log.
            drop(member.kv.be_frugal(true).await);
        }));
    }
}
