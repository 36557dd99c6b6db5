//! Groups that have nothing to do: the memory they hold, and the CPU time they take.

use std::sync::mpsc::{Receiver, RecvError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::allocator;
use super::cluster::Cluster;
use super::group::Group;
use super::replica::{ELECTION_TICKS, Payload, Replica, Shape};
use crate::cost::Meters;

/// How long a tick is taken to be where a share of the CPU is asked for.
pub const TICK: Duration = Duration::from_millis(100);

/// Entries that were proposed before a group fell idle.
const ENTRIES: u64 = 30;

/// Bytes that were asked for, of cores whose logs have been compacted away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of a follower: the core itself and what it has on the heap.
    pub follower: u64,
    /// Of the three of a group.
    pub group: u64,
}

/// Has a group of three work a little and come to rest, then takes it apart and looks at what is
/// given back. Needs the counting allocator.
///
/// # Errors
/// If the group refuses.
pub fn memory<R: Replica>() -> Result<Memory> {
    allocator::count(true);
    let mut group = at_rest::<Group<R>>(3)?;
    group.compact(0)?;
    group.shrink();
    let (leader, _) = group.leader().context("a group at rest has a leader")?;
    let mut memory = Memory { follower: 0, group: 0 };
    for place in 0..3 {
        let node = group.take_out(place);
        let before = allocator::bytes();
        drop(node);
        let heap = u64::try_from(before - allocator::bytes()).context("what was given back")?;
        let bytes = R::INLINE_BYTES as u64 + heap;
        memory.group += bytes;
        if place != leader {
            memory.follower = memory.follower.max(bytes);
        }
    }
    allocator::count(false);
    Ok(memory)
}

/// The bytes of a group of three that is not taken apart, and of all that runs it, with the few
/// entries of an election in its logs.
///
/// # Errors
/// If the group refuses.
pub fn memory_of_all<C: Cluster>() -> Result<u64> {
    // What is made once for all groups is made by the first.
    C::start(Shape::of(3), 0, 3)?.elect()?;
    allocator::count(true);
    let before = allocator::bytes();
    let mut group = C::start(Shape::of(3), 0, 3)?;
    group.elect()?;
    let bytes = allocator::bytes() - before;
    drop(group);
    allocator::count(false);
    u64::try_from(bytes).context("what is in use")
}

/// A group that has a leader, has done something, and has nothing left to say.
fn at_rest<C: Cluster>(seed: u64) -> Result<C> {
    let mut group = C::start(Shape { quiesce: true, ..Shape::of(3) }, 0, seed)?;
    let leader = group.elect()?;
    for number in 1..=ENTRIES {
        group.propose(leader, &[Payload { number, word: 0 }])?;
        group.tick()?;
    }
    for _ in 0..10 * ELECTION_TICKS {
        group.tick()?;
    }
    Ok(group)
}

/// The CPU time that a tick of so many idle groups takes, on two threads. Groups that do not need
/// to hear of ticks are on nobody's list.
///
/// # Errors
/// If a group refuses.
pub fn cpu_of_a_tick<C: Cluster>(groups: u64, ticks: u32) -> Result<Duration> {
    const THREADS: u64 = 2;
    let work = |thread: u64, go: &Receiver<()>, done: &Sender<()>| -> Result<()> {
        go.recv()?;
        let mine: Result<Vec<C>> =
            (0..groups / THREADS).map(|i| at_rest(1 + i * THREADS + thread)).collect();
        let (mut awake, _asleep): (Vec<_>, Vec<_>) = mine?.into_iter().partition(C::needs_ticks);
        done.send(())?;
        go.recv()?;
        for _ in 0..ticks {
            awake.iter_mut().try_for_each(C::tick)?;
        }
        done.send(())?;
        // Nothing is torn down before the meters have been read.
        Ok(go.recv()?)
    };
    std::thread::scope(|scope| {
        let mut gates = Vec::new();
        for thread in 0..THREADS {
            let ((go, to_go), (done, to_be_done)) = (channel(), channel());
            let work = &work;
            let worker = scope.spawn(move || work(thread, &to_go, &done));
            gates.push((go, to_be_done, worker));
        }
        let step = || -> Result<()> {
            gates.iter().try_for_each(|(go, _, _)| go.send(()))?;
            Ok(gates.iter().try_for_each(|(_, done, _)| done.recv())?)
        };
        let measured = step().and_then(|()| {
            let before = Meters::read()?;
            step()?;
            before.spent()
        });
        for (go, _, worker) in gates {
            drop(go);
            let outcome = worker.join().map_err(|_| anyhow!("a thread of idle groups panicked"))?;
            // One that waits for a gate that is gone has done all it had to.
            outcome.or_else(|error| error.downcast::<RecvError>().map(drop))?;
        }
        Ok(measured?.cpu() / ticks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::raft_rs::RaftRs;

    /// Whoever ticks pays for it.
    #[test]
    fn a_tick_of_idle_groups_takes_time() {
        assert!(cpu_of_a_tick::<Group<RaftRs>>(20, 1000).unwrap() > Duration::ZERO);
    }
}
