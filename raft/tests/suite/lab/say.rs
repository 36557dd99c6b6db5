//! Links and messages, as scripts write them.

use std::collections::BTreeSet;
use std::sync::Arc;

use drystone_raft::{
    Body, Configuration, Entry, Index, Message, NodeId, Payload, Position, SnapshotMeta, Term, Word,
};
use drystone_sim::script::Command;

use super::play::numbers;
use super::{Lab, entry, kind};

type Link = (NodeId, NodeId);

/// `1->2`, `1--2`, `1,2->*`: the links that a word names, if it names any.
fn named(lab: &Lab, word: &str) -> Option<Vec<Link>> {
    let both = word.split_once("--");
    let (from, to) = both.or_else(|| word.split_once("->"))?;
    let ids = |word: &str| if word == "*" { lab.ids() } else { numbers(word) };
    let mut links = Vec::new();
    for a in ids(from) {
        for b in ids(to).into_iter().filter(|b| *b != a) {
            links.push((a, b));
            links.extend(both.map(|_| (b, a)));
        }
    }
    Some(links)
}

/// All links that a command names.
pub(super) fn links(lab: &Lab, command: &Command) -> BTreeSet<Link> {
    let link = |word: &&str| named(lab, word).unwrap_or_else(|| command.refuse("no such link"));
    command.words().iter().flat_map(link).collect()
}

/// The messages that these words mean: those of the links and of the kinds that they name.
pub(super) fn meant(lab: &Lab, words: &[&str]) -> impl Fn(Link, &str) -> bool + use<> {
    let mut links = BTreeSet::new();
    let mut kinds: Vec<String> = Vec::new();
    for word in words {
        match named(lab, word) {
            Some(more) => links.extend(more),
            None => kinds.push((*word).to_owned()),
        }
    }
    move |link, kind| {
        (links.is_empty() || links.contains(&link))
            && (kinds.is_empty() || kinds.iter().any(|name| name == kind))
    }
}

/// The messages that a command means.
pub(super) fn chosen(lab: &Lab, command: &Command) -> impl Fn(&Message) -> bool + use<> {
    let meant = meant(lab, &command.words());
    move |message| meant((message.from, message.to), kind(&message.body))
}

/// `4@2`: index 4 of term 2.
pub(super) fn position(word: &str) -> Position {
    let found = word.split_once('@').and_then(|(index, term)| {
        Some(Position::new(Term(term.parse().ok()?), Index(index.parse().ok()?)))
    });
    found.unwrap_or_else(|| panic!("`{word}` is no position"))
}

/// `7@2`, or `7@2=1,2,3` if it names members.
fn entry_of(word: &str) -> Entry {
    match word.split_once('=') {
        None => {
            let at = position(word);
            entry(at.term.0, at.index.0)
        }
        Some((at, members)) => {
            let at = position(at);
            let members = Configuration::voters(members.split('+').map(|id| id.parse().unwrap()));
            let payload = Payload::Configuration(Arc::new(members));
            Entry { term: at.term, index: at.index, payload }
        }
    }
}

/// What `say` says: `say 2->1 Append term=3 prev=1@1 entries=2@3 commit=1`. The term is the
/// sender's if none is given.
pub(super) fn message(lab: &Lab, command: &Command) -> Message {
    let links = named(lab, command.word(0)).unwrap_or_else(|| command.refuse("no such link"));
    let (from, to) = links[0];
    let here = || lab.term(from);
    let term = command.option_as("term").map_or_else(here, Term);
    let generation = command.option_as("generation").unwrap_or(0);
    Message { from, to, generation, term, body: body(command, command.word(1)) }
}

fn body(command: &Command, kind: &str) -> Body {
    let at = |key| command.option(key).map_or(Position::default(), position);
    let index = |key| Index(command.option_as(key).unwrap_or(0));
    let round = command.option_as("round").unwrap_or(0);
    let life = || command.option_as("life").unwrap_or(1);
    match kind {
        "Append" => {
            let entries = command.option("entries").unwrap_or_default().split(',');
            let entries = entries.filter(|word| !word.is_empty()).map(entry_of).collect();
            Body::Append { prev: at("prev"), commit: index("commit"), round, entries }
        }
        "Heartbeat" => Body::Heartbeat { commit: index("commit"), round, quiesce: false },
        "Accepted" => Body::Accepted { matched: index("matched"), round, life: life() },
        "Rejected" => Body::Rejected { prev: index("prev"), hint: at("hint"), round, life: life() },
        "TimeoutNow" => Body::TimeoutNow { last: at("last") },
        "PreBallot" | "Ballot" => {
            let asked = Term(command.option_as("asked").unwrap_or(0));
            let (pre, word) = (kind == "PreBallot", Word::Granted);
            Body::Ballot { pre, asked, word, last: at("last") }
        }
        "PreVote" => Body::PreVote { last: at("last") },
        "Vote" => Body::Vote { last: at("last"), forced: command.has("forced") },
        "Outdated" => Body::Outdated,
        "Offer" => {
            let voters = numbers(command.option("members").unwrap_or_default());
            let configuration = Arc::new(Configuration::voters(voters));
            let (last, configuration_index) = (at("last"), index("since"));
            Body::Offer { meta: SnapshotMeta { last, configuration, configuration_index } }
        }
        _ => command.refuse("no such message"),
    }
}
