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
use crate::holdings::Holdings;
use crate::machine::StateMachine;
use crate::member::Member;

/// Whether the group could still go on if this were to go bad on the disk of `hurt`.
pub(crate) fn is_bearable<S: StateMachine, D: Disk<S>>(
    world: &World<Member<S, D>>,
    hurt: NodeId,
    rot: &D::Rot,
) -> bool {
    let Some(disks) = disks(world, Some((hurt, rot))) else { return false };
    let newest = disks.iter().map(|(_, disk)| disk.last).max().unwrap_or_default();
    let mut whole = disks.iter().filter(|(id, disk)| disk.can_serve && votes(*id, disk));
    let Some((_, leader)) = whole.find(|(_, disk)| disk.last == newest) else { return false };
    // While members change, the whole copy may be on its way out.
    let members = &*leader.members;
    let other = |(_, member): (NodeId, &Member<S, D>)| {
        member.raft.role() == Role::Leader && member.raft.members() != members
    };
    let changing = members.is_joint() || world.processes().any(other);
    !changing && most_are_sure(&disks, leader)
}

/// Whether the group must go on when all of it is well: a whole copy is left, and is as new as the
/// others or has what vouches for those that are newer. A leader whose disk was damaged unnoticed
/// may have gone on since, and what it has appended then tells nobody else what was before it.
pub(crate) fn can_go_on<S: StateMachine, D: Disk<S>>(world: &World<Member<S, D>>) -> bool {
    let Some(disks) = disks(world, None) else { return false };
    let mut whole = disks.iter().filter(|(id, disk)| disk.can_serve && votes(*id, disk));
    whole.any(|(_, leader)| {
        let newer = disks.iter().filter(|(_, disk)| disk.last > leader.last);
        let mended = newer.flat_map(|(_, disk)| &disk.anchors).all(|anchor| leader.has(*anchor));
        mended && most_are_sure(&disks, leader)
    })
}

fn disks<S: StateMachine, D: Disk<S>>(
    world: &World<Member<S, D>>,
    rot: Option<(NodeId, &D::Rot)>,
) -> Option<Vec<(MemberId, Holdings)>> {
    let disk = |id: NodeId| {
        let disk = match world.process(id) {
            Some(member) => member.disk(),
            None => &world.disk(id).expect("who is not up is down").1,
        };
        disk.holdings(rot.filter(|(hurt, _)| *hurt == id).map(|(_, rot)| rot))
    };
    world.ids().map(|id| Some((MemberId::from(id.0), disk(id)?))).collect()
}

/// Whether `id` is a voter, as far as its own disk knows.
fn votes(id: MemberId, disk: &Holdings) -> bool {
    disk.members.members().iter().any(|one| one.id == id && one.suffrage == Suffrage::Voter)
}

/// Whether of the members that vote, as `leader` knows them, most can say what they had.
fn most_are_sure(disks: &[(MemberId, Holdings)], leader: &Holdings) -> bool {
    let members = leader.members.members();
    let voters = members.iter().filter(|one| one.suffrage != Suffrage::Learner);
    let voters: Vec<MemberId> = voters.map(|one| one.id).collect();
    let doubtful = disks.iter().filter(|(id, disk)| voters.contains(id) && disk.in_doubt);
    doubtful.count() <= (voters.len() - 1) / 2
}
