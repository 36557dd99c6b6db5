//! Breadth first through all states: the first way that is found to a broken promise is one of the
//! shortest. Then backwards from the ends: whoever cannot reach one is stuck.

use std::collections::{HashMap, VecDeque};

use crate::quick::{Quick, print_of};
use crate::state::State;
use crate::world::{Broken, Config, Step, World};

/// What was found.
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) agents: usize,
    pub(crate) depth: u32,
    /// Whether everything was looked at.
    pub(crate) complete: bool,
    pub(crate) broken: Option<(Broken, Vec<String>)>,
    /// How many states are ends.
    pub(crate) ends: usize,
}

struct Met {
    state: State,
    parent: u32,
    by: Option<Step>,
    depth: u32,
}

/// Looks at all states of an instance, but at no more than so many.
pub(crate) fn explore(config: Config, states_max: usize) -> Report {
    let mut world = World::new(config);
    let first = world.first();
    let mut index: HashMap<u64, u32, Quick> = HashMap::default();
    let mut all = vec![Met { state: first, parent: 0, by: None, depth: 0 }];
    index.insert(print_of(&first), 0);
    // From whom a state can be reached without a fault.
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut report =
        Report { states: 0, agents: 0, depth: 0, complete: true, broken: None, ends: 0 };
    let mut at = 0;
    while at < all.len() && report.broken.is_none() {
        if all.len() > states_max {
            report.complete = false;
            break;
        }
        let Met { state, depth, .. } = all[at];
        report.depth = depth;
        for (step, is_fault) in world.steps(&state) {
            match world.take(&state, step) {
                Err(broken) => {
                    let mut trace = trace(&world, &all, at);
                    trace.push(world.describe(&state, step));
                    report.broken = Some((broken, trace));
                    break;
                }
                Ok(next) => {
                    let to = *index.entry(print_of(&next)).or_insert_with(|| {
                        let by = Some(step);
                        all.push(Met { state: next, parent: at as u32, by, depth: depth + 1 });
                        (all.len() - 1) as u32
                    });
                    if !is_fault && to as usize != at {
                        edges.push((to, at as u32));
                    }
                }
            }
        }
        at += 1;
    }
    (report.states, report.agents) = (all.len(), world.agents.count());
    if report.complete && report.broken.is_none() {
        look_for_ends(&world, &all, edges, &mut report);
    }
    report
}

fn look_for_ends(world: &World, all: &[Met], mut edges: Vec<(u32, u32)>, report: &mut Report) {
    edges.sort_unstable();
    let mut good = vec![false; all.len()];
    let mut queue = VecDeque::new();
    for (at, met) in all.iter().enumerate() {
        if met.state.is_final(world.config.tasks) {
            good[at] = true;
            queue.push_back(at as u32);
            report.ends += 1;
        }
    }
    while let Some(at) = queue.pop_front() {
        let first = edges.partition_point(|edge| edge.0 < at);
        for &(_, from) in edges[first..].iter().take_while(|edge| edge.0 == at) {
            if !std::mem::replace(&mut good[from as usize], true) {
                queue.push_back(from);
            }
        }
    }
    if let Some(stuck) = good.iter().position(|good| !good) {
        let trace = trace(world, all, stuck);
        report.broken = Some(("promise 4: from here no outcome can be reached any more", trace));
    }
}

/// How a state came about, in words.
fn trace(world: &World, all: &[Met], to: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut at = to;
    while let Some(step) = all[at].by {
        let parent = all[at].parent as usize;
        words.push(world.describe(&all[parent].state, step));
        at = parent;
    }
    words.reverse();
    words
}
