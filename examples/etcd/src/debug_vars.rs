//! `/debug/vars`: what scripts read of etcd that were written before there were metrics.
//!
//! ```text
//!   {
//!   "cmdline": ["drystone-etcd","--name=m1"],
//!   "file_descriptor_limit": 20000,
//!   "memstats": {"Sys":…,"HeapSys":…,"StackSys":…},
//!   "raft.status": {"id":"8e9e…","term":2,"vote":"8e9e…","commit":4,"lead":"8e9e…",
//!                   "raftState":"StateLeader","applied":4,"progress":{…},"leadtransferee":"0"}
//!   }
//! ```
//!
//! The names are those of Go's `expvar`, and the order is theirs. Of `memstats` there is what the
//! kernel tells of this process: resident memory, the part of it that belongs to no file, and the
//! first thread's stack. Go's collector has no counterpart, so its numbers are not made up.
//!
//! Of other members a leader knows how far their logs are like its own (`match`; `next` follows),
//! and whether they answer: `StateReplicate` if they do, else `StateProbe`. Nobody is told what
//! another member is sent.

use std::fs;

use drystone_raft::Role;
use rustix::process::{Resource, getrlimit};
use serde_json::{Map, Value, json};

use crate::member::Member;

/// Flags whose values are nobody's business.
const SECRETS: [&str; 2] = ["discovery-password", "discovery-user"];
const HIDDEN: &str = "***";

/// The page.
pub(crate) async fn page(member: &Member) -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let limit = getrlimit(Resource::Nofile).current;
    let variables = [
        ("cmdline", json!(without_secrets(words))),
        ("file_descriptor_limit", json!(limit.unwrap_or(u64::MAX))),
        ("memstats", memory()),
        ("raft.status", raft_status(member).await),
    ];
    let lines = variables.map(|(name, value)| format!("\"{name}\": {value}"));
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// Words of a command line, with what was typed for secrets left out.
fn without_secrets(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut is_next_secret = false;
    let hide = |word: String| {
        if std::mem::take(&mut is_next_secret) {
            return HIDDEN.to_owned();
        }
        let (name, value) = word.split_once('=').map_or((&*word, None), |(a, b)| (a, Some(b)));
        if !name.starts_with('-') || !SECRETS.contains(&name.trim_start_matches('-')) {
            return word;
        }
        is_next_secret = value.is_none();
        if value.is_some() { format!("{name}={HIDDEN}") } else { word }
    };
    words.map(hide).collect()
}

/// What `/proc` tells of memory, in bytes, under Go's names.
fn memory() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let fields = [("Sys", "VmRSS"), ("HeapSys", "RssAnon"), ("StackSys", "VmStk")];
    let fields = fields.iter().filter_map(|(go, kernel)| Some((*go, bytes(kernel)?)));
    Value::Object(fields.map(|(name, bytes)| (name.to_owned(), json!(bytes))).collect())
}

/// Where this member stands in its group.
async fn raft_status(member: &Member) -> Value {
    let applied = member.kv.status().applied;
    // A member that ends has no group any more.
    let Ok(group) = member.kv.group_status().await else { return Value::Null };
    let own = member.identity.member.0;
    let hex = |id: u64| format!("{id:x}");
    let place =
        |matched: u64, state: &str| json!({"match": matched, "next": matched + 1, "state": state});
    let mut progress = Map::new();
    if group.role == Role::Leader {
        progress.insert(hex(own), place(group.last.index.0, "StateReplicate"));
        for follower in &group.followers {
            let state = if follower.in_touch { "StateReplicate" } else { "StateProbe" };
            progress.insert(hex(follower.id), place(follower.matched.0, state));
        }
    }
    json!({
        "id": hex(own),
        "term": group.hard.term.0,
        "vote": hex(group.hard.vote.unwrap_or(0)),
        // What is applied is committed, and the page must not deny it.
        "commit": group.commit.0.max(applied),
        "lead": hex(group.leader.unwrap_or(0)),
        "raftState": match group.role {
            Role::Leader => "StateLeader",
            Role::Candidate => "StateCandidate",
            Role::PreCandidate => "StatePreCandidate",
            Role::Follower | Role::Stopped => "StateFollower",
        },
        "applied": applied,
        "progress": progress,
        "leadtransferee": "0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Anybody may read the page, and pages end up in tickets.
    #[test]
    fn passwords_are_not_shown() {
        let words = ["etcd", "--discovery-password=x", "-discovery-user", "root:y", "--name=z"];
        let shown = without_secrets(words.iter().map(|word| (*word).to_owned()));
        let expected = ["etcd", "--discovery-password=***", "-discovery-user", "***", "--name=z"];
        assert_eq!(shown, expected);
    }

    // A reader that sums them up must not get nothing for a process that is there.
    #[test]
    fn memory_is_what_the_kernel_tells() {
        let memory = memory();
        let bytes = |name: &str| memory[name].as_u64().unwrap();
        assert!(0 < bytes("HeapSys") && bytes("HeapSys") <= bytes("Sys"), "{memory}");
        assert!(bytes("StackSys") > 0);
    }
}
