//! A workflow as people see it.
//!
//! ```text
//!   ● hello-x7k2p  Succeeded  1.4s
//!   └─✔ hello      n01  exit 0  1.2s  "Hello Argo Workflows!"
//! ```

use super::node::{NodePhase, NodeSeen};
use crate::types::UnixMs;

/// Bytes of what a task printed that are shown.
const SHOWN_CHARS: usize = 40;

/// One line a node.
struct Line {
    tree: String,
    rest: String,
}

/// The tree of a workflow: its name and how it stands, then its nodes, from a step or a
/// [`look`](super::look).
pub fn show(name: &str, phase: &str, nodes: &[NodeSeen], now: UnixMs) -> String {
    let started = nodes.iter().filter_map(|node| node.started_at).min();
    let over = nodes.iter().all(|node| node.phase.is_final());
    let finished = nodes.iter().filter_map(|node| node.finished_at).max().filter(|_| over);
    let took = span(started, finished, now);
    let mut lines = vec![Line { tree: format!("● {name}"), rest: words(&[phase, &took]) }];
    // The main part is the workflow itself; so what is in it hangs on the first line.
    let mut roots: Vec<&NodeSeen> = Vec::new();
    for node in nodes {
        match node.path == "main" && !node.children.is_empty() {
            true => roots.extend(&node.children),
            false => roots.push(node),
        }
    }
    add(&mut lines, &roots, "", now);
    let width = lines.iter().map(|line| line.tree.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for line in lines {
        let pad = width - line.tree.chars().count();
        let text = format!("{}{}  {}", line.tree, " ".repeat(pad), line.rest);
        out += text.trim_end();
        out.push('\n');
    }
    out
}

fn add(lines: &mut Vec<Line>, nodes: &[&NodeSeen], indent: &str, now: UnixMs) {
    for (at, node) in nodes.iter().enumerate() {
        let last = at + 1 == nodes.len();
        let (branch, below) = if last { ("└─", "  ") } else { ("├─", "│ ") };
        let name = if node.path == "exit" { "onExit" } else { &node.name };
        let tree = format!("{indent}{branch}{} {}", mark(node.phase), printable(name));
        lines.push(Line { tree, rest: rest(node, now) });
        let children: Vec<&NodeSeen> = node.children.iter().collect();
        add(lines, &children, &format!("{indent}{below}"), now);
    }
}

fn rest(node: &NodeSeen, now: UnixMs) -> String {
    let exit = node.told.exit_code.map(|code| format!("exit {code}"));
    let state = match (&exit, node.phase) {
        (Some(exit), _) => exit.clone(),
        (None, NodePhase::Succeeded) => String::new(),
        (None, phase) => phase.word().to_owned(),
    };
    let took = match node.child {
        Some(_) => span(node.started_at, node.finished_at, now),
        None => String::new(),
    };
    let told = node.told.result.as_deref().filter(|it| !it.is_empty() && !node.fanned);
    let told = told.map(|told| {
        let line = told.lines().last().unwrap_or("");
        let cut: String = line.chars().take(SHOWN_CHARS).collect();
        let more = if cut.len() < line.len() { "…" } else { "" };
        format!("\"{}{more}\"", printable(&cut))
    });
    let of_task = format!("exit code {}", node.told.exit_code.unwrap_or(0));
    let message = if node.message == of_task { String::new() } else { printable(&node.message) };
    let place = node.node.as_deref().unwrap_or("");
    words(&[place, &state, &took, &told.unwrap_or_default(), &message])
}

fn words(all: &[&str]) -> String {
    all.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join("  ")
}

/// What a task printed must not move anybody's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '·' } else { one }).collect()
}

fn mark(phase: NodePhase) -> char {
    match phase {
        NodePhase::Waiting => '◷',
        NodePhase::Running => '●',
        NodePhase::Succeeded => '✔',
        NodePhase::Failed => '✖',
        NodePhase::Errored => '⚠',
        NodePhase::Skipped | NodePhase::Omitted => '○',
    }
}

/// How long it took, or takes so far.
fn span(from: Option<UnixMs>, to: Option<UnixMs>, now: UnixMs) -> String {
    let Some(from) = from else { return String::new() };
    let ms = to.unwrap_or(now).saturating_sub(from);
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{}h{}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}
