//! Explanations as text for people: one fact a line, numbers first, nodes by name.
//!
//! ```text
//! ml/train/17  waits   4 cpu, 16 GiB memory   pack
//!   placement  no      48 nodes looked at
//!      19  label disk=ssd does not hold          n07 n08 n11 n12 n13 n14 n15 n16 …
//!      29  memory short by 1.2 GiB to 9 GiB      n20 n21 n22 n23 n24 n25 n26 n27 …
//!   nearest    n31: 14.8 GiB of 16 GiB memory free
//!   would help
//!      12  nodes if it did not require disk=ssd  n07 n08 n11 n12 n13 n14 n15 n16 …
//!          1.2 GiB more memory on n31
//!          when 1 task of ops/lint ends on n31
//! ```

use std::fmt;

use crate::spec::{Resources, Strategy};
use crate::types::NodeId;

use super::explain::{At, Candidate, Explanation, Help};
use super::obstacle::{Kind, Obstacle};
use super::rejections::{NearMiss, Rejected, Rejections, Room};

/// How wide the reasons are before the names of nodes begin.
const REASON_COLUMNS: usize = 42;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { job, index, request, strategy, .. } = self;
        let state = match (&self.at, self.candidates.is_empty()) {
            (Some(at), _) => format!("on {}", at.node),
            (None, true) => "waits".to_owned(),
            (None, false) => "has a place".to_owned(),
        };
        writeln!(f, "{job}/{index}  {state}   {}   {}", asked(request), lies(strategy))?;
        if let Some(at) = &self.at {
            write_at(f, at)?;
        }
        let here = self.at.as_ref().map(|at| &at.node);
        let others = self.candidates.iter().filter(|one| Some(&one.node) != here);
        let mut head = Some(if self.at.is_some() { "others" } else { "best nodes" });
        for one in others {
            if let Some(head) = head.take() {
                writeln!(f, "  {head}")?;
            }
            writeln!(f, "    {}", candidate(one))?;
        }
        write_rejections(f, &self.rejections, self.at.is_some())?;
        if !self.helps.is_empty() {
            writeln!(f, "  would help")?;
        }
        for help in &self.helps {
            write_help(f, help)?;
        }
        Ok(())
    }
}

fn asked(request: &Resources) -> String {
    let Resources { cpu, memory, disk, pids } = *request;
    let all = [
        (Kind::Cpu, u64::from(cpu)),
        (Kind::Memory, memory),
        (Kind::Disk, disk),
        (Kind::Pids, u64::from(pids)),
    ];
    let parts: Vec<String> = all
        .into_iter()
        .filter(|&(_, amount)| amount > 0)
        .map(|(kind, amount)| format!("{} {}", kind.text(amount), kind.name()))
        .collect();
    if parts.is_empty() { "nothing asked for".to_owned() } else { parts.join(", ") }
}

fn lies(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Pack => "pack".to_owned(),
        Strategy::Spread { domain, domain_max, skew_max } => {
            let mut text = format!("spread over {domain}");
            if *domain_max > 0 {
                text += &format!(", at most {domain_max} in one");
            }
            if *skew_max > 0 {
                text += &format!(", skew at most {skew_max}");
            }
            text
        }
        Strategy::Cluster { domains } => format!("cluster in one {}", domains.join(" or ")),
        Strategy::Partition { partitions, domain } => {
            format!("{partitions} partitions by {domain}")
        }
    }
}

fn candidate(one: &Candidate) -> String {
    let terms: Vec<String> = one
        .terms
        .iter()
        .map(|&(term, value)| format!("{} {value:.2}×{}", term.name(), term.weight()))
        .collect();
    // What is left out is the same for all nodes, so the sum of the rest compares them as well.
    let sum: f64 = one.terms.iter().map(|&(term, value)| value * f64::from(term.weight())).sum();
    format!("{:<12} {sum:>6.2}   {}", one.node.as_str(), terms.join("  "))
}

fn write_at(f: &mut fmt::Formatter<'_>, at: &At) -> fmt::Result {
    if let Some(one) = &at.candidate {
        return writeln!(f, "  where it is\n    {}", candidate(one));
    }
    let text: Vec<String> = at.obstacles.iter().map(Obstacle::to_string).collect();
    let why = if text.is_empty() { "the node is not known".to_owned() } else { text.join("; ") };
    writeln!(f, "  it would not be placed there now: {why}")
}

fn write_rejections(f: &mut fmt::Formatter<'_>, all: &Rejections, has_node: bool) -> fmt::Result {
    let Rejections { nodes, fit, groups, nearest, room } = all;
    if groups.is_empty() && *nodes > 0 {
        return Ok(());
    }
    let answer = if *fit > 0 { "yes" } else { "no" };
    let noun = if *nodes == 1 { "node" } else { "nodes" };
    match has_node {
        false => writeln!(f, "  placement  {answer:<7} {nodes} {noun} looked at")?,
        true => writeln!(f, "  out of the question")?,
    }
    let mut order: Vec<&Rejected> = groups.iter().collect();
    // Stable: of as many, the first filter first.
    order.sort_by_key(|group| std::cmp::Reverse(group.count));
    for group in order {
        let text = match (&group.obstacle, group.short) {
            (Obstacle::Short(kind), Some((lo, hi))) if lo == hi => {
                format!("{} short by {}", kind.name(), kind.missing(lo))
            }
            (Obstacle::Short(kind), Some((lo, hi))) => {
                format!("{} short by {} to {}", kind.name(), kind.missing(lo), kind.missing(hi))
            }
            (obstacle, _) => obstacle.to_string(),
        };
        write_row(f, group.count, &text, &group.nodes)?;
    }
    if let Some(Room { label, domain, tasks, asked }) = room {
        writeln!(f, "  most room  {tasks} of {asked} fit in {label} {domain}")?;
    }
    match nearest.as_ref().filter(|_| *fit == 0 && !has_node) {
        Some(nearest) => write_nearest(f, nearest),
        None => Ok(()),
    }
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    count: usize,
    text: &str,
    nodes: &[NodeId],
) -> fmt::Result {
    let mut names: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
    if nodes.len() < count {
        names.push("…");
    }
    writeln!(f, "  {count:>5}  {text:<REASON_COLUMNS$} {}", names.join(" "))
}

fn write_nearest(f: &mut fmt::Formatter<'_>, nearest: &NearMiss) -> fmt::Result {
    let short = nearest.shortages.iter().map(|one| {
        let (free, asked) = (one.kind.free(one.free), one.kind.missing(one.asked));
        format!("{free} of {asked} {} free", one.kind.name())
    });
    let parts: Vec<String> =
        nearest.obstacles.iter().map(Obstacle::to_string).chain(short).collect();
    writeln!(f, "  nearest    {}: {}", nearest.node, parts.join("; "))
}

fn write_help(f: &mut fmt::Formatter<'_>, help: &Help) -> fmt::Result {
    match help {
        Help::Without { obstacle, count, nodes } => {
            let remedy = obstacle.remedy().expect("only what has a remedy is a help");
            let noun = if *count == 1 { "node" } else { "nodes" };
            write_row(f, *count, &format!("{noun} {remedy}"), nodes)
        }
        Help::More(nearest) => {
            let more = nearest
                .shortages
                .iter()
                .map(|one| format!("{} more {}", one.kind.missing(one.short), one.kind.name()));
            let more: Vec<String> = more.collect();
            writeln!(f, "         {} on {}", more.join(" and "), nearest.node)
        }
        Help::Ends { job, count: 1, node } => {
            writeln!(f, "         when a task of {job} ends on {node}")
        }
        Help::Ends { job, count, node } => {
            writeln!(f, "         when {count} tasks of {job} end on {node}")
        }
    }
}
