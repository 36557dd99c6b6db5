//! Parts of the history, one after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use drystone_kv::{Part, PartEnd, PartHash, PartReply};
use drystone_raft::NodeId;

use super::Comparer;
use super::verdict::{Verdict, judge};
use crate::peers::{Said, Subject};

/// How often a member is asked that lags, or is compacted elsewhere.
const ASKED_MAX: u32 = 10;
/// How long to wait before it is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How often in all something is compared before anybody is called wrong.
const CONFIRMED: u32 = 3;

/// A walk over the history.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The first main revision that was not compared yet.
    next: u64,
}

/// What a step has come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// How long the slowest member worked for it.
    pub(super) took: Duration,
    /// There was no more.
    pub(super) is_end: bool,
}

/// What members say of one part.
#[derive(Debug)]
pub(super) struct Round {
    /// What this one says.
    pub(super) own: PartHash,
    /// What all say, this one too, that could be compared.
    pub(super) said: BTreeMap<NodeId, u32>,
    took: Duration,
}

impl Pass {
    /// Compares the next part, of so many bytes. At the end it begins anew.
    pub(super) async fn step(&mut self, comparer: &mut Comparer, bytes: u64) -> Step {
        let began = Instant::now();
        let Some(round) = comparer.compare_part(self.next, bytes).await else {
            // It could not be read, or always changed: begin anew, and not at once.
            self.next = 0;
            return Step { took: began.elapsed(), is_end: true };
        };
        self.next = if round.own.is_end { 0 } else { round.own.last + 1 };
        Step { took: round.took, is_end: round.own.is_end }
    }
}

impl Comparer {
    /// Compares a part, and tells what was found. `None` if it could not be.
    async fn compare_part(&mut self, first: u64, bytes: u64) -> Option<Round> {
        let round = self.round(first, PartEnd::Bytes(bytes)).await?;
        let verdict = judge(&round.said, self.members());
        if verdict == Verdict::Agree {
            return Some(round);
        }
        let last = round.own.last;
        for _ in 1..CONFIRMED {
            let again = self.round(first, PartEnd::At(last)).await?;
            if judge(&again.said, self.members()) != verdict {
                tracing::warn!(first, last, "members differed, and do so no more");
                return Some(round);
            }
        }
        let place = format!("revisions {first} to {last}");
        self.report(&place, &round.said, &verdict).await;
        Some(round)
    }

    /// What the members say of a part. `None` if this one cannot read it, or is always compacted
    /// anew while it is asked for.
    pub(super) async fn round(&mut self, first: u64, end: PartEnd) -> Option<Round> {
        for _ in 0..ASKED_MAX {
            let compacted = self.member.kv.status().compacted;
            let part = Part { first, end, compacted };
            let read = move |member: &crate::member::Member| {
                let began = Instant::now();
                (member.kv.hash_part(part), began.elapsed())
            };
            let (own, took) = self.member.off_thread(read).await.ok()?;
            let own = match own {
                Ok(PartReply::Hash(own)) => own,
                // It was compacted just now.
                Ok(_) => continue,
                Err(error) => {
                    self.report_unreadable(&error);
                    return None;
                }
            };
            let mut round = Round { own, said: BTreeMap::from([(self.me(), own.hash)]), took };
            let subject = Subject::Part { first, last: own.last, compacted };
            if self.fill(&mut round, subject).await {
                return Some(round);
            }
        }
        None
    }

    /// Asks the others. False if this member was compacted meanwhile, so that they cannot agree.
    async fn fill(&mut self, round: &mut Round, subject: Subject) -> bool {
        let Subject::Part { compacted, .. } = subject else { return true };
        let mut open = self.others();
        for asked in 0..ASKED_MAX {
            if asked > 0 {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            let mut again = Vec::new();
            for (id, said) in self.ask(&open, subject).await {
                match said {
                    Said::Part(PartReply::Hash(hash), took) => {
                        round.said.insert(id, hash.hash);
                        round.took = round.took.max(took);
                    }
                    Said::Part(PartReply::Behind | PartReply::Compacted(_), _) => again.push(id),
                    Said::Blocks(_) | Said::Unknown | Said::Nothing => {}
                }
            }
            open = again;
            if open.is_empty() {
                return true;
            }
            if self.member.kv.status().compacted != compacted {
                return false;
            }
        }
        // Who is far behind is compared another time.
        true
    }
}
