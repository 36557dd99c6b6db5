//! Nodes that wait by the clock: for so long, for a person, or no longer than so long.

use std::collections::BTreeMap;

use super::interpret::{CLOCKS_MAX, Call, Walk};
use super::node::{NodePhase, NodeSeen};
use super::{Clock, key};
use crate::spec::Template;
use crate::types::UnixMs;

impl Walk<'_> {
    pub(super) fn suspend(&mut self, call: Call<'_>, duration: Option<u64>) -> NodeSeen {
        let mut node = NodeSeen::new(call.name, call.path, NodePhase::Running);
        if self.progress.done.contains(&key(call.path)) {
            node.phase = NodePhase::Succeeded;
            return node;
        }
        if self.killing {
            self.progress.clocks.remove(call.path);
            (node.phase, node.message) = (NodePhase::Failed, "stopped".to_owned());
            return node;
        }
        let Some(since) = self.clock(call.path, true) else {
            node.phase = NodePhase::Waiting;
            return node;
        };
        let over = duration.map(|duration| since.saturating_add(duration));
        match over {
            Some(over) if over <= self.now => {
                self.progress.clocks.remove(call.path);
                self.progress.done.insert(key(call.path));
                node.phase = NodePhase::Succeeded;
            }
            Some(over) => {
                self.wake(over);
                node.message = format!("waits for {} ms", over.saturating_sub(since));
            }
            None => "waits to be resumed".clone_into(&mut node.message),
        }
        node
    }

    /// Since when a node waits by the clock, which begins if it may.
    fn clock(&mut self, path: &str, resumes: bool) -> Option<UnixMs> {
        if let Some(clock) = self.progress.clocks.get(path) {
            return Some(clock.since);
        }
        if !self.open {
            return None;
        }
        if self.progress.clocks.len() >= CLOCKS_MAX {
            self.fatal = Some(format!("more than {CLOCKS_MAX} nodes wait by the clock"));
            return None;
        }
        let clock = Clock { since: self.now, resumes };
        self.progress.clocks.insert(path.to_owned(), clock);
        Some(self.now)
    }

    /// Steps or a graph, which may have only so long.
    pub(super) fn timed(
        &mut self,
        call: Call<'_>,
        template: &Template,
        inputs: &BTreeMap<String, String>,
    ) -> NodeSeen {
        let Some(timeout) = template.timeout else { return self.inner(call, template, inputs) };
        let told_so = self.progress.done.contains(&key(call.path));
        let mut late = told_so;
        if !late && let Some(since) = self.clock(call.path, false) {
            let until = since.saturating_add(timeout);
            late = until <= self.now;
            if !late {
                self.wake(until);
            }
        }
        let (open, killing) = (self.open, self.killing);
        (self.open, self.killing) = (open && !late, killing || late);
        let mut node = self.inner(call, template, inputs);
        (self.open, self.killing) = (open, killing);
        let was_over = node.phase.is_final();
        if late && !was_over {
            self.progress.done.insert(key(call.path));
            let running = node.walk().iter().any(|it| it.child.is_some() && !it.phase.is_final());
            node.phase = if running { NodePhase::Running } else { NodePhase::Failed };
        }
        if late && (told_so || !was_over) && node.phase != NodePhase::Succeeded {
            node.message = format!("it took longer than {timeout} ms");
        }
        if node.phase.is_final() || late {
            self.progress.clocks.remove(call.path);
        }
        node
    }
}
