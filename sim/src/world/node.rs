//! One node as the world keeps it: a process or its disk, a clock, and what waits for it.

use crate::clock::Clock;
use crate::network::Parcel;
use crate::process::{Due, Process, Stuck};

/// A node.
///
/// Invariants:
/// * Only a node that is up is paused or blocked.
/// * Nothing is held for a node that is not paused.
#[derive(Debug)]
pub(super) struct Node<P: Process> {
    pub(super) state: State<P, P::Disk>,
    pub(super) clock: Clock,
    /// How often it was started. What was ordered in an earlier life does not come.
    pub(super) life: u32,
    pub(super) paused: bool,
    /// There while it is blocked.
    pub(super) stuck: Option<Box<Stuck<P::Message>>>,
    /// What has arrived during the pause, in that order.
    pub(super) held: Vec<Held<P::Message, P::Event>>,
    /// What the process said last, by its own clock.
    pub(super) deadline: Option<u64>,
}

/// A process, or what is left of it.
#[derive(Debug)]
pub(super) enum State<P, D> {
    Up(P),
    Down(D),
    /// Between the two, while the process's own code makes one from the other.
    Between,
}

/// Something that waits for a paused node.
#[derive(Debug)]
pub(super) enum Held<M, E> {
    Message(Parcel<M>),
    Event(Due<E>),
}

impl<P: Process> Node<P> {
    /// A node that is down, with a disk.
    pub(super) fn new(disk: P::Disk) -> Node<P> {
        Node {
            state: State::Down(disk),
            clock: Clock::RIGHT,
            life: 0,
            paused: false,
            stuck: None,
            held: Vec::new(),
            deadline: None,
        }
    }

    /// Asserts the invariants above.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.is_up() || !self.paused, "a node that is down is not paused");
        assert!(self.is_up() || self.stuck.is_none(), "a node that is down is not blocked");
        assert!(self.paused || self.held.is_empty(), "nothing is held for a node that runs");
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }
}
