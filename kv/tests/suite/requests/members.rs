//! Random changes of members: few ids and few URLs, so that they are taken now and then.

use drystone_kv::command::Command;
use drystone_kv::members::Member;
use rand::RngExt as _;

use super::Requests;
use drystone_kv_model::Model;

/// Ids of members, in no order; all but the first can be one's.
const IDS: [u64; 10] = [0, 1, 2, 3, 7, 200, 40_000, u64::MAX, u64::MAX - 1, 1 << 63];

impl Requests {
    /// A change of members, for a store that stands where `oracle` does.
    pub(crate) fn of_members(&mut self, oracle: &Model) -> Command {
        if oracle.cluster.id.is_none() && self.percent(40) {
            let count = self.random.random_range(0..4);
            let members = (0..count).map(|_| self.member()).collect();
            return Command::ClusterInit { cluster: self.random.random(), members };
        }
        match self.random.random_range(0..24) {
            0 => Command::ClusterInit { cluster: 1, members: vec![self.member()] },
            1..8 => {
                let learners_max = self.random.random_range(0..3);
                Command::MemberAdd { member: self.member(), learners_max }
            }
            8..13 => Command::MemberRemove { id: self.id(oracle) },
            13..16 => Command::MemberUpdate { id: self.id(oracle), peer_urls: self.urls(2) },
            16..19 => Command::MemberPromote { id: self.id(oracle) },
            19..23 => Command::MemberPublish {
                id: self.id(oracle),
                name: self.name(),
                client_urls: self.urls(3),
            },
            _ => Command::ClusterForce { cluster: self.random.random(), member: self.member() },
        }
    }

    fn member(&mut self) -> Member {
        Member {
            // So many that those removed do not use them all up.
            id: if self.percent(50) { self.one(&IDS) } else { self.random.random_range(1..400) },
            name: self.name(),
            peer_urls: self.urls(3),
            client_urls: self.urls(2),
            is_learner: self.percent(40),
        }
    }

    /// Mostly of one that is there.
    fn id(&mut self, oracle: &Model) -> u64 {
        let members = &oracle.cluster.members;
        match self.random.random_range(0..10) {
            0 => self.one(&IDS),
            1 => oracle.cluster.removed.first().copied().unwrap_or(7),
            _ if members.is_empty() => 1,
            _ => members[self.random.random_range(0..members.len())].id,
        }
    }

    fn name(&mut self) -> String {
        let len = if self.percent(2) { self.random.random_range(1020..1030) } else { 3 };
        "né\u{1f980}".chars().cycle().take(self.random.random_range(0..=len)).collect()
    }

    fn urls(&mut self, max: usize) -> Vec<String> {
        if self.percent(1) {
            return vec!["u".repeat(self.random.random_range(2040..2052))];
        }
        let max = if self.percent(1) { 70 } else { max };
        let count = self.random.random_range(0..=max);
        (0..count)
            .map(|_| format!("http://10.0.0.{}:2380", self.random.random_range(0..30)))
            .collect()
    }
}
