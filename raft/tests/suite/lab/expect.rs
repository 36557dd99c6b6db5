//! What a story claims: it fails even when its transcript is written anew.
//!
//! ```text
//!     leader 2           leader 2,3           leader none         among those who believe it, the
//!                                                                 one of the latest term
//!     role 1 follower    term 1 4             vote 1 2|none
//!     commit 1 4         base 1 10            log 1 1,1,2         terms behind the base
//!     applied 1 x,y      applied 1 20         commands, or how many
//!     holds 1 20                              commands on its disk, in the log
//!     members 1 "1 2 4 joint with 1 2 3"
//!     silent 1                                it watches no clock
//!     answer x none|done|refused|perhaps
//!     fault 1 "left behind"                   fault 1 none
//!     sound 1                                 nothing is missing, in memory or on disk
//!     agree 1 2 3                             same log, same commit, same commands
//!     mail 2 1->3 Append                      messages under way
//!     vouches 3 1 4                           the most that n3 is about to tell n1 that it has
//!     said ..6 3->1 Rejected                  messages sent, since `count`
//!     reigns 2                                leaders so far, each counted once a term
//!     stale 1                                 reads that were answered with what is old
//! ```
//!
//! Numbers may be `4`, `4..`, `..6` and `4..6`. `not` in front turns a claim round.

use drystone_raft::{Body, Index, NodeId, Refused};
use drystone_sim::script::Command;

use super::play::numbers;
use super::{Lab, say, story};

/// Something that may be true of a bench.
pub(super) struct Claim {
    words: Vec<String>,
    not: bool,
}

/// A number, or bounds for one.
fn amount(word: &str) -> Option<impl Fn(u64) -> bool> {
    let (from, to) = match word.split_once("..") {
        None => (word.parse().ok()?, word.parse().ok()?),
        Some(("", to)) => (0, to.parse().ok()?),
        Some((from, "")) => (from.parse().ok()?, u64::MAX),
        Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
    };
    Some(move |number| from <= number && number <= to)
}

impl Claim {
    /// The claim that a command makes, in its words from `from` on.
    pub(super) fn new(command: &Command, from: usize) -> Claim {
        let mut words: Vec<String> =
            command.words()[from..].iter().map(|word| (*word).to_owned()).collect();
        let not = words.first().is_some_and(|word| word == "not");
        words.drain(..usize::from(not));
        Claim { words, not }
    }

    /// What is the case instead, if it does not hold.
    pub(super) fn fails(&self, lab: &Lab) -> Option<String> {
        let (holds, is) = self.look(lab);
        (holds == self.not).then_some(is)
    }

    fn word(&self, at: usize) -> &str {
        self.words.get(at).unwrap_or_else(|| panic!("word {at} of {:?} is missing", self.words))
    }

    fn id(&self) -> NodeId {
        self.word(1).parse().unwrap_or_else(|_| panic!("`{}` is no member", self.word(1)))
    }

    /// Whether word `at` says `is`.
    fn is(&self, at: usize, is: &str) -> (bool, String) {
        (self.word(at) == is, format!("it is {is}"))
    }

    /// Whether `number` is within what word `at` says.
    fn counts(&self, at: usize, number: u64) -> (bool, String) {
        let amount = amount(self.word(at));
        let amount = amount.unwrap_or_else(|| panic!("`{}` is no amount", self.word(at)));
        (amount(number), format!("it is {number}"))
    }

    fn look(&self, lab: &Lab) -> (bool, String) {
        match self.word(0) {
            "leader" => {
                let leader = lab.leader();
                let wanted = self.word(1);
                let holds = match leader {
                    None => wanted == "none",
                    Some(id) => wanted != "none" && numbers(wanted).contains(&id),
                };
                (holds, format!("it is {leader:?}"))
            }
            "role" => self.is(2, story::role(lab.raft(self.id()))),
            "term" => self.counts(2, lab.term(self.id()).0),
            "vote" => {
                let vote = lab.raft(self.id()).hard().vote;
                self.is(2, &vote.map_or("none".to_owned(), |id| id.to_string()))
            }
            "commit" => self.counts(2, lab.raft(self.id()).commit().0),
            "base" => self.counts(2, lab.raft(self.id()).base().index.0),
            "log" => {
                let log = lab.log(self.id());
                (log == numbers(self.word(2)), format!("it is {log:?}"))
            }
            "applied" => {
                let applied = lab.applied(self.id());
                match amount(self.word(2)) {
                    Some(amount) => {
                        (amount(applied.len() as u64), format!("it is {}", applied.len()))
                    }
                    None => self.is(2, &applied.join(",")),
                }
            }
            "holds" => {
                let entries = lab.seats[&self.id()].disk.entries.iter();
                let commands = entries.filter(|entry| story::text(&entry.payload).is_some());
                self.counts(2, commands.count() as u64)
            }
            "silent" => {
                let deadline = lab.raft(self.id()).deadline();
                (deadline.is_none(), format!("it wakes at {deadline:?}"))
            }
            "members" => self.is(2, &lab.raft(self.id()).members().to_string()),
            "answer" => self.is(2, answer(lab, self.word(1))),
            "fault" => self.fault(lab),
            "sound" => {
                let seat = &lab.seats[&self.id()];
                let sound = seat.raft.is_sound() && seat.disk.damaged.is_empty();
                (sound && !seat.disk.snapshot_damaged, format!("sound is {sound}"))
            }
            "agree" => self.agree(lab),
            "mail" => {
                let meant = say::meant(lab, &self.rest(2));
                let mail = lab.mail.iter().map(|mail| &mail.message);
                let found = mail.filter(|it| meant((it.from, it.to), story::kind(&it.body)));
                self.counts(1, found.count() as u64)
            }
            "said" => {
                let meant = say::meant(lab, &self.rest(2));
                let found =
                    lab.said.iter().filter(|((from, to, kind), _)| meant((*from, *to), kind));
                self.counts(1, found.map(|(_, count)| count).sum())
            }
            "stale" => self.counts(1, lab.watch.stale_reads),
            "vouches" => {
                let (from, to) = (self.id(), self.word(2).parse().unwrap_or(0));
                let on_it = lab.mail.iter().map(|mail| &mail.message);
                let matched = on_it.filter(|it| (it.from, it.to) == (from, to)).filter_map(|it| {
                    match &it.body {
                        Body::Accepted { matched, .. } => Some(matched.0),
                        _ => None,
                    }
                });
                self.counts(3, matched.max().unwrap_or(0))
            }
            "reigns" => self.counts(1, lab.watch.reigns() as u64),
            _ => panic!("nothing of the kind can be expected: {:?}", self.words),
        }
    }

    fn rest(&self, from: usize) -> Vec<&str> {
        self.words[from..].iter().map(String::as_str).collect()
    }

    fn fault(&self, lab: &Lab) -> (bool, String) {
        let faults = &lab.seats[&self.id()].faults;
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let wanted = self.word(2);
        let found = told.iter().any(|fault| fault.contains(wanted));
        (if wanted == "none" { told.is_empty() } else { found }, format!("they are {told:?}"))
    }

    fn agree(&self, lab: &Lab) -> (bool, String) {
        let state = |id: &str| {
            let raft = lab.raft(id.parse().unwrap());
            let start = raft.commit().0.max(1);
            let behind: Vec<_> =
                (start..=raft.last().index.0).map(|index| raft.term_at(Index(index))).collect();
            (raft.last(), raft.commit(), behind, lab.applied(id.parse().unwrap()))
        };
        let mut states = self.words[1..].iter().map(|id| state(id));
        let first = states.next().expect("somebody agrees with somebody");
        let other = states.find(|state| *state != first);
        (other.is_none(), format!("one has {first:?}, another {other:?}"))
    }
}

fn answer(lab: &Lab, name: &str) -> &'static str {
    let ticket = lab.names.iter().find(|(_, other)| *other == name);
    let (ticket, _) = ticket.unwrap_or_else(|| panic!("nothing is called {name}"));
    let mut answers = lab.ids().into_iter().filter_map(|id| lab.answer(id, *ticket));
    match answers.next() {
        None => "none",
        Some(Ok(_)) => "done",
        Some(Err(Refused::Unknown)) => "perhaps",
        Some(Err(_)) => "refused",
    }
}
