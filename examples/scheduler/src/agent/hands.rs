//! One hand for each run: what the agent does with images and containers, one thing after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use mason_core::record::RunRecord;
use mason_core::types::{Ms, NodeId, RunId};
use mason_node::runtime::Runner;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::News;
use super::hand::{Hand, Order};
use super::known::Known;
use super::memo::Memos;
use super::shelf::Shelf;
use crate::secrets::Keyring;
use crate::store::Store;

/// Orders that wait for a hand at most.
const ORDERS_MAX: usize = 8;

/// Questions of probes under way at once: each is a thread.
pub(super) const QUESTIONS_MAX: usize = 64;

pub(super) type Told = News;

/// What all hands share.
pub(super) struct Tools {
    pub(super) store: Store,
    pub(super) node: NodeId,
    pub(super) runner: Arc<Runner>,
    pub(super) images: Shelf,
    /// Unseals secrets, if the agent was given keys.
    pub(super) keyring: Option<Keyring>,
    pub(super) known: Arc<Known>,
    pub(super) memos: Memos,
    pub(super) questions: Semaphore,
    /// An image came, or went.
    pub(super) images_changed: Notify,
    pub(super) told: mpsc::Sender<Told>,
}

/// All hands.
pub(super) struct Hands {
    tools: Arc<Tools>,
    hands: Mutex<BTreeMap<RunId, mpsc::Sender<Order>>>,
}

impl Hands {
    pub(super) fn new(tools: Arc<Tools>) -> Hands {
        Hands { tools, hands: Mutex::default() }
    }

    /// A run that was there before.
    pub(super) fn adopt(&self, run: &RunId) {
        self.order(run, Order::Adopt);
    }

    pub(super) fn prepare(&self, run: &RunId, record: RunRecord) {
        self.order(run, Order::Prepare(Box::new(record)));
    }

    pub(super) fn start(&self, run: &RunId) {
        self.order(run, Order::Start);
    }

    pub(super) fn stop(&self, run: &RunId, grace: Option<Ms>) {
        self.order(run, Order::Stop(grace));
    }

    pub(super) fn reap(&self, run: &RunId) {
        self.order(run, Order::Reap);
        self.hands.lock().remove(run);
    }

    fn order(&self, run: &RunId, order: Order) {
        let mut hands = self.hands.lock();
        let hand = hands.entry(run.clone()).or_insert_with(|| {
            let (orders, waiting) = mpsc::channel(ORDERS_MAX);
            tokio::spawn(Hand::new(self.tools.clone(), run.clone()).work(waiting));
            orders
        });
        // A run is prepared, started, stopped, killed and reaped once each: there is room.
        if hand.try_send(order).is_err() {
            tracing::error!(%run, "a hand does not take its orders");
        }
    }
}
