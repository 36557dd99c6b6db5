//! What a crash leaves of a member: its disk, on which its log and its engines live.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drystone_kv::Options;
use drystone_kv::engines::AnyEngine;
use drystone_kv::members::Member as Entry;
use drystone_kv::runtime::parts::Folder;
use drystone_raft::Configuration;
use drystone_raft::store::{self as log, GroupId, Store as Log};
use drystone_sim::Rng;
use drystone_vfs::{Call, Fault, Harm, Op, SimClock, SimVfs, TapVfs, Vfs};
use drystone_wal::Writer;

use crate::flaw::Flaw;
use crate::plan::Ways;

pub(crate) const GROUP: GroupId = GroupId(1);
const DIR: &str = "member";

/// What survives a crash, and what the next life is told.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) id: u64,
    pub(crate) vfs: SimVfs,
    pub(crate) ways: Ways,
    pub(crate) flaw: Option<Flaw>,
    /// The members that the group begins with; none for one that joins.
    pub(crate) founders: Vec<u64>,
    pub(crate) starts: u64,
    pub(crate) seed: u64,
    /// Calls of it fail, or it is full, while the power is on: a process that ends for that leaves
    /// what it has written in the kernel's cache.
    pub(crate) failing: bool,
    /// The power fails at this sync, if syncs are counted.
    pub(crate) cut_at_sync: Option<u64>,
    pub(crate) syncs: Arc<AtomicU64>,
}

/// Has calls to a disk fail, a few of one kind or all that want room.
pub(crate) fn spoil(vfs: &SimVfs, rng: &mut Rng) {
    if rng.below(4) == 0 {
        let taken = vfs.files().iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        return vfs.set_capacity_bytes(Some(taken + rng.below(20_000)));
    }
    let harms = [Harm::Error, Harm::NoSpace, Harm::Torn, Harm::Drops, Harm::Forgets];
    let ops = [Op::Write, Op::Sync, Op::Sync, Op::SyncDir, Op::Create, Op::Rename, Op::Read];
    let fault = Fault::new(*rng.pick(&ops), *rng.pick(&harms)).after(rng.below(20));
    vfs.fail(fault.times(1 + rng.below(3)));
}

impl Disk {
    /// The disk as programs see it.
    fn seen(&self) -> Arc<dyn Vfs> {
        let Some(at) = self.cut_at_sync else { return Arc::new(self.vfs.clone()) };
        let (vfs, syncs) = (self.vfs.clone(), Arc::clone(&self.syncs));
        Arc::new(TapVfs::over(
            self.vfs.clone(),
            move |call: Call<'_>, go: &mut dyn FnMut() -> std::io::Result<()>| {
                let sync = matches!(call, Call::SyncData { .. } | Call::SyncDir { .. });
                if sync && syncs.fetch_add(1, Ordering::Relaxed) + 1 == at {
                    vfs.power_cut_after(0);
                }
                go()
            },
        ))
    }

    /// What the table of members says of one of them.
    pub(crate) fn entry(id: u64, is_learner: bool) -> Entry {
        let peer_urls = vec![format!("http://{id}:2380")];
        Entry { id, peer_urls, is_learner, ..Entry::default() }
    }

    /// Opens the folder, the engine and the log, as a new process does.
    pub(crate) fn open(
        &mut self,
        clock: &Arc<SimClock>,
    ) -> Result<(Folder, AnyEngine, Log), Box<dyn std::error::Error>> {
        self.starts += 1;
        let place = usize::try_from(self.id).expect("ids are small") % self.ways.kinds.len();
        let kind = Some(self.ways.kinds[place]);
        let options = Options { engine: kind, background: false, ..Options::default() };
        let vfs = self.seen();
        let (folder, engine) =
            Folder::open(Arc::clone(&vfs), Arc::clone(clock) as _, Path::new(DIR), &options, None)?;
        let wal = drystone_wal::Options::default()
            .writer(Writer::Caller)
            .segment_bytes(self.ways.segment_bytes)
            .log_id(self.seed ^ self.starts.rotate_left(32));
        let lives = SimClock::default();
        lives.advance(Duration::from_millis(self.starts));
        let options = log::Options {
            wal,
            clock: Arc::new(lives),
            log_bytes: self.ways.log_bytes,
            moved_bytes_max: self.ways.moved_bytes_max,
            log_dir: None,
        };
        let log = Log::open(vfs, &folder.log(), options)?;
        if !log.groups().contains(&GROUP) {
            log.create(GROUP, Configuration::voters(self.founders.iter().copied()))?;
        }
        Ok((folder, engine, log))
    }
}
