//! What keeps a task from a node: one reason for each filter, in the order in which they are asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::Strategy;

use super::books::Books;
use super::constraint;
use super::decide::{Barred, Outlook};
use super::domain::{Domains, Key, MISSING};
use super::node::{Gate, TASKS};
use super::profile::Lack;

/// Why a node does not take a task. The order is that of the filters: a node is counted under the
/// first that holds of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// An operator swears that it is off.
    ConfirmedDead,
    /// Its lease is gone.
    NotAlive,
    /// It gives its tasks up.
    Draining,
    /// An operator wants no new tasks there.
    Cordoned,
    /// Gossip has lost sight of it.
    Suspect,
    /// A taint that the task does not tolerate: as text.
    Taint(String),
    /// A constraint on a label that does not hold: as text.
    Label(String),
    /// It does not have the runtime.
    Runtime(String),
    /// Not enough is free of this.
    Short(Kind),
    /// It lacks the label whose domains the strategy needs.
    NoDomain(String),
    /// It belongs to another partition than this.
    Partition(u32),
    /// As many of the job as may be are in the domain by this label.
    DomainMax(String),
    /// The domain by this label is too far ahead of the emptiest.
    Skew(String),
    /// No such task is near: as text.
    Near(String),
    /// Such a task is near, and the task avoids it: as text.
    Avoid(String),
    /// A task is near that avoids such tasks: as text.
    AvoidedBy(String),
    /// It is not in a domain by this label that has room for the whole job, or not in the one in
    /// which the job is.
    Cluster(String),
}

/// What a node can have too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Thousandths of a core.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Bytes of disk.
    Disk,
    /// Processes and threads.
    Pids,
    /// Tasks.
    Tasks,
}

impl Kind {
    /// In the order of amounts.
    pub(crate) const ALL: [Kind; TASKS + 1] =
        [Kind::Cpu, Kind::Memory, Kind::Disk, Kind::Pids, Kind::Tasks];

    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Memory => "memory",
            Kind::Disk => "disk",
            Kind::Pids => "pids",
            Kind::Tasks => "tasks",
        }
    }

    /// An amount of it, as people write it.
    pub fn text(self, amount: u64) -> String {
        self.rounded(amount, Round::Nearest)
    }

    /// An amount that is missing: rounded up, so that so much more is enough.
    pub fn missing(self, amount: u64) -> String {
        self.rounded(amount, Round::Up)
    }

    /// An amount that is there: rounded down.
    pub fn free(self, amount: u64) -> String {
        self.rounded(amount, Round::Down)
    }

    fn rounded(self, amount: u64, round: Round) -> String {
        match self {
            Kind::Cpu => decimal(amount as f64 / 1000.0),
            Kind::Memory | Kind::Disk => bytes(amount, round),
            Kind::Pids | Kind::Tasks => amount.to_string(),
        }
    }
}

/// What becomes of less than a tenth of a unit.
#[derive(Clone, Copy)]
enum Round {
    Down,
    Nearest,
    Up,
}

fn decimal(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn bytes(amount: u64, round: Round) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.iter().find(|(shift, _)| amount >> shift > 0) else {
        return format!("{amount} B");
    };
    let unit_bytes = 1_u128 << shift;
    let more = match round {
        Round::Down => 0,
        Round::Nearest => unit_bytes / 2,
        Round::Up => unit_bytes - 1,
    };
    let tenths = (u128::from(amount) * 10 + more) >> shift;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

impl Obstacle {
    /// The same in every version: for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Obstacle::ConfirmedDead => "confirmed-dead",
            Obstacle::NotAlive => "not-alive",
            Obstacle::Draining => "draining",
            Obstacle::Cordoned => "cordoned",
            Obstacle::Suspect => "suspect",
            Obstacle::Taint(_) => "taint",
            Obstacle::Label(_) => "label",
            Obstacle::Runtime(_) => "runtime",
            Obstacle::Short(kind) => kind.name(),
            Obstacle::NoDomain(_) => "no-domain",
            Obstacle::Partition(_) => "partition",
            Obstacle::DomainMax(_) => "domain-max",
            Obstacle::Skew(_) => "skew",
            Obstacle::Near(_) => "near",
            Obstacle::Avoid(_) => "avoid",
            Obstacle::AvoidedBy(_) => "avoided-by",
            Obstacle::Cluster(_) => "cluster",
        }
    }

    /// What would take this obstacle away, if anything that somebody can do.
    pub(crate) fn remedy(&self) -> Option<String> {
        Some(match self {
            Obstacle::ConfirmedDead | Obstacle::Short(_) => return None,
            Obstacle::NotAlive => "with an agent that is back".to_owned(),
            Obstacle::Draining => "if not drained".to_owned(),
            Obstacle::Cordoned => "if uncordoned".to_owned(),
            Obstacle::Suspect => "if heard of again".to_owned(),
            Obstacle::Taint(taint) => format!("if it tolerated {taint}"),
            // Not "without label": they are without it, and that is the trouble.
            Obstacle::Label(label) => format!("if it did not require {label}"),
            Obstacle::Runtime(runtime) => format!("with runtime {runtime}"),
            Obstacle::NoDomain(label) => format!("with a label {label}"),
            Obstacle::Partition(_) => "for tasks of other partitions".to_owned(),
            Obstacle::DomainMax(label) => format!("if more were allowed in one {label}"),
            Obstacle::Skew(label) => format!("if a {label} could be further ahead"),
            Obstacle::Near(what) => format!("if it need not be near {what}"),
            Obstacle::Avoid(what) => format!("if it did not avoid {what}"),
            Obstacle::AvoidedBy(what) => format!("if others did not avoid {what}"),
            Obstacle::Cluster(label) => format!("if its job need not be in one {label}"),
        })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::ConfirmedDead => f.write_str("confirmed dead"),
            Obstacle::NotAlive => f.write_str("not alive"),
            Obstacle::Draining => f.write_str("draining"),
            Obstacle::Cordoned => f.write_str("cordoned"),
            Obstacle::Suspect => f.write_str("suspect: silent for a while"),
            Obstacle::Taint(taint) => write!(f, "taint {taint} not tolerated"),
            Obstacle::Label(label) => write!(f, "label {label} does not hold"),
            Obstacle::Runtime(runtime) => write!(f, "no runtime {runtime}"),
            Obstacle::Short(kind) => write!(f, "{} short", kind.name()),
            Obstacle::NoDomain(label) => write!(f, "no label {label}"),
            Obstacle::Partition(mine) => write!(f, "not of partition {mine}"),
            Obstacle::DomainMax(label) => write!(f, "{label} has as many as may be"),
            Obstacle::Skew(label) => write!(f, "{label} too far ahead of others"),
            Obstacle::Near(what) => write!(f, "not near {what}"),
            Obstacle::Avoid(what) => write!(f, "avoids {what}"),
            Obstacle::AvoidedBy(what) => write!(f, "avoided by a task, for {what}"),
            Obstacle::Cluster(label) => write!(f, "free, but not all fit in one {label}"),
        }
    }
}

impl Books {
    /// All that keeps a task of this class from this node, which has a record, in order.
    pub(crate) fn obstacles(&self, class: u32, outlook: &Outlook, node: u32) -> Vec<Obstacle> {
        let kind = &self.classes[class];
        let (slot, at) = (&self.nodes.slots[node as usize], &self.nodes.all[node as usize]);
        let record = at.record.as_ref().expect("only nodes with a record are asked about");
        let mut found = Vec::new();
        match slot.gate {
            Gate::Open | Gate::Unknown => {}
            Gate::ConfirmedDead => found.push(Obstacle::ConfirmedDead),
            Gate::NotAlive => found.push(Obstacle::NotAlive),
            Gate::Draining => found.push(Obstacle::Draining),
            Gate::Cordoned => found.push(Obstacle::Cordoned),
            Gate::Suspect => found.push(Obstacle::Suspect),
        }
        found.extend(self.profiles.key(kind.profile).lacks(&at.id, record).into_iter().map(
            |lack| match lack {
                Lack::Taint(taint) => Obstacle::Taint(constraint::text_of_taint(&taint)),
                Lack::Label(label) => Obstacle::Label(constraint::text(&label)),
                Lack::Runtime(runtime) => Obstacle::Runtime(runtime),
            },
        ));
        for (at, what) in Kind::ALL.into_iter().enumerate() {
            if kind.need[at] > slot.free[at] {
                found.push(Obstacle::Short(what));
            }
        }
        self.obstacles_of_domains(class, outlook, node, &mut found);
        found
    }

    fn obstacles_of_domains(
        &self,
        class: u32,
        outlook: &Outlook,
        node: u32,
        found: &mut Vec<Obstacle>,
    ) {
        let (shape, kind) = (self.classes.key(class), &self.classes[class]);
        let keys = &kind.scope.keys;
        let domains: Vec<u32> = keys.iter().map(|&key| self.domains.of(key, node)).collect();
        let label = |key: Key| self.domains.label(key).to_owned();
        let of_plan = kind.plan.keys();
        let plan_label = || of_plan.last().map_or_else(String::new, |&key| label(key));
        let barred = self.bar(kind, outlook, &domains).map(|barred| match barred {
            Barred::NoDomain(key) => Obstacle::NoDomain(label(key)),
            Barred::Partition => Obstacle::Partition(match outlook {
                Outlook::Mine(mine, _) => *mine,
                _ => MISSING,
            }),
            Barred::DomainMax => Obstacle::DomainMax(plan_label()),
            Barred::Skew => Obstacle::Skew(plan_label()),
            Barred::Cluster => Obstacle::Cluster(plan_label()),
        });
        // A cluster is looked for among what all else leaves.
        let is_last = matches!(shape.placement.strategy, Strategy::Cluster { .. });
        if !is_last {
            found.extend(barred.clone());
        }
        let text = |relation: u32| {
            let question = self.relations.all.key(relation);
            let all: &Domains = &self.domains;
            question.text(&shape.job.namespace, all)
        };
        let domain = |id: u32| self.domains.of(self.relations.all.key(id).key, node);
        let near = kind.near.iter().filter(|&&id| self.is_unmet(kind, id, domain(id)));
        found.extend(near.map(|&id| Obstacle::Near(text(id))));
        let avoid = kind.avoid.iter().filter(|&&id| self.avoids(id, domain(id)));
        found.extend(avoid.map(|&id| Obstacle::Avoid(text(id))));
        let avoided = kind.avoided_by.iter().filter(|&&id| self.is_avoided(id, domain(id)));
        found.extend(avoided.map(|&id| Obstacle::AvoidedBy(text(id))));
        if is_last {
            found.extend(barred);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program branches on, what people read, and what they are told to do.
    #[test]
    fn each_obstacle_has_its_words() {
        let text = || "x".to_owned();
        let all = [
            (Obstacle::ConfirmedDead, "confirmed-dead | confirmed dead | -"),
            (Obstacle::NotAlive, "not-alive | not alive | with an agent that is back"),
            (Obstacle::Draining, "draining | draining | if not drained"),
            (Obstacle::Cordoned, "cordoned | cordoned | if uncordoned"),
            (Obstacle::Suspect, "suspect | suspect: silent for a while | if heard of again"),
            (Obstacle::Taint(text()), "taint | taint x not tolerated | if it tolerated x"),
            (Obstacle::Label(text()), "label | label x does not hold | if it did not require x"),
            (Obstacle::Runtime(text()), "runtime | no runtime x | with runtime x"),
            (Obstacle::Short(Kind::Disk), "disk | disk short | -"),
            (Obstacle::NoDomain(text()), "no-domain | no label x | with a label x"),
            (
                Obstacle::Partition(2),
                "partition | not of partition 2 | for tasks of other partitions",
            ),
            (
                Obstacle::DomainMax(text()),
                "domain-max | x has as many as may be | if more were allowed in one x",
            ),
            (
                Obstacle::Skew(text()),
                "skew | x too far ahead of others | if a x could be further ahead",
            ),
            (Obstacle::Near(text()), "near | not near x | if it need not be near x"),
            (Obstacle::Avoid(text()), "avoid | avoids x | if it did not avoid x"),
            (
                Obstacle::AvoidedBy(text()),
                "avoided-by | avoided by a task, for x | if others did not avoid x",
            ),
            (
                Obstacle::Cluster(text()),
                "cluster | free, but not all fit in one x | if its job need not be in one x",
            ),
        ];
        for (obstacle, expected) in &all {
            let remedy = obstacle.remedy().unwrap_or_else(|| "-".to_owned());
            assert_eq!(format!("{} | {obstacle} | {remedy}", obstacle.code()), *expected);
        }
        assert!(all.is_sorted_by_key(|(obstacle, _)| obstacle), "in the order of the filters");
    }

    /// Numbers that are off by a unit are worse than none.
    #[test]
    fn amounts_are_written_in_their_units() {
        let check = |kind: Kind, amount, expected: &str| assert_eq!(kind.text(amount), expected);
        check(Kind::Cpu, 1_500, "1.5");
        check(Kind::Cpu, 4_000, "4");
        check(Kind::Cpu, 5, "0.005");
        check(Kind::Memory, 1 << 30, "1 GiB");
        check(Kind::Memory, (12 << 30) / 10, "1.2 GiB");
        check(Kind::Memory, 1023, "1023 B");
        check(Kind::Disk, 3 << 40, "3 TiB");
        check(Kind::Tasks, 12, "12");
    }

    /// Whoever adds what is said to be missing must not be told then that a byte is.
    #[test]
    fn what_is_missing_is_rounded_up_and_what_is_free_down() {
        let check = |amount, expected: (&str, &str)| {
            let both = (Kind::Memory.missing(amount), Kind::Memory.free(amount));
            assert_eq!((both.0.as_str(), both.1.as_str()), expected);
        };
        check(64 << 20, ("64 MiB", "64 MiB"));
        check((1 << 30) + 1, ("1.1 GiB", "1 GiB"));
        check((64 << 20) + 1, ("64.1 MiB", "64 MiB"));
        check((2 << 40) - 1, ("2 TiB", "1.9 TiB"));
        check(u64::MAX, ("16777216 TiB", "16777215.9 TiB"));
        check(1, ("1 B", "1 B"));
    }
}
