//! raft-rs, of TiKV: `RawNode`, driven as its documentation says.
//!
//! Its log is ours, in memory and without a lock: what it has of its own for tests is slower. Its
//! limits are wide enough never to be met: 1 MiB of entries in a message, where its default is one
//! entry, and 256 messages under way.
//!
//! It draws election timeouts from the thread's random numbers, which cannot be given a seed. So it
//! is told of a range so wide that it never draws one that we would, and whenever it has drawn, we
//! put one of ours in its place.

mod memory_log;

use ::raft::eraftpb::{ConfState, Entry, Message, MessageType};
use ::raft::{Config, RawNode, ReadOnlyOption, StateRole};
use anyhow::Result;
use bytes::Bytes;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use self::memory_log::MemoryLog;
use super::post::Post;
use super::replica::{Applied, ELECTION_TICKS, HEARTBEAT_TICKS, Payload, Reads, Replica, Settings};

/// The range that it draws from. One value in 10^17 is one that we would draw.
const WIDE: std::ops::Range<usize> = ELECTION_TICKS as usize..1 << 62;

/// The range that we draw from.
const DRAWN: std::ops::Range<usize> = ELECTION_TICKS as usize..2 * ELECTION_TICKS as usize;

/// Bytes of entries in a message, at most.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// A node of raft-rs. With `AS_ONE` all that is proposed at once comes in one message, and payloads
/// without a vector around them, as a user can arrange who goes below its `propose`.
pub struct Node<const AS_ONE: bool> {
    raw: RawNode<MemoryLog>,
    random: ChaCha8Rng,
    applied: Applied,
    reads_asked: u64,
    reads_answered: u64,
}

/// Proposals one by one.
pub type RaftRs = Node<false>;

/// Proposals of a batch in one message.
pub type RaftRsAsOne = Node<true>;

impl<const AS_ONE: bool> Node<AS_ONE> {
    /// Does all that the core wants done.
    fn drive(&mut self, post: &mut Post<Message>) -> Result<()> {
        if !DRAWN.contains(&self.raw.raft.randomized_election_timeout()) {
            self.raw.raft.set_randomized_election_timeout(self.random.random_range(DRAWN));
        }
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            send(ready.take_messages(), post);
            self.reads_answered += ready.take_read_states().len() as u64;
            apply(&mut self.applied, &ready.take_committed_entries());
            if !ready.entries().is_empty() {
                self.raw.mut_store().append(ready.take_entries());
            }
            if let Some(hard) = ready.hs() {
                self.raw.mut_store().hard_state = hard.clone();
            }
            send(ready.take_persisted_messages(), post);
            let mut light = self.raw.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.raw.mut_store().hard_state.commit = commit;
            }
            send(light.take_messages(), post);
            apply(&mut self.applied, &light.take_committed_entries());
            self.raw.advance_apply();
        }
        Ok(())
    }
}

fn send(messages: Vec<Message>, post: &mut Post<Message>) {
    for message in messages {
        post.send(message.to, message);
    }
}

fn apply(applied: &mut Applied, entries: &[Entry]) {
    for entry in entries {
        applied.take(&entry.data);
    }
}

impl<const AS_ONE: bool> Replica for Node<AS_ONE> {
    type Message = Message;

    const NAME: &'static str = if AS_ONE { "raft-rs, batch as one" } else { "raft-rs" };

    const INLINE_BYTES: usize = size_of::<RawNode<MemoryLog>>() - size_of::<MemoryLog>();

    fn start(settings: &Settings) -> Result<Self> {
        let config = Config {
            id: settings.id,
            election_tick: ELECTION_TICKS as usize,
            heartbeat_tick: HEARTBEAT_TICKS as usize,
            min_election_tick: WIDE.start,
            max_election_tick: WIDE.end,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            read_only_option: match settings.shape.reads {
                Reads::Index => ReadOnlyOption::Safe,
                Reads::Lease => ReadOnlyOption::LeaseBased,
            },
            ..Config::default()
        };
        let voters =
            ConfState { voters: (1..=settings.shape.voters).collect(), ..ConfState::default() };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = Node {
            raw: RawNode::new(&config, MemoryLog::new(voters), &logger)?,
            random: ChaCha8Rng::seed_from_u64(settings.seed),
            applied: Applied::default(),
            reads_asked: 0,
            reads_answered: 0,
        };
        node.drive(&mut Post::new(0, 0))?;
        Ok(node)
    }

    fn receive(
        &mut self,
        _now: u64,
        arrived: &mut Vec<Message>,
        post: &mut Post<Message>,
    ) -> Result<()> {
        for message in arrived.drain(..) {
            self.raw.step(message)?;
        }
        self.drive(post)
    }

    fn tick(&mut self, _now: u64, post: &mut Post<Message>) -> Result<()> {
        self.raw.tick();
        self.drive(post)
    }

    fn propose(&mut self, _now: u64, payloads: &[Payload], post: &mut Post<Message>) -> Result<()> {
        if self.leads().is_none() {
            return Ok(());
        }
        if AS_ONE {
            let entry = |payload: &Payload| Entry {
                data: Bytes::from_owner(payload.bytes()),
                ..Entry::default()
            };
            let mut message = Message { from: self.raw.raft.id, ..Message::default() };
            message.set_msg_type(MessageType::MsgPropose);
            message.set_entries(payloads.iter().map(entry).collect::<Vec<_>>().into());
            self.raw.step(message)?;
        } else {
            for payload in payloads {
                self.raw.propose(Vec::new(), payload.bytes().to_vec())?;
            }
        }
        self.drive(post)
    }

    fn read(&mut self, _now: u64, count: u64, post: &mut Post<Message>) -> Result<()> {
        for _ in 0..count {
            self.reads_asked += 1;
            self.raw.read_index(self.reads_asked.to_le_bytes().to_vec());
        }
        self.drive(post)
    }

    fn reads_answered(&self) -> u64 {
        self.reads_answered
    }

    fn leads(&self) -> Option<u64> {
        (self.raw.raft.state == StateRole::Leader).then_some(self.raw.raft.term)
    }

    fn applied(&self) -> &Applied {
        &self.applied
    }

    fn compact(&mut self, _now: u64, keep: u64, _post: &mut Post<Message>) -> Result<()> {
        let applied = self.raw.raft.raft_log.applied;
        self.raw.mut_store().compact(applied.saturating_sub(keep));
        Ok(())
    }

    fn shrink(&mut self) {
        self.raw.mut_store().shrink();
        self.raw.raft.maybe_free_inflight_buffers();
    }
}
