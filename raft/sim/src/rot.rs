//! Which disks may go bad, and when: as much as a group is said to survive.
//!
//! What is promised of a group with damaged disks, as long as each damage is noticed when what it
//! hit is read:
//!
//! * **Safety, whatever is lost.** However many disks are damaged, nothing that was acknowledged is
//!   forgotten or replaced: who misses something leads nobody, and who has lost the end of its log
//!   votes for no log that may be worse. This is what the watch checks.
//! * **Progress, if a whole copy is left.** A group goes on when all members can be reached and
//!   - one voter has a whole log, snapshot and state, and no log is newer than its own, and
//!   - of the voters less than half have lost the end of their logs, and
//!   - no member is removed before all are whole again.
//!
//!   The first can then lead: those with holes vote for it, and it has what they miss. Without the
//!   first, what is lost may be lost everywhere, and a group that went on would have to guess.
//!   Without the second nobody is left to say that a log is good enough: each in doubt may have
//!   acknowledged what nobody else remembers. Without the third an operator removes the whole copy,
//!   and who is no member is asked for nothing. A lost vote needs none of them: it comes back with
//!   time.
//!
//! So a seed damages any number of disks, at work and at rest, and stops where one damage more
//! would take the progress away. Damage that leaves it may yet meet a group whose whole member then
//! crashes: it comes back with all that it had acknowledged, and those who had taken more from it
//! vouch for the rest.

use drystone_raft::{NodeId as MemberId, Role, Suffrage};
use drystone_sim::{NodeId, World};

use crate::disk::Disk;
use crate::machine::StateMachine;
use crate::member::Member;

/// Whether the group could still go on if this were the disk of `hurt`.
pub(crate) fn is_bearable<S: StateMachine>(
    world: &World<Member<S>>,
    hurt: NodeId,
    damaged: &Disk<S>,
) -> bool {
    let disks = world.ids().map(|id| {
        let disk = match world.process(id) {
            Some(member) => member.disk(),
            None => &world.disk(id).expect("who is not up is down").1,
        };
        (MemberId::from(id.0), if id == hurt { damaged } else { disk })
    });
    let disks: Vec<(MemberId, &Disk<S>)> = disks.collect();
    let newest = disks.iter().map(|(_, disk)| disk.last()).max().unwrap_or_default();
    let serves = |(id, disk): &&(MemberId, &Disk<S>)| {
        let votes = disk
            .members()
            .members()
            .iter()
            .any(|one| one.id == *id && one.suffrage == Suffrage::Voter);
        votes && disk.can_serve() && disk.last() == newest
    };
    let Some((_, leader)) = disks.iter().find(serves) else { return false };
    let members = leader.members();
    // While members change, the whole copy may be on its way out.
    let other = |(_, member): (NodeId, &Member<S>)| {
        member.raft.role() == Role::Leader && member.raft.members() != members
    };
    if members.is_joint() || world.processes().any(other) {
        return false;
    }
    let voters = members.members().iter().filter(|one| one.suffrage != Suffrage::Learner);
    let voters: Vec<MemberId> = voters.map(|one| one.id).collect();
    let doubtful = disks.iter().filter(|(id, disk)| voters.contains(id) && disk.is_in_doubt());
    doubtful.count() <= (voters.len() - 1) / 2
}
