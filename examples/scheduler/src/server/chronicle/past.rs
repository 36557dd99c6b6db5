//! Events of the time before: what is left of them in the store.

use mason_core::mirror::{Job, Mirror};
use mason_core::types::JobKey;

use super::meaning::{ending, phase_word};
use super::{happened, to_job, to_node, to_run};
use crate::api::wire::Event;

/// The last of them, the oldest first. Their revision is 0.
pub(super) fn events(mirror: &Mirror, max: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for (key, job) in mirror.jobs() {
        of_job(key, job, &mut events);
        // Sorting now and then keeps the memory small, whatever the store holds.
        if events.len() > 4 * max {
            keep_last(&mut events, max);
        }
    }
    for (id, node) in mirror.nodes() {
        if let Some(alive) = &node.alive {
            let message = format!("its agent answers at {}", alive.value.address);
            events.push(to_node(happened(0, alive.value.since, "joined", message), id));
        }
    }
    keep_last(&mut events, max);
    events
}

fn keep_last(events: &mut Vec<Event>, max: usize) {
    events.sort_by_key(|event| event.at);
    events.drain(..events.len().saturating_sub(max));
}

fn of_job(key: &JobKey, job: &Job, events: &mut Vec<Event>) {
    if let Some(record) = &job.record {
        let message = format!("a {} was made", record.value.work.kind());
        events.push(to_job(happened(0, record.value.created_at, "created", message), key));
    }
    for (index, past) in &job.pasts {
        let past = &past.value;
        let (what, message) = ending(&past.exit);
        let event = happened(0, past.exit.finished_at, what, message);
        events.push(to_run(event, (key, *index), &past.run, &past.node));
    }
    if let Some(state) = &job.state {
        let state = &state.value;
        let event = happened(0, state.since, phase_word(state.phase), state.message.clone());
        events.push(to_job(event, key));
    }
}
