//! A group as a story needs it: time passes, nodes die, wires break, and somebody leads.

use anyhow::{Context as _, Result, ensure};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::replica::{ELECTION_TICKS, Payload, Shape};

/// Ticks within which a healthy group has a leader, or something is wrong.
const FIRST_ELECTION_TICKS_MAX: u64 = 100 * ELECTION_TICKS;

/// A group of nodes that can be watched from outside. Nodes have places, from 0.
pub trait Cluster: Sized {
    /// What the tables call it.
    const NAME: &'static str;

    /// A new one, whose messages take `delay` ticks.
    ///
    /// # Errors
    /// If a node refuses.
    fn start(shape: Shape, delay: u64, seed: u64) -> Result<Self>;

    /// Ticks that have been.
    fn now(&self) -> u64;

    /// Whence everything is drawn.
    fn random(&mut self) -> &mut ChaCha8Rng;

    /// Places of those who lead, or believe so, with their terms.
    fn leaders(&self) -> Vec<(usize, u64)>;

    /// The greatest word of a payload that anybody who lives has applied.
    fn word_max(&self) -> u64;

    /// Whether anything would happen if time went on.
    fn needs_ticks(&self) -> bool {
        true
    }

    /// Lets a tick pass.
    ///
    /// # Errors
    /// If a node refuses.
    fn tick(&mut self) -> Result<()>;

    /// Proposes at one node, if it leads.
    ///
    /// # Errors
    /// If the node refuses.
    fn propose(&mut self, place: usize, payloads: &[Payload]) -> Result<()>;

    /// Stops a node for good; what it has sent stays under way.
    ///
    /// # Errors
    /// If it cannot be stopped.
    fn crash(&mut self, place: usize) -> Result<()>;

    /// Cuts wires, or mends them. What is under way on a wire that is cut is lost.
    fn cut(&mut self, change: impl FnOnce(&mut Wires, &mut ChaCha8Rng));

    /// The leader of the newest term, and the term.
    fn leader(&self) -> Option<(usize, u64)> {
        self.leaders().into_iter().max_by_key(|(_, term)| *term)
    }

    /// Ticks until there is a leader, and what it has to say is known to all.
    ///
    /// # Errors
    /// If none comes to be.
    fn elect(&mut self) -> Result<usize> {
        while self.leader().is_none() {
            ensure!(self.now() < FIRST_ELECTION_TICKS_MAX, "{}: nobody is elected", Self::NAME);
            self.tick()?;
        }
        for _ in 0..2 * ELECTION_TICKS {
            self.tick()?;
        }
        let (place, _) =
            self.leader().with_context(|| format!("{}: a leader does not last", Self::NAME))?;
        Ok(place)
    }
}

/// The wires between nodes, of which some are cut.
#[derive(Clone, Debug)]
pub struct Wires {
    count: usize,
    /// By sender and receiver.
    cut: Vec<bool>,
}

impl Wires {
    /// Whole ones between so many nodes.
    #[must_use]
    pub fn new(count: usize) -> Wires {
        Wires { count, cut: vec![false; count * count] }
    }

    /// Whether this one still carries messages.
    #[must_use]
    pub fn carry(&self, from: usize, to: usize) -> bool {
        !self.cut[from * self.count + to]
    }

    /// Breaks each wire of a node with one chance in two, both ways.
    pub fn break_some_of(&mut self, place: usize, random: &mut ChaCha8Rng) {
        for other in 0..self.count {
            if random.random_bool(0.5) {
                self.cut[place * self.count + other] = true;
                self.cut[other * self.count + place] = true;
            }
        }
    }

    /// Cuts all but those between these places, both ways.
    pub fn keep(&mut self, wires: &[(usize, usize)]) {
        self.cut.fill(true);
        for &(a, b) in wires {
            self.cut[a * self.count + b] = false;
            self.cut[b * self.count + a] = false;
        }
    }
}
