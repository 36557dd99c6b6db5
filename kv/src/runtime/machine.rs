//! The store as the state machine of a group.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use drystone_raft::Index;
use drystone_raft::runtime::{SaveJob, SnapshotJob, StateMachine, Unsaved};

use crate::engine::Engine;
use crate::error::Error;
use crate::reply::Reply;
use crate::runtime::replica::Core;
use crate::runtime::steps;
use crate::runtime::tally::CommandKind;

/// The store as the state machine of a group.
pub(crate) struct Machine {
    core: Arc<Core>,
}

impl Machine {
    pub(crate) fn new(core: Arc<Core>) -> Machine {
        core.options.observer.alarms(&core.store.status().alarms);
        Machine { core }
    }

    /// Applies commands, and returns their outcomes. The error is the engine's, or one of a log
    /// that cannot be what this member and the others wrote.
    fn run(&self, commands: &[(Index, &Bytes)]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let (core, log) = (&self.core, self.core.log());
        let began = core.clock.monotonic();
        let ran = steps::run(&core.store, &core.lessor, core.options.id, &log, commands)?;
        core.options.observer.applied(&ran.tally, core.clock.monotonic() - began);
        if ran.tally.has(CommandKind::Alarm) {
            core.options.observer.alarms(&core.store.status().alarms);
        }
        if ran.of_members {
            core.roster_changed.notify_one();
        }
        // Before anybody is answered: a token that was given must be known.
        for (index, change) in &ran.of_users {
            core.tokens.note(*index, change);
        }
        for (at, serial) in ran.own {
            core.pending.answer(serial, ran.outcomes[at].clone());
        }
        Ok(ran.outcomes)
    }
}

impl StateMachine for Machine {
    type Reply = Result<Reply, Error>;

    const KEEPS_ITSELF: bool = true;

    fn apply(&mut self, index: Index, command: &Bytes) -> Self::Reply {
        let mut replies = Vec::with_capacity(1);
        self.apply_all(&[(index, command)], &mut replies);
        replies.pop().expect("a command has a reply")
    }

    fn apply_all(&mut self, commands: &[(Index, &Bytes)], replies: &mut Vec<Self::Reply>) {
        match self.run(commands) {
            Ok(outcomes) => replies.extend(outcomes),
            Err(error) => {
                // The commands are in the log. A restart finds them there.
                self.core.fail(&error);
                replies.extend(commands.iter().map(|_| Err(error.clone())));
            }
        }
    }

    fn snapshot(&mut self) -> SnapshotJob {
        let checkpoint = self.core.store.checkpoint();
        Box::new(move |out: &mut dyn io::Write| checkpoint.map_err(io::Error::other)?.write(out))
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()> {
        let core = &self.core;
        core.options.observer.restoring(true);
        let taken = steps::take_over(&core.store, &core.folder, from);
        core.options.observer.restoring(false);
        // Who has changed a password meanwhile is not told.
        core.tokens.forget_all();
        let (applied, old) = taken?;
        tracing::info!(applied, "the state of another member took the place of this one's");
        core.options.observer.alarms(&core.store.status().alarms);
        core.house.clear_when_gone(old);
        core.roster_changed.notify_one();
        Ok(())
    }

    fn applied(&self) -> Index {
        Index(self.core.store.status().applied)
    }

    fn save(&mut self, unsaved: Unsaved) -> Option<SaveJob> {
        let options = &self.core.options.store;
        let cost = self.core.store.engine().stats().persist_bytes / options.persist_fraction;
        let core = Arc::clone(&self.core);
        (unsaved.pressed || unsaved.bytes >= options.persist_bytes_min.max(cost)).then(|| {
            let save = move || {
                let saved = core.persist();
                core.note_persist(saved.as_ref().err().cloned());
                saved.map(Index).map_err(io::Error::other)
            };
            Box::new(save) as SaveJob
        })
    }
}
