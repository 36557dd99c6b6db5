//! What is done to disks: they go bad, as far as the group is said to bear it.

use drystone_sim::NodeId;

use crate::disk::Disk;
use crate::machine::Lists;
use crate::member::Member;
use crate::rot;
use crate::run::{Request, Run};

impl<D: Disk<Lists>> Run<'_, D> {
    /// Damages a disk, of a node that is down or at work, as long as the group can bear it.
    pub(super) fn rot(&mut self) {
        let (world, most) = (&self.world, self.watch.commit_max());
        self.hurt.retain(|id| {
            // A node is whole again when nothing is missing and it keeps up.
            let member = world.process(*id);
            !member.is_some_and(|member| member.is_sound() && member.raft.commit() >= most)
        });
        // A change that is asked for may yet remove the whole copy.
        let operated =
            |(request, ..): &(Request, NodeId, u64)| matches!(request, Request::Operator);
        if self.rng.below(100) >= self.plan.rot || self.requests.values().any(operated) {
            return;
        }
        let at_work = self.rng.below(3) == 0;
        let nodes = self.world.ids().filter(|id| self.world.is_up(*id) == at_work);
        let nodes: Vec<NodeId> = nodes.collect();
        if nodes.is_empty() {
            return;
        }
        let id = *self.rng.pick(&nodes);
        let mut rng = self.rng.fork("rot");
        self.rng.draw();
        let disk = match self.world.process(id) {
            Some(member) => member.disk(),
            None => &self.world.disk(id).expect("it is down").1,
        };
        let Some(rot) = disk.draw_rot(&mut rng) else { return };
        if !rot::is_bearable(&self.world, id, &rot) {
            return;
        }
        self.world.note(format_args!("the disk of {id} is damaged: {rot:?}"));
        self.watch.excuse(id);
        self.hurt.insert(id);
        if let Some(disk) = self.disk_mut(id) {
            disk.suffer(&rot);
        }
    }

    fn disk_mut(&mut self, id: NodeId) -> Option<&mut D> {
        if self.world.is_up(id) {
            return self.world.process_mut(id).map(Member::disk_mut);
        }
        self.world.disk_mut(id).map(|(_, disk)| disk)
    }

    /// A call of a disk is made to fail, of a node at work.
    pub(super) fn fail(&mut self) {
        if self.rng.below(100) >= self.plan.faults {
            return;
        }
        let nodes: Vec<NodeId> = self.world.ids().filter(|id| self.world.is_up(*id)).collect();
        if nodes.is_empty() {
            return;
        }
        let id = *self.rng.pick(&nodes);
        let mut rng = self.rng.fork("fail");
        self.rng.draw();
        if let Some(fault) = self.disk_mut(id).and_then(|disk| disk.fail(&mut rng)) {
            self.world.note(format_args!("the disk of {id} will fail: {fault:?}"));
        }
    }

    /// No disk fails any more. Those who were refused something start anew.
    pub(super) fn heal(&mut self) {
        for id in self.world.ids().collect::<Vec<_>>() {
            self.disk_mut(id).into_iter().for_each(D::heal);
        }
    }

    /// Now and then a node that has just voted for another crashes, and its vote is lost with it
    /// while the election goes on: nothing else can make it vote twice.
    pub(super) fn forget_vote(&mut self, id: NodeId) {
        let Some(vote) = self.world.process(id).map(|member| member.disk().vote()) else { return };
        let old = self.votes.insert(id, vote);
        let given = vote.1.is_some_and(|to| to != u64::from(id.0));
        if old == Some(vote) || !given || self.rng.below(20) > 0 {
            return;
        }
        self.world.note(format_args!("{id} crashes after its vote"));
        self.world.crash(id);
        if let Some(rot) = self.disk_mut(id).and_then(D::vote_rot) {
            self.world.note(format_args!("its vote is lost: {rot:?}"));
            self.watch.excuse(id);
            self.hurt.insert(id);
            self.disk_mut(id).into_iter().for_each(|disk| disk.suffer(&rot));
        }
        self.world.restart(id);
    }
}
