//! Members as etcd writes them down: JSON with Go's names.
//!
//! ```json
//! {"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default",
//!  "clientURLs":["http://localhost:2379"]}
//! ```

use std::collections::{BTreeMap, BTreeSet};

use drystone_kv::command::Command;
use drystone_kv::members::Member;
use serde::{Deserialize, Serialize};

/// One member. In a change of the members there may also be that it is promoted.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Described {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    #[serde(rename = "isLearner", skip_serializing_if = "is_false")]
    is_learner: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", skip_serializing_if = "Option::is_none")]
    client_urls: Option<Vec<String>>,
    #[serde(rename = "isPromote", skip_serializing)]
    pub(crate) is_promote: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Described {
    pub(crate) fn of(member: &Member) -> Described {
        let clients = Some(member.client_urls.clone()).filter(|urls| !urls.is_empty());
        Described {
            id: member.id,
            peer_urls: Some(member.peer_urls.clone()),
            is_learner: member.is_learner,
            name: member.name.clone(),
            client_urls: clients,
            is_promote: false,
        }
    }

    /// The member of that id, which the description need not repeat.
    pub(crate) fn member(self, id: u64) -> Member {
        Member {
            id,
            name: self.name,
            peer_urls: self.peer_urls.unwrap_or_default(),
            client_urls: self.client_urls.unwrap_or_default(),
            is_learner: self.is_learner,
        }
    }
}

/// The id as a key.
pub(crate) fn id_text(id: u64) -> String {
    format!("{id:x}")
}

/// The id that a key names.
pub(crate) fn parse_id(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().filter(|&id| id != 0)
}

/// Who is a member, and who was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) removed: BTreeSet<u64>,
}

impl Table {
    /// Makes a change that was committed. One that the table has already changes nothing.
    pub(crate) fn make(&mut self, change: &Command) {
        match change {
            Command::MemberAdd { member, .. } if !self.removed.contains(&member.id) => {
                self.members.entry(member.id).or_insert_with(|| member.clone());
            }
            Command::MemberRemove { id } => {
                self.members.remove(id);
                self.removed.insert(*id);
            }
            Command::MemberUpdate { id, peer_urls } => {
                self.members.entry(*id).and_modify(|member| member.peer_urls.clone_from(peer_urls));
            }
            Command::MemberPromote { id } => {
                self.members.entry(*id).and_modify(|member| member.is_learner = false);
            }
            Command::MemberPublish { id, name, client_urls } => {
                self.members.entry(*id).and_modify(|member| {
                    member.name.clone_from(name);
                    member.client_urls.clone_from(client_urls);
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // etcd reads what is written here, with Go's rules for what may be left out.
    #[test]
    fn description_is_etcds() {
        let member = Member {
            id: 0x8e9e_05c5_2164_694d,
            name: "default".into(),
            peer_urls: vec!["http://localhost:2380".into()],
            client_urls: vec!["http://localhost:2379".into()],
            is_learner: false,
        };
        let json = concat!(
            r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"#,
            r#""name":"default","clientURLs":["http://localhost:2379"]}"#
        );
        assert_eq!(serde_json::to_string(&Described::of(&member)).unwrap(), json);
        let read: Described = serde_json::from_str(json).unwrap();
        assert_eq!(read.member(member.id), member);
        let new = r#"{"id":7,"peerURLs":["u"],"isLearner":true,"isPromote":true}"#;
        let read: Described = serde_json::from_str(new).unwrap();
        assert!(read.is_promote && read.member(7).is_learner);
    }

    // The database may have a change already that the journal has, too.
    #[test]
    fn a_change_that_is_made_twice_is_made_once() {
        let add = |id: u64| Command::MemberAdd {
            member: Member { id, is_learner: true, ..Member::default() },
            learners_max: u64::MAX,
        };
        let mut table = Table::default();
        let changes =
            [add(1), add(2), Command::MemberPromote { id: 1 }, Command::MemberRemove { id: 2 }];
        changes.iter().for_each(|change| table.make(change));
        let once = table.clone();
        assert!(!once.members[&1].is_learner && once.removed.contains(&2));
        changes.iter().for_each(|change| table.make(change));
        assert_eq!(table, once);
    }
}
