//! Where our server answers otherwise than etcd 3.4, on purpose. It follows etcd 3.6.

use drystone_etcd_api::mvccpb::Event;
use drystone_etcd_api::mvccpb::event::EventType;

use super::answer::{Answer, Watched};
use super::step::Step;

/// Why two answers may differ, if they may.
pub(super) fn reason(step: &Step, theirs: &Answer, ours: &Answer) -> Option<&'static str> {
    match (step, theirs, ours) {
        (Step::Txn(_), Answer::Refused(_, theirs), Answer::Refused(_, ours))
            if PUT_REFUSALS.contains(&theirs.as_str())
                && RANGE_REFUSALS.contains(&ours.as_str()) =>
        {
            Some("3.4 checks the puts of a transaction before its reads, 3.6 each in its turn")
        }
        (Step::Watch(watch), Answer::Watch(theirs), Answer::Watch(ours))
            if *theirs == without_deletes_at(watch.start_revision, ours) =>
        {
            Some("a watch from the compacted revision sees its delete since 3.5.16 (etcd's 18089)")
        }
        _ => None,
    }
}

/// The same without what was deleted at that revision.
fn without_deletes_at(revision: i64, watched: &Watched) -> Watched {
    let is_there = |event: &&Event| {
        let at = event.kv.as_ref().is_some_and(|kv| kv.mod_revision == revision);
        !(at && event.r#type() == EventType::Delete)
    };
    let events = watched.events.iter().filter(is_there).cloned().collect();
    Watched { events, ..watched.clone() }
}

const PUT_REFUSALS: [&str; 2] =
    ["etcdserver: key not found", "etcdserver: requested lease not found"];
const RANGE_REFUSALS: [&str; 2] = [
    "etcdserver: mvcc: required revision has been compacted",
    "etcdserver: mvcc: required revision is a future revision",
];
