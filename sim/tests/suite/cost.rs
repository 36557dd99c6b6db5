//! What a message costs: no allocation, once everything has its size.

use drystone_sim::{Input, InputOf, Link, NodeId, OutboxOf, Process, Rng, World};

/// Passes every message on, and moves its deadline.
struct Relay {
    deadline: u64,
}

impl Process for Relay {
    type Message = [u64; 8];
    type Event = ();
    type Disk = ();

    fn start(id: NodeId, (): (), now: u64, out: &mut OutboxOf<'_, Relay>) -> Relay {
        NodeId::first(5).for_each(|to| out.send(to, [u64::from(id.0); 8]));
        Relay { deadline: now + 500 }
    }

    fn step(&mut self, now: u64, input: InputOf<Relay>, out: &mut OutboxOf<'_, Relay>) {
        self.deadline = now + 500;
        if let Input::Message { message, .. } = input {
            out.send(NodeId(out.me().0 % 5 + 1), message);
            out.later(10, ());
        }
    }

    fn deadline(&self) -> Option<u64> {
        Some(self.deadline)
    }

    fn crash(self, _: &mut Rng) {}
}

// Millions of steps a second leave no time for an allocator.
#[test]
fn a_step_allocates_nothing() {
    let mut world = World::<Relay>::new(1);
    world.network_mut().set_all(Link::datagrams(1..100));
    world.add_all([(); 5]);
    world.run_until(400_000);
    let before = world.steps();
    let now = world.now();
    let allocations = allocation_counter::measure(|| {
        world.run_until(now + 200_000);
    });
    assert!(world.steps() - before > 50_000);
    assert_eq!(allocations.count_total, 0);
}
