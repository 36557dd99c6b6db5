//! What is refused when there is more to do than can be done in time.
//!
//! **The problem.** A server that takes in everything answers everything late. The keep-alive of a
//! lease waits behind forty thousand puts whose clients have given up, the lease ends, and a
//! service fails over because somebody else wrote a loop.
//!
//! **The idea.** What counts is how long things wait, not how many there are: a queue that empties
//! is no overload, however long it was for a moment. Three queues are watched, each by the least
//! that anybody has waited in it lately; while even that is long, what is newly asked waits for a
//! moment where it is in nobody's way, or is refused, and what matters least first ([`Class`]):
//!
//! ```text
//!                     ┌── vital ─────────────────────────────────► never waits nor is refused here
//!   request ──► class ┼── small ──► is this thread late? ──► commands ─► window, lobby
//!                     └── large ──► is it a little late? ──► commands ─► half of the window, lobby
//!                                                        └─► reads ────► line
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`class`] | what each call is |
//! | [`window`] | how many bytes of commands may be under way, by how long commands take |
//! | [`lobby`] | commands that wait until they may be |
//! | [`line`] | long reads, of which a worker does a few at once; the others stand in line |
//! | [`pulse`] | how late a worker gets to what has been there for it |
//! | [`room`] | how many bytes of large messages are held, of either direction |
//!
//! Consensus is not asked: its messages come in at another port, to threads of their own, and
//! reads that it confirms (those of keep-alives too) overtake commands there.
//!
//! **Left out.** Nothing here knows who asks: that is [`crate::user_limits`].

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tonic::Status;

pub(crate) use class::Class;
pub(crate) use room::{Held, Room};

use crate::error_text;
use crate::metrics::Counter;
use window::{Flow, Pass};

pub(crate) mod class;
pub(crate) mod line;
mod lobby;
pub(crate) mod pulse;
pub(crate) mod room;
pub(crate) mod window;

/// Bytes of large requests that are held at once, until they are answered.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// Bytes of large answers that clients have not taken.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How long a command waits for room: who has waited for longer had better ask another member.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Commands take too long: it has waited in vain, or too many wait.
    Commands,
    /// It has stood in line for too long, or the line is too long.
    Line,
    /// The thread that would serve it is late.
    Late,
    /// Too much memory is held by others like it.
    Memory,
    /// Its user has had as many as he may have.
    UserRequests,
    /// Its user has had as many bytes as he may have.
    UserBytes,
    /// Its user has as many under way as he may have.
    UserInFlight,
}

/// As the metrics have them.
const REASONS: [(Reason, &str); 7] = [
    (Reason::Commands, "commands"),
    (Reason::Line, "line"),
    (Reason::Late, "late"),
    (Reason::Memory, "memory"),
    (Reason::UserRequests, "user_requests"),
    (Reason::UserBytes, "user_bytes"),
    (Reason::UserInFlight, "user_in_flight"),
];

/// Lets requests in, or does not.
pub(crate) struct Admission {
    commands: Flow,
    /// Large requests.
    requests: Room,
    /// Large answers.
    pub(crate) answers: Room,
    refused: [[Counter; REASONS.len()]; Class::ALL.len()],
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            commands: Flow::new(Instant::now()),
            requests: Room::new(REQUEST_BYTES_MAX),
            answers: Room::new(ANSWER_BYTES_MAX),
            refused: Default::default(),
        }
    }
}

impl Admission {
    /// What can be said of a call before its message has come.
    pub(crate) fn look(&self, class: Class, is_command: bool) -> Result<(), Status> {
        if class == Class::Vital {
            return Ok(());
        }
        if pulse::is_late(class) {
            return Err(self.refuse(class, Reason::Late));
        }
        if is_command && self.commands.is_full(class) {
            return Err(self.refuse(class, Reason::Commands));
        }
        Ok(())
    }

    /// Makes room for a request of so many bytes, of which few are there yet.
    pub(crate) fn hold_request(&self, is_command: bool, bytes: usize) -> Result<Held, Status> {
        let class = if room::is_small(bytes) { Class::Small } else { Class::Large };
        if is_command && self.commands.is_full(class) {
            return Err(self.refuse(class, Reason::Commands));
        }
        let held = self.requests.take(bytes);
        held.ok_or_else(|| self.refuse(Class::Large, Reason::Memory))
    }

    /// Lets a command of so many bytes go on its way, when there is room.
    pub(crate) async fn command(&self, class: Class, bytes: usize) -> Result<Pass<'_>, Status> {
        match self.commands.enter(class, bytes) {
            Some(pass) => Ok(pass),
            // Seldom: it gets no room in the future of every call.
            None => Box::pin(self.wait(class, bytes)).await,
        }
    }

    async fn wait(&self, class: Class, bytes: usize) -> Result<Pass<'_>, Status> {
        let pass = match self.commands.wait(class, bytes) {
            Some(wait) => timeout(PATIENCE, wait).await.ok(),
            None => None,
        };
        pass.ok_or_else(|| self.refuse(class, Reason::Commands))
    }

    /// Counts a refusal, and says what is told.
    pub(crate) fn refuse(&self, class: Class, reason: Reason) -> Status {
        let reason = REASONS.iter().position(|(one, _)| *one == reason);
        self.refused[class as usize][reason.expect("it is one of them")].add(1);
        error_text::overloaded()
    }

    /// Class, reason, and how many were refused.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let classes = Class::ALL.iter().zip(&self.refused);
        classes.flat_map(|(class, counters)| {
            let each = REASONS.iter().zip(counters);
            each.map(|((_, reason), count)| (class.name(), *reason, count.value()))
        })
    }

    /// Bytes of commands that may be under way.
    pub(crate) fn window(&self) -> u64 {
        self.commands.limit()
    }

    /// How many commands wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.commands.waiting()
    }
}
