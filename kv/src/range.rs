//! How a range request is read: what to fetch from the index, and what to make of it.
//!
//! ```text
//!   request ── plan ──►  at which revision, which way, how many
//!                             │  index: revisions of the live keys, in key order
//!                             ▼
//!                        key-values ── finish ──►  filter, sort, cut, strip  ──►  reply
//! ```
//!
//! A limit without filter or foreign order fetches `limit + 1` keys and no more; the one beyond the
//! limit tells `more`. Reading backwards by key is as cheap. Any other order, and any filter, has
//! to see the whole range first: that is what the request means.

use std::cmp::Ordering;

use crate::command::{RangeRequest, Sort, SortBy, SortOrder};
use crate::error::Refusal;
use crate::index::Direction;
use crate::reply::RangeReply;
use crate::state::State;
use crate::types::KeyValue;

/// What to fetch for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The main revision to read at.
    pub(crate) at: u64,
    /// The newest main revision, for the reply.
    pub(crate) newest: u64,
    /// Which way to walk the keys.
    pub(crate) direction: Direction,
    /// How many live keys to fetch at most.
    pub(crate) fetch_max: usize,
}

impl Plan {
    /// What `request` needs of `state`, of which `newest` is the newest visible revision.
    pub(crate) fn new(request: &RangeRequest, state: &State, newest: u64) -> Result<Plan, Refusal> {
        let at = state.readable(request.revision, newest)?;
        let direction = match request.sort {
            Some(Sort { by: SortBy::Key, order: SortOrder::Descend }) => Direction::Descending,
            _ => Direction::Ascending,
        };
        let fetch_max = match request.limit {
            _ if request.count_only => 0,
            0 => usize::MAX,
            _ if !request.bounds.is_open() => usize::MAX,
            limit if cuts_before_sorting(request.sort) => limit.saturating_add(1),
            _ => usize::MAX,
        };
        Ok(Plan { at, newest, direction, fetch_max })
    }

    /// The reply, from what was fetched, in the order of the walk.
    pub(crate) fn finish(
        &self,
        request: &RangeRequest,
        mut kvs: Vec<KeyValue>,
        count: u64,
    ) -> RangeReply {
        if !request.bounds.is_open() {
            kvs.retain(|kv| request.bounds.keep(kv.create_revision, kv.mod_revision));
        }
        if let Some(sort) = request.sort {
            sort_kvs(&mut kvs, sort);
        }
        let more = request.limit > 0 && kvs.len() > request.limit;
        if more {
            kvs.truncate(request.limit);
        }
        if request.keys_only {
            for kv in &mut kvs {
                kv.value.clear();
            }
        }
        RangeReply { revision: self.newest, kvs, count, more }
    }
}

/// Whether the first keys of the walk are the ones that the limit keeps.
fn cuts_before_sorting(sort: Option<Sort>) -> bool {
    match sort {
        None => true,
        Some(sort) => sort.by == SortBy::Key || sort.order == SortOrder::AscendAfterLimit,
    }
}

fn sort_kvs(kvs: &mut [KeyValue], sort: Sort) {
    let compare = |a: &KeyValue, b: &KeyValue| match sort.by {
        // The walk was in this order already.
        SortBy::Key => Ordering::Equal,
        SortBy::Version => a.version.cmp(&b.version),
        SortBy::Create => a.create_revision.cmp(&b.create_revision),
        SortBy::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortBy::Value => a.value.cmp(&b.value),
    };
    // Either way equals stay in the order of their keys, as they do in etcd if they are few.
    match sort.order {
        SortOrder::Descend => kvs.sort_by(|a, b| compare(b, a)),
        SortOrder::Ascend | SortOrder::AscendAfterLimit => kvs.sort_by(compare),
    }
}
