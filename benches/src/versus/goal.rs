//! What a scenario is to show, and whether it did.
//!
//! A goal that names a ratio has a verdict for every peer; one that names a bound has one.
//!
//! # When the client sets the pace
//! Client and server share the cores. A throughput that misses its goal says nothing of the server
//! if the cores were full and the client had the greater part of them: the verdict is then `VOID`,
//! with the cores beside it, and the CPU per request is what counts. A goal that is met is met
//! all the same.

use std::fmt;

use super::{
    Metric, Rounds,
    sample::{CLIENT_CORES, SERVER_CORES, THROUGHPUT},
};

/// The cores are full when client and server have this part of them.
const FULL: f64 = 0.9;

/// One figure and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The figure.
    pub metric: Metric,
    /// What is asked.
    pub bound: Bound,
}

/// What is asked of the median of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Ours divided by the peer's: at most this.
    RatioMost(f64),
    /// Ours divided by the peer's: at least this.
    RatioLeast(f64),
    /// Ours, whatever the peers show: at most this.
    Most(f64),
    /// Ours, whatever the peers show: at least this.
    Least(f64),
}

impl Bound {
    fn met(self, figure: f64) -> bool {
        match self {
            Bound::RatioMost(bound) | Bound::Most(bound) => figure <= bound,
            Bound::RatioLeast(bound) | Bound::Least(bound) => figure >= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::RatioMost(bound) => write!(f, "goal <= {bound:.2}x"),
            Bound::RatioLeast(bound) => write!(f, "goal >= {bound:.2}x"),
            Bound::Most(bound) => write!(f, "goal <= {bound}"),
            Bound::Least(bound) => write!(f, "goal >= {bound}"),
        }
    }
}

/// How it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Met.
    Pass,
    /// Missed.
    Fail,
    /// Missed, but the client had the greater part of full cores.
    Void,
}

/// One goal, held against what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How it came out.
    pub outcome: Outcome,
    text: String,
}

impl Verdict {
    /// The verdict on a scenario that could not be run to its end.
    #[must_use]
    pub fn broken(text: String) -> Verdict {
        Verdict { outcome: Outcome::Fail, text }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Pass => "PASS",
            Outcome::Fail => "FAIL",
            Outcome::Void => "VOID",
        };
        write!(f, "{word} {}", self.text)
    }
}

/// Holds the medians of the last of the contenders against the goals of every scenario, on a
/// machine of so many cores.
#[must_use]
pub fn verdicts(all: &[Rounds], names: &[String], cores: usize) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for rounds in all {
        for goal in rounds.scenario.goals {
            verdicts.extend(of_goal(rounds, goal, names, cores));
        }
    }
    verdicts
}

fn of_goal(rounds: &Rounds, goal: &Goal, names: &[String], cores: usize) -> Vec<Verdict> {
    let ours = names.len() - 1;
    let head = format!("{}, {}", rounds.title(), goal.metric.name);
    let missing =
        |who: &str| Verdict::broken(format!("{head}: no figure of {who}, {}", goal.bound));
    match goal.bound {
        Bound::Most(_) | Bound::Least(_) => {
            let Some(spread) = rounds.spread(ours, goal.metric) else {
                return vec![missing(&names[ours])];
            };
            let (figure, decimals) = (spread.median, goal.metric.decimals);
            let outcome = outcome(rounds, goal, figure, ours, cores);
            vec![Verdict { outcome, text: format!("{head}: {figure:.decimals$}, {}", goal.bound) }]
        }
        Bound::RatioMost(_) | Bound::RatioLeast(_) => {
            let peers = (0..ours).map(|peer| {
                let Some(ratio) = rounds.ratio(ours, peer, goal.metric) else {
                    return missing(&format!("{} or {}", names[ours], names[peer]));
                };
                let outcome = outcome(rounds, goal, ratio.median, ours, cores);
                let note = match outcome {
                    Outcome::Void => client_note(rounds, ours, cores),
                    _ => String::new(),
                };
                let of = &names[peer];
                let text = format!("{head}: {:.3}x of {of}, {}{note}", ratio.median, goal.bound);
                Verdict { outcome, text }
            });
            peers.collect()
        }
    }
}

fn outcome(rounds: &Rounds, goal: &Goal, figure: f64, ours: usize, cores: usize) -> Outcome {
    if goal.bound.met(figure) {
        return Outcome::Pass;
    }
    let limits = goal.metric == THROUGHPUT
        && matches!(cores_busy(rounds, ours), Some((server, client))
            if client >= server && server + client >= FULL * cores as f64);
    if limits { Outcome::Void } else { Outcome::Fail }
}

fn cores_busy(rounds: &Rounds, ours: usize) -> Option<(f64, f64)> {
    let server = rounds.spread(ours, SERVER_CORES)?.median;
    Some((server, rounds.spread(ours, CLIENT_CORES)?.median))
}

fn client_note(rounds: &Rounds, ours: usize, cores: usize) -> String {
    cores_busy(rounds, ours).map_or_else(String::new, |(server, client)| {
        format!("; the client had {client:.2} of {cores} cores, the server {server:.2}")
    })
}

#[cfg(test)]
mod tests;
