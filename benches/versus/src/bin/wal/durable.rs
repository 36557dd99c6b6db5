//! One thread: how close to the wall?

use anyhow::Result;
use drystone_versus::figures::{Figures, Goal, Verdict, contenders};
use drystone_versus::log::{Log, Ours, Raw};
use drystone_versus::rounds::{Unit, rounds};
use drystone_versus::slice::{Sample, slice};
use drystone_wal::Writer as Mode;

use crate::{Arena, Findings, settle};

const RECORD_BYTES: usize = 180;

/// A turn is so much shorter, and rounds as many more, than for threads: there is no one to start,
/// and what disturbs one contender then disturbs the next one in the same round as well.
const SHORTER: u32 = 3;

pub(crate) fn run(arena: &Arena) -> Result<Findings> {
    let dir = arena.dir.join("durable");
    std::fs::create_dir_all(&dir)?;
    let logs: [Box<dyn Log>; 4] = [
        Box::new(Ours::open(&dir.join("ours"), Mode::Thread)?),
        Box::new(Raw::zeroed(&dir.join("zeroed"))?),
        Box::new(Raw::growing(&dir.join("growing"))?),
        Box::new(Raw::direct(&dir.join("direct"))?),
    ];
    settle(arena)?;
    let mut units = Vec::new();
    for log in &logs {
        units.push(Unit {
            name: log.name().to_owned(),
            run: Box::new(|| slice(&**log, 1, RECORD_BYTES, arena.slice / SHORTER)),
        });
    }
    let samples = rounds("durable", &mut units, arena.rounds * SHORTER as usize, arena.seed)?;
    let figures: Vec<Figures<'_>> = logs
        .iter()
        .zip(&samples)
        .map(|(log, samples)| Figures { name: log.name(), samples })
        .collect();
    let verdict = Verdict {
        what: "1 thread, 180 B, appends/s to a raw loop over zeros".to_owned(),
        figure: figures[0].ratio(&figures[1], Sample::per_second).median,
        goal: Goal::AtLeast(0.90),
    };
    Ok(Findings {
        title: format!("One thread, {RECORD_BYTES} B, each synced"),
        tables: contenders(&figures),
        verdicts: vec![verdict],
    })
}
