//! One node of a group, as everyone who is compared has to show it.
//!
//! A replica does no I/O and knows no clock: it is handed messages, ticks and proposals, and hands
//! back messages. Its log is in memory and a write to it is done at once, so what is measured is
//! the protocol and nothing else. It applies what is committed by adding it up; the sums show that
//! everybody has applied the same.

use anyhow::Result;

use super::post::Post;

/// What is proposed: a number, and a word that the proposer is free to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The number of the proposal; begins at 1.
    pub number: u64,
    /// A word.
    pub word: u64,
}

/// Bytes of a payload in an entry.
pub const PAYLOAD_BYTES: usize = 16;

impl Payload {
    /// As it is put in an entry.
    #[must_use]
    pub fn bytes(self) -> [u8; PAYLOAD_BYTES] {
        let mut bytes = [0; PAYLOAD_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..].copy_from_slice(&self.word.to_le_bytes());
        bytes
    }

    /// From an entry; none from an entry of another length, as those that leaders begin with.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Payload> {
        let bytes: &[u8; PAYLOAD_BYTES] = bytes.try_into().ok()?;
        let (number, word) = bytes.split_at(8);
        Some(Payload {
            number: u64::from_le_bytes(number.try_into().ok()?),
            word: u64::from_le_bytes(word.try_into().ok()?),
        })
    }
}

/// What a replica has applied: the state machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Payloads.
    pub count: u64,
    /// The sum of their numbers, wrapping.
    pub sum: u64,
    /// The greatest of their words.
    pub word_max: u64,
}

impl Applied {
    /// Applies the bytes of an entry.
    pub fn take(&mut self, bytes: &[u8]) {
        if let Some(Payload { number, word }) = Payload::read(bytes) {
            self.count += 1;
            self.sum = self.sum.wrapping_add(number);
            self.word_max = self.word_max.max(word);
        }
    }
}

/// What kind of group it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Voters, of ids 1 to this.
    pub voters: u64,
    /// How linearizable reads are to be answered.
    pub reads: Reads,
    /// Whether a group that has nothing to do may stop its clocks; few can.
    pub quiesce: bool,
}

impl Shape {
    /// So many voters, and nothing special.
    #[must_use]
    pub fn of(voters: u64) -> Shape {
        Shape { voters, reads: Reads::Index, quiesce: false }
    }
}

/// How a replica is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// This one.
    pub id: u64,
    /// Its group.
    pub shape: Shape,
    /// Whence it takes its election timeouts.
    pub seed: u64,
}

/// How linearizable reads are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// By asking a quorum whether the leader still is one.
    #[default]
    Index,
    /// By the clock.
    Lease,
}

/// Ticks without a leader after which a follower may campaign: `E`. It draws a timeout from `E` to
/// `2 E - 1`.
pub const ELECTION_TICKS: u64 = 10;

/// Ticks between two heartbeats of a leader.
pub const HEARTBEAT_TICKS: u64 = 1;

/// A node. Everything it says goes to the post, in the order in which it is said.
pub trait Replica: Sized {
    /// What travels between nodes.
    type Message;

    /// What the tables call it.
    const NAME: &'static str;

    /// Bytes of the core itself, without what it has on the heap, and without the log and the
    /// counters of this comparison.
    const INLINE_BYTES: usize;

    /// A new one, with an empty log and all voters in its configuration. Pre-vote and check-quorum
    /// are on.
    ///
    /// # Errors
    /// If it refuses.
    fn start(settings: &Settings) -> Result<Self>;

    /// Takes what has arrived and empties it.
    ///
    /// # Errors
    /// If it refuses.
    fn receive(
        &mut self,
        now: u64,
        arrived: &mut Vec<Self::Message>,
        post: &mut Post<Self::Message>,
    ) -> Result<()>;

    /// Time has come to `now`; called once for every tick.
    ///
    /// # Errors
    /// If it refuses.
    fn tick(&mut self, now: u64, post: &mut Post<Self::Message>) -> Result<()>;

    /// Proposes all of these at once; whoever does not lead may drop them.
    ///
    /// # Errors
    /// If it refuses though it leads.
    fn propose(
        &mut self,
        now: u64,
        payloads: &[Payload],
        post: &mut Post<Self::Message>,
    ) -> Result<()>;

    /// Asks for so many linearizable reads, which arrive at once and each by itself.
    ///
    /// # Errors
    /// If it refuses though it leads.
    fn read(&mut self, now: u64, count: u64, post: &mut Post<Self::Message>) -> Result<()>;

    /// Reads that have been answered so far.
    fn reads_answered(&self) -> u64;

    /// The term in which this one leads; none if it does not.
    fn leads(&self) -> Option<u64>;

    /// What it has applied.
    fn applied(&self) -> &Applied;

    /// Whether it wants to hear of ticks, though no message comes.
    fn needs_ticks(&self) -> bool {
        true
    }

    /// Forgets all of its log that it may, but for the last `keep` entries.
    ///
    /// # Errors
    /// If it refuses.
    fn compact(&mut self, now: u64, keep: u64, post: &mut Post<Self::Message>) -> Result<()>;

    /// Gives back memory that it holds for growth, as far as it can be told to.
    fn shrink(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum over something else than what was proposed would call different logs equal.
    #[test]
    fn payloads_are_read_as_they_were_written() {
        let payload = Payload { number: 7, word: u64::MAX - 1 };
        assert_eq!(Payload::read(&payload.bytes()), Some(payload));
        assert_eq!(Payload::read(b"no-op"), None);
        let mut applied = Applied::default();
        applied.take(&payload.bytes());
        applied.take(b"");
        assert_eq!(applied, Applied { count: 1, sum: 7, word_max: u64::MAX - 1 });
    }
}
