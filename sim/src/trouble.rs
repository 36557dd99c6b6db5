//! A nemesis: it crashes, pauses, cuts and slows by seed, and knows when to stop.
//!
//! ```text
//!     safety phase                                    liveness phase
//!     ├───────────────────────────────────────────────┼────────────────────────────────┤
//!      crash n2   partition   drift n1   blackout      heal(core n1 n3 n4, the rest …)
//!         └ restart      └ whole                        n1 n3 n4 run, see each other, keep time
//!     nothing bad may ever happen                      something good must happen
//! ```
//!
//! A protocol must be **safe** whatever happens, and **live** when enough is well. Both need a
//! test of their own kind: under a storm nothing can be said about progress, and in fine weather
//! nothing breaks. So there are two phases. In the first everything that the [`Profile`] has comes,
//! at times drawn from the seed, and invariants are checked after every step. Then
//! [`heal`](Trouble::heal) makes a core of nodes well for good: they run, their clocks are right,
//! the links between them are open and good; and it must not matter to them what becomes of the
//! [`Rest`]. A cluster that makes progress only when *all* nodes are well again passes a test that
//! heals everything, and fails here.
//!
//! **Left out:** disks. What a disk does to a process is the process's own affair: its `crash`
//! draws what survives, and with a `SimVfs` beneath it can do all that one does.

use std::fmt;

use crate::process::Process;
use crate::profile::{Profile, Woe};
use crate::rng::Rng;
use crate::shape::Shape;
use crate::types::NodeId;
use crate::world::{Happened, World};

/// What becomes of the nodes outside the core in the liveness phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// They are well too.
    Well,
    /// They are down and stay down.
    Down,
    /// They run, and nothing gets to them from the core or back.
    Cut,
    /// They run and are heard by the core, and nothing gets to them from it.
    Deaf,
    /// Trouble goes on for them, and for all links but those within the core.
    Troubled,
}

/// The kinds of trouble, in the order in which they come when they come at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    Blackout,
    Pause,
    Partition,
    BadLinks,
    Drift,
    Jump,
}

const KINDS: [Kind; 7] = [
    Kind::Crash,
    Kind::Blackout,
    Kind::Pause,
    Kind::Partition,
    Kind::BadLinks,
    Kind::Drift,
    Kind::Jump,
];

/// The end of some trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relief {
    Restart(NodeId),
    Resume(NodeId),
    /// The network is whole, unless it has taken another shape since this one.
    Whole(u64),
    /// The links are good, unless others have got bad since.
    GoodLinks(u64),
    RightClock(NodeId),
}

/// How often each kind has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Harm {
    /// Single crashes.
    pub crashes: u64,
    /// Crashes of all nodes at once.
    pub blackouts: u64,
    /// Pauses.
    pub pauses: u64,
    /// Partitions.
    pub partitions: u64,
    /// Times that links got bad.
    pub bad_links: u64,
    /// Clocks that ran fast or slow.
    pub drifts: u64,
    /// Clocks that jumped.
    pub jumps: u64,
}

/// The nemesis of one world.
#[derive(Debug, Clone)]
pub struct Trouble {
    profile: Profile,
    rng: Rng,
    /// When each kind comes next; `u64::MAX` is never. `None` before the first look at the world.
    due: Option<[u64; KINDS.len()]>,
    reliefs: Vec<(u64, Relief)>,
    shapes: u64,
    degradations: u64,
    /// Nodes that nothing is done to any more.
    core: Vec<NodeId>,
    harm: Harm,
}

impl Trouble {
    /// Trouble as in `profile`, with a generator of its own: `seed.rng("trouble")`. It begins when
    /// it first acts.
    pub fn new(profile: Profile, rng: Rng) -> Trouble {
        let harm = Harm::default();
        let (reliefs, core) = (Vec::new(), Vec::new());
        Trouble { profile, rng, due: None, reliefs, shapes: 0, degradations: 0, core, harm }
    }

    /// Lets the world run until `until`, and does to it what comes meanwhile. `check` looks at the
    /// world after every step.
    pub fn run<P: Process>(
        &mut self,
        world: &mut World<P>,
        until: u64,
        mut check: impl FnMut(&mut World<P>, Happened),
    ) {
        self.act(world);
        while world.now() < until {
            let pause = self.next_at().min(until);
            while let Some(happened) = world.step_until(pause) {
                check(world, happened);
            }
            self.act(world);
        }
    }

    /// When something comes next; `u64::MAX` is never. Call [`act`](Trouble::act) then.
    pub fn next_at(&self) -> u64 {
        let due = self.due.iter().flatten().copied();
        due.chain(self.reliefs.iter().map(|(at, _)| *at)).min().unwrap_or(u64::MAX)
    }

    /// Does what has come by now.
    pub fn act<P: Process>(&mut self, world: &mut World<P>) {
        let now = world.now();
        if self.due.is_none() {
            self.due = Some(KINDS.map(|kind| self.next(kind, now)));
        }
        loop {
            let relief = (0..self.reliefs.len()).min_by_key(|place| self.reliefs[*place].0);
            if let Some(place) = relief.filter(|place| self.reliefs[*place].0 <= now) {
                let (_, relief) = self.reliefs.swap_remove(place);
                self.relieve(world, relief);
                continue;
            }
            let due = self.due.expect("set above");
            let Some(place) = (0..KINDS.len()).find(|place| due[*place] <= now) else { return };
            let next = self.next(KINDS[place], now);
            self.due.as_mut().expect("set above")[place] = next;
            self.strike(world, KINDS[place]);
        }
    }

    /// How often each kind has come so far.
    pub fn harm(&self) -> Harm {
        self.harm
    }

    /// A majority of `voters`, each as likely as the others, in order.
    pub fn draw_core(&mut self, voters: &[NodeId]) -> Vec<NodeId> {
        let mut core = voters.to_vec();
        self.rng.shuffle(&mut core);
        core.truncate(voters.len() / 2 + 1);
        core.sort_unstable();
        core
    }

    /// Begins the liveness phase: the nodes of the core run, keep time and see each other from now
    /// on, whatever becomes of the others.
    pub fn heal<P: Process>(&mut self, world: &mut World<P>, core: &[NodeId], rest: Rest) {
        let names: Vec<String> = core.iter().map(ToString::to_string).collect();
        world.note(format_args!("the core is {}, the rest {rest:?}", names.join(" ")));
        self.act(world);
        self.core = core.to_vec();
        self.core.sort_unstable();
        let core = &self.core;
        self.reliefs.retain(|(_, relief)| match relief {
            Relief::Restart(node) | Relief::Resume(node) | Relief::RightClock(node) => {
                rest == Rest::Troubled && core.binary_search(node).is_err()
            }
            _ => rest == Rest::Troubled,
        });
        if rest != Rest::Troubled {
            self.due = Some([u64::MAX; KINDS.len()]);
        }
        for id in world.ids() {
            let well = rest == Rest::Well || self.in_core(id);
            if well || rest == Rest::Cut || rest == Rest::Deaf {
                world.restart(id);
                world.resume(id);
                world.unblock(id);
                world.set_clock_error(id, 0);
            } else if rest == Rest::Down {
                world.crash(id);
            }
        }
        self.heal_links(world, rest);
    }

    fn heal_links<P: Process>(&self, world: &mut World<P>, rest: Rest) {
        let (inside, outside): (Vec<NodeId>, Vec<NodeId>) =
            world.ids().partition(|id| self.in_core(*id));
        let network = world.network_mut();
        if rest == Rest::Troubled {
            network.restore_among(&inside);
            network.mend_among(&inside);
            return;
        }
        network.restore(&[]);
        network.heal();
        if rest == Rest::Cut || rest == Rest::Deaf {
            network.partition(&Shape::Groups(vec![inside.clone(), outside.clone()]));
        }
        if rest == Rest::Deaf {
            network.mend_from(&outside, &inside);
        }
    }

    fn in_core(&self, id: NodeId) -> bool {
        self.core.binary_search(&id).is_ok()
    }

    fn woe(&self, kind: Kind) -> &Woe {
        match kind {
            Kind::Crash => &self.profile.crash,
            Kind::Blackout => &self.profile.blackout,
            Kind::Pause => &self.profile.pause,
            Kind::Partition => &self.profile.partition,
            Kind::BadLinks => &self.profile.bad_links,
            Kind::Drift => &self.profile.drift,
            Kind::Jump => &self.profile.jump,
        }
    }

    fn next(&mut self, kind: Kind, now: u64) -> u64 {
        match self.woe(kind).every {
            0 => u64::MAX,
            every => now + self.rng.range(1..2 * every + 1),
        }
    }

    /// Draws how long trouble of this kind lasts.
    fn lasting(&mut self, kind: Kind) -> u64 {
        let Woe { lasting, .. } = self.woe(kind).clone();
        self.rng.range(lasting)
    }

    /// One of the nodes that trouble may come to and of which `fit` says yes.
    fn victim<P: Process>(
        &mut self,
        world: &World<P>,
        fit: impl Fn(&World<P>, NodeId) -> bool,
    ) -> Option<NodeId> {
        let victims: Vec<NodeId> =
            world.ids().filter(|id| !self.in_core(*id) && fit(world, *id)).collect();
        (!victims.is_empty()).then(|| *self.rng.pick(&victims))
    }

    /// One of the nodes that run, unless too many do not.
    fn runner<P: Process>(&mut self, world: &World<P>) -> Option<NodeId> {
        let runs = |world: &World<P>, id| world.is_up(id) && !world.is_paused(id);
        let down = world.ids().filter(|id| !runs(world, *id)).count();
        if down >= self.profile.down_max {
            return None;
        }
        self.victim(world, runs)
    }

    fn strike<P: Process>(&mut self, world: &mut World<P>, kind: Kind) {
        let until = world.now() + self.lasting(kind);
        match kind {
            Kind::Crash => {
                let Some(node) = self.runner(world) else { return };
                self.harm.crashes += u64::from(world.crash(node));
                self.reliefs.push((until, Relief::Restart(node)));
            }
            Kind::Blackout => {
                self.harm.blackouts += 1;
                for id in world.ids() {
                    if !self.in_core(id) && world.crash(id) {
                        let back = world.now() + self.lasting(kind);
                        self.reliefs.push((back, Relief::Restart(id)));
                    }
                }
            }
            Kind::Pause => {
                let Some(node) = self.runner(world) else { return };
                self.harm.pauses += u64::from(world.pause(node));
                self.reliefs.push((until, Relief::Resume(node)));
            }
            Kind::Partition => self.partition(world, until),
            Kind::BadLinks => self.degrade(world, until),
            Kind::Drift => {
                let Some(node) = self.victim(world, |_, _| true) else { return };
                let most = u64::from(self.profile.drift_ppm_max);
                let error = self.rng.below(2 * most + 1) as i64 - most as i64;
                self.harm.drifts += 1;
                world.set_clock_error(node, error as i32);
                self.reliefs.push((until, Relief::RightClock(node)));
            }
            Kind::Jump => {
                let Some(node) = self.victim(world, |_, _| true) else { return };
                self.harm.jumps += 1;
                world.step_clock(node, (until - world.now()) as i64);
            }
        }
    }

    fn partition<P: Process>(&mut self, world: &mut World<P>, until: u64) {
        let nodes: Vec<NodeId> = world.ids().collect();
        if nodes.len() < 2 {
            return;
        }
        let shape = Shape::draw(&nodes, &mut self.rng);
        self.harm.partitions += 1;
        self.shapes += 1;
        self.reliefs.push((until, Relief::Whole(self.shapes)));
        self.take_shape(world, &shape);
    }

    fn take_shape<P: Process>(&self, world: &mut World<P>, shape: &Shape) {
        world.note(format_args!("network: {shape}"));
        world.network_mut().partition(shape);
        world.network_mut().mend_among(&self.core);
    }

    /// Makes all links bad, or those of a node, or one, but none within the core.
    fn degrade<P: Process>(&mut self, world: &mut World<P>, until: u64) {
        let nodes: Vec<NodeId> = world.ids().collect();
        if nodes.len() < 2 {
            return;
        }
        let (one, other) = (*self.rng.pick(&nodes), *self.rng.pick(&nodes));
        let how = self.rng.below(3);
        self.harm.bad_links += 1;
        self.degradations += 1;
        self.reliefs.push((until, Relief::GoodLinks(self.degradations)));
        world.note(format_args!("links get bad: {}", ["all", "a node's", "one"][how as usize]));
        let bad = self.profile.bad_link.clone();
        let network = world.network_mut();
        if how == 0 {
            network.worsen(&self.core, bad);
            return;
        }
        for id in nodes {
            if how == 2 && id != other && one != other {
                continue;
            }
            if id == one || (self.in_core(one) && self.in_core(id)) {
                continue;
            }
            network.set_link(one, id, bad.clone());
            if how == 1 {
                network.set_link(id, one, bad.clone());
            }
        }
    }

    fn relieve<P: Process>(&mut self, world: &mut World<P>, relief: Relief) {
        match relief {
            Relief::Restart(node) => {
                world.restart(node);
            }
            Relief::Resume(node) => {
                world.resume(node);
            }
            Relief::Whole(shape) if shape == self.shapes => self.take_shape(world, &Shape::Whole),
            Relief::GoodLinks(count) if count == self.degradations => {
                world.note(format_args!("links are good"));
                world.network_mut().restore(&self.core);
            }
            Relief::RightClock(node) => world.set_clock_error(node, 0),
            Relief::Whole(_) | Relief::GoodLinks(_) => {}
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Harm { crashes, blackouts, pauses, partitions, bad_links, drifts, jumps } = self;
        write!(
            f,
            "{crashes} crashes, {blackouts} blackouts, {pauses} pauses, {partitions} partitions, \
             {bad_links} times bad links, {drifts} clocks off, {jumps} clock jumps"
        )
    }
}

#[cfg(test)]
mod tests;
