//! The cluster as placement sees it, built from the copy for whoever asks why.
//!
//! The leader has one, which is its own; any server may be asked. To build one looks at all nodes
//! and runs, so it is kept: as long as the copy stands still, and on a busy one for a few times as
//! long as it took to build, so that a burst of questions cannot keep a server from its work.
//! The copy is held for a few nodes at a time, for the same reason.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mason_core::leader::Places;
use mason_core::types::{NodeId, Revision};
use parking_lot::Mutex;

use crate::server::Shared;

/// Nodes that are taken in while the copy is held.
const NODES_AT_ONCE: usize = 200;
/// It is kept so many times as long as it took to build.
const KEPT: u32 = 4;

/// The last that was built.
#[derive(Debug, Default)]
pub(in crate::api) struct Clusters {
    last: Arc<Mutex<Option<Built>>>,
}

#[derive(Debug)]
struct Built {
    at: Revision,
    suspects: BTreeSet<NodeId>,
    until: Instant,
    places: Places,
}

impl Clusters {
    /// Looks at one, on a thread of its own. What is changed there must be undone.
    pub(in crate::api) async fn look<T: Send + 'static>(
        &self,
        shared: &Shared,
        look: impl FnOnce(&Shared, &mut Places) -> T + Send + 'static,
    ) -> Option<T> {
        let (last, shared) = (self.last.clone(), shared.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let mut last = last.lock();
            let (at, suspects) = (*shared.revision().borrow(), shared.suspects());
            let is_good = last.as_ref().is_some_and(|it| {
                it.suspects == suspects && (it.at == at || Instant::now() < it.until)
            });
            if !is_good {
                *last = None;
                *last = Some(build(&shared, suspects));
            }
            let built = last.as_mut().expect("it was built");
            look(&shared, &mut built.places)
        });
        // It fails if the look panicked; what was built may be half undone then.
        match looked.await {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::error!(%error, "a look at the cluster failed");
                *self.last.lock() = None;
                None
            }
        }
    }
}

fn build(shared: &Shared, suspects: BTreeSet<NodeId>) -> Built {
    let start = Instant::now();
    let mut places = Places::default();
    let (at, ids) = shared.read(|mirror| {
        let ids: Vec<NodeId> = mirror.nodes().map(|(id, _)| id.clone()).collect();
        (mirror.revision(), ids)
    });
    for ids in ids.chunks(NODES_AT_ONCE) {
        shared.read(|mirror| ids.iter().for_each(|id| places.fill(mirror, id)));
    }
    suspects.iter().for_each(|node| places.set_suspect(node, true));
    let now = Instant::now();
    let took: Duration = now.duration_since(start);
    Built { at, suspects, until: now + took * KEPT, places }
}
