//! etcd's rules for the members of a group, written as a walk over everybody for every question.

use std::sync::Arc;

use drystone_kv::command::{AlarmKind, Command};
use drystone_kv::members::{Cluster, Member};
use drystone_kv::reply::{Alarm, ClusterReply};
use drystone_kv::{Outcome, Refusal, Reply};

use super::Model;

/// What may be said of members at all.
pub(super) fn sizes(command: &Command) -> Result<(), Refusal> {
    let (mut names, mut lists) = (Vec::new(), Vec::new());
    let mut members = Vec::new();
    match command {
        Command::ClusterInit { members: all, .. } if all.len() > 256 => {
            return Err(Refusal::TooLarge);
        }
        Command::ClusterInit { members: all, .. } => members.extend(all),
        Command::MemberAdd { member, .. } | Command::ClusterForce { member, .. } => {
            members.push(member);
        }
        Command::MemberUpdate { peer_urls, .. } => lists.push(peer_urls),
        Command::MemberPublish { name, client_urls, .. } => {
            names.push(name);
            lists.push(client_urls);
        }
        _ => {}
    }
    for member in members {
        names.push(&member.name);
        lists.extend([&member.peer_urls, &member.client_urls]);
    }
    let large = names.iter().any(|name| name.len() > 1024)
        || lists.iter().any(|list| list.len() > 64)
        || lists.iter().copied().flatten().any(|url| url.len() > 2048);
    if large { Err(Refusal::TooLarge) } else { Ok(()) }
}

impl Model {
    pub(super) fn change_members(&mut self, command: &Command) -> Outcome {
        sizes(command)?;
        // A copy is changed, and taken only if nothing is refused on the way.
        let mut next = self.cluster.clone();
        match command.clone() {
            Command::ClusterInit { cluster, members } if next.id.is_none() => {
                next.id = Some(cluster);
                for member in members {
                    come_in(&mut next, member)?;
                }
            }
            Command::ClusterInit { .. } => {}
            Command::MemberAdd { .. } if next.id.is_none() => return Err(Refusal::NoCluster),
            Command::MemberAdd { member, learners_max } => {
                let is_learner = member.is_learner;
                come_in(&mut next, member)?;
                let learners = next.members.iter().filter(|member| member.is_learner).count();
                if is_learner && learners as u64 > learners_max {
                    return Err(Refusal::TooManyLearners);
                }
            }
            Command::MemberRemove { id } => {
                find(&mut next, id)?;
                next.members.retain(|member| member.id != id);
                next.removed.insert(id);
            }
            Command::MemberUpdate { id, peer_urls } => {
                find(&mut next, id)?.peer_urls = peer_urls;
                distinct(&next)?;
            }
            Command::MemberPromote { id } => {
                let member = find(&mut next, id)?;
                if !std::mem::take(&mut member.is_learner) {
                    return Err(Refusal::MemberNotLearner);
                }
            }
            Command::MemberPublish { id, name, client_urls } => {
                let member = find(&mut next, id).map_err(|_| Refusal::MemberNotFound)?;
                (member.name, member.client_urls) = (name, client_urls);
            }
            Command::ClusterForce { cluster, member } => {
                let others = next.members.drain(..).map(|member| member.id);
                let others: Vec<u64> = others.filter(|&id| id != member.id).collect();
                come_in(&mut next, member)?;
                next.removed.extend(others);
                next.id = Some(cluster);
            }
            other => panic!("{other:?} is not of members"),
        }
        if next.id.is_some() && next.members.iter().all(|member| member.is_learner) {
            return Err(Refusal::LastVoter);
        }
        // Whoever is gone has no disk that could be full.
        let gone = |alarm: &Alarm| {
            alarm.kind == AlarmKind::DiskFull && next.removed.contains(&alarm.member)
        };
        self.alarms.retain(|alarm| !gone(alarm));
        self.cluster = next;
        let cluster = Arc::new(self.cluster.clone());
        Ok(Reply::Cluster(ClusterReply { revision: self.revision, cluster }))
    }
}

fn find(cluster: &mut Cluster, id: u64) -> Result<&mut Member, Refusal> {
    if cluster.removed.contains(&id) {
        return Err(Refusal::MemberRemoved);
    }
    cluster.members.iter_mut().find(|member| member.id == id).ok_or(Refusal::MemberNotFound)
}

fn come_in(cluster: &mut Cluster, member: Member) -> Result<(), Refusal> {
    if member.id == 0 {
        return Err(Refusal::MemberNotFound);
    }
    match find(cluster, member.id) {
        Ok(_) => return Err(Refusal::MemberExists),
        Err(Refusal::MemberNotFound) => {}
        Err(refusal) => return Err(refusal),
    }
    cluster.members.push(member);
    cluster.members.sort_by_key(|member| member.id);
    distinct(cluster)
}

/// No two members have a peer URL in common.
fn distinct(cluster: &Cluster) -> Result<(), Refusal> {
    for a in &cluster.members {
        for b in &cluster.members {
            let common = a.peer_urls.iter().any(|url| b.peer_urls.contains(url));
            if a.id != b.id && common {
                return Err(Refusal::PeerUrlsExist);
            }
        }
    }
    Ok(())
}
