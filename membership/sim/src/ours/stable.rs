//! Our own protocol, asked for its stable view instead of its events.

use std::sync::Arc;
use std::time::Duration;

use drystone_membership::{Config, StableConfig, StableView};
use drystone_sim::NodeId;

use super::{Drystone, id_of, of_id};
use crate::gossiper::{Acts, Gossiper, Input, Order, Seat, What};

/// A member whose user looks at a [`StableView`].
#[derive(Debug)]
pub struct Stable {
    inner: Drystone,
    view: StableView,
}

impl Stable {
    /// Lets the view have what the member has seen, and tells how it changes.
    fn look(&mut self, now: u64, acts: &mut Acts) {
        let now = Duration::from_micros(now);
        for event in self.inner.take_events() {
            self.view.handle(now, &event);
        }
        if let Some(change) = self.view.tick(now) {
            change.removed.iter().for_each(|id| acts.saw(of_id(*id), What::Down));
            change.joined.iter().for_each(|id| acts.saw(of_id(*id), What::Up));
        }
    }
}

impl Gossiper for Stable {
    type Config = Config;

    fn start(me: NodeId, seat: &Seat<Config>, seed: u64, now: u64, acts: &mut Acts) -> Stable {
        let stable = StableConfig::default();
        let accusers_max = seat.config.accusers_max.max(stable.high + 1);
        let config = Config { accusers_max, ..(*seat.config).clone() };
        let seat = Seat { config: Arc::new(config), ..seat.clone() };
        let view = StableView::new(id_of(me), stable);
        Stable { inner: Drystone::start(me, &seat, seed, now, acts), view }
    }

    fn handle(&mut self, now: u64, input: Input<'_>, acts: &mut Acts) {
        if let Input::Order(Order::Know(nodes)) = &input {
            nodes.iter().for_each(|node| self.view.assume(id_of(*node)));
        }
        self.inner.handle_quietly(now, &input, acts);
        self.look(now, acts);
    }

    fn deadline(&self) -> Option<u64> {
        let view = self.view.deadline();
        let view = view.map(|at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        self.inner.deadline().into_iter().chain(view).min()
    }

    fn members_count(&self) -> usize {
        self.view.members().len() - 1
    }

    fn members(&self) -> impl Iterator<Item = NodeId> {
        let me = self.inner.swim().me().id;
        self.view.members().iter().filter(move |id| **id != me).map(|id| of_id(*id))
    }
}
