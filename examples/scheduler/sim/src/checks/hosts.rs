//! What must hold of containers, whoever thinks what of them.

use std::collections::BTreeMap;

use drystone_sim::NodeId as Place;
use mason_core::types::{RunId, TaskKey, Uid};

use crate::host::{Folder, Host};

/// How long something may live that the store does not have, while its agent is there.
const STRAY_MAX: u64 = 60_000;
/// The same while there is trouble: its agent may hear nothing for so long.
const CUT_OFF_MAX: u64 = 60_000;

/// Who looks at containers.
#[derive(Debug, Default)]
pub(super) struct Containers {
    /// Runs that were started: where, and as the how manieth there.
    started: BTreeMap<RunId, (Place, u64)>,
    /// What lives that the store does not have, and since when.
    strays: BTreeMap<RunId, u64>,
    /// Strict ones that live past their fence, and since when.
    overdue: BTreeMap<RunId, u64>,
    /// Strict tasks with a container, in this look.
    alive: BTreeMap<(TaskKey, Uid), RunId>,
    /// Since when there is no trouble.
    pub(super) calm: Option<u64>,
    /// How many were started.
    pub(super) starts_count: u64,
}

/// What the store says of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// It is there, and has no result.
    pub(super) is_under_way: bool,
    /// By the wish of its user, two copies must not run.
    pub(super) is_strict: bool,
}

impl Containers {
    /// A look at all of them begins.
    pub(super) fn begin(&mut self) {
        self.alive.clear();
    }

    /// One that runs on a machine whose clock shows `local`.
    pub(super) fn look(
        &mut self,
        (run, folder): (&RunId, &Folder),
        (place, host): (Place, &Host),
        (local, at): (u64, u64),
        told: Told,
    ) {
        let which = (place, folder.serial);
        let first = *self.started.entry(run.clone()).or_insert_with(|| {
            self.starts_count += 1;
            which
        });
        assert_eq!(first, which, "I2: {run} is started a second time");
        if told.is_strict {
            self.look_at_strict(run, folder, host.machine().fence <= local, at);
        }
        self.look_for_strays(run, host, at, told);
    }

    fn look_at_strict(&mut self, run: &RunId, folder: &Folder, is_fenced: bool, at: u64) {
        // One that is to be killed now is: the machine has just not had its turn. But it has it
        // before time passes.
        if is_fenced {
            let since = *self.overdue.entry(run.clone()).or_insert(at);
            assert!(at <= since + 1, "I3: {run} lives, and its fence has passed at {since}");
            return;
        }
        self.overdue.remove(run);
        let task = (folder.record.task.clone(), folder.record.uid.clone());
        let other = self.alive.insert(task, run.clone());
        assert!(other.is_none(), "I3: {run} and {other:?} of {}", folder.record.task);
    }

    fn look_for_strays(&mut self, run: &RunId, host: &Host, at: u64, told: Told) {
        if told.is_under_way || !host.is_attended() {
            self.strays.remove(run);
            return;
        }
        let since = *self.strays.entry(run.clone()).or_insert(at);
        let most = match self.calm {
            Some(calm) if calm <= since => STRAY_MAX,
            _ => STRAY_MAX + CUT_OFF_MAX,
        };
        assert!(
            at - since <= most,
            "I9: {run} on {} lives, and the store has not had it since {since}",
            host.node()
        );
    }
}
