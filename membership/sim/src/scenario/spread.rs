//! How long until everybody knows what one member says.

use drystone_sim::Rate;

use crate::cluster::{Cluster, Setup};
use crate::gossiper::{Gossiper, Order, What};
use crate::watch::Spread as Knowledge;
use crate::{MILLISECOND, SECOND};

/// How often the protocols compared here gossip: what time is counted in.
pub const ROUND: u64 = 200 * MILLISECOND;

/// After so long nobody waits for the rest.
const PATIENCE: u64 = 50 * ROUND;

/// How long it is from one who says something to the next.
const REST: u64 = 2 * SECOND;

/// How long a member that leaves is given to spread the news.
const LINGER: u64 = SECOND;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// That it leaves.
    Leave,
    /// A user's message.
    Broadcast,
    /// New metadata.
    Metadata,
}

/// When it was known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Rounds until the first other member knew; `None` if none ever did.
    pub first_rounds: Option<f64>,
    /// Rounds until the last did; `None` if some did not within fifty.
    pub all_rounds: Option<f64>,
    /// How many knew at the end, and how many should.
    pub knew: (usize, usize),
}

/// Lets one member of a warm cluster say something; from then on links lose that share of their
/// datagrams, so that no trouble of before is in the way of the news.
pub fn spread<G: Gossiper>(setup: &Setup<G::Config>, seed: u64, news: News, loss: Rate) -> Spread {
    say(&mut Cluster::<G>::warm(setup, seed), setup.members - 1, news, loss)
}

/// Lets so many members say something one after another, each with that loss while its news are on
/// their way. For clusters so large that to make one takes longer than to ask it.
///
/// # Panics
///
/// If they are to leave: then they are fewer each time.
pub fn spreads<G: Gossiper>(
    setup: &Setup<G::Config>,
    seed: u64,
    news: News,
    loss: Rate,
    times: u64,
) -> Vec<Spread> {
    assert!(news != News::Leave, "who has left says nothing more");
    let mut cluster = Cluster::<G>::warm(setup, seed);
    let mut said = Vec::new();
    for _ in 0..times {
        said.push(say(&mut cluster, setup.members - 1, news, loss));
        // What was suspected for its sake is forgotten before the next.
        cluster.set_loss(Rate::NEVER);
        cluster.run_for(REST, &mut []);
    }
    said
}

fn say<G: Gossiper>(cluster: &mut Cluster<G>, others: usize, news: News, loss: Rate) -> Spread {
    cluster.set_loss(loss);
    let speaker = cluster.some(1)[0];
    let from = cluster.now();
    // Each time another, so that what was said before is not taken for this.
    let number = 0x5ca1_ab1e + from;
    let signs: &[What] = match news {
        News::Leave => &[What::Left, What::Down],
        News::Broadcast => &[What::Heard(number)],
        News::Metadata => &[What::Described(number)],
    };
    let mut knowledge = Knowledge::of(speaker, signs);
    match news {
        News::Leave => cluster.leave(speaker),
        News::Broadcast => cluster.order(speaker, Order::Publish(number)),
        News::Metadata => cluster.order(speaker, Order::Describe(number)),
    }
    while knowledge.count() < others && cluster.now() < from + PATIENCE {
        cluster.run_for(ROUND, &mut [&mut knowledge]);
        if news == News::Leave && cluster.now() >= from + LINGER {
            cluster.stop(speaker);
        }
    }
    let rounds = |at: u64| (at - from) as f64 / ROUND as f64;
    Spread {
        first_rounds: knowledge.first().map(rounds),
        all_rounds: knowledge.last(others).map(rounds),
        knew: (knowledge.count(), others),
    }
}
