//! R11: messages a linearizable read.

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::openraft;
use drystone_versus::raft::reads::messages;
use drystone_versus::raft::replica::Reads;

use crate::Options;
use crate::contender::{Contender, with_core};
use crate::report::{Row, Want};

/// A round of heartbeats between three nodes: two there, two back.
const ROUND: f64 = 4.0;

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let most = |bound| Want::Figure(Goal::AtMost(bound));
    for count in [1, 64, 256] {
        for (reads, what, want) in
            [(Reads::Index, "by index", most(ROUND)), (Reads::Lease, "by lease", most(0.0))]
        {
            let mut figures = Vec::new();
            for contender in &options.contenders {
                let messages = match contender {
                    Contender::Openraft => Some(openraft::reads(reads, count)?),
                    core => with_core!(core, Core => messages::<Core>(reads, count)?),
                };
                figures.extend(messages.map(|messages| (*contender, messages as f64)));
            }
            let what = format!("R11 messages, {count} reads at once, {what}");
            rows.push(Row::counted(what, want, figures));
        }
    }
    Ok(rows)
}
