//! R3: puts a CPU-second, with a runtime around the core.

use anyhow::Result;
use drystone_versus::figures::Goal;
use drystone_versus::raft::openraft::Tasks;
use drystone_versus::raft::ours::Nodes;
use drystone_versus::raft::service::Service;
use drystone_versus::raft::throughput::Sample;
use drystone_versus::rounds::{Unit, rounds};

use crate::Options;
use crate::contender::Contender;
use crate::report::{Row, Want};
use crate::rows::figures;

/// Threads of the runtime.
const WORKERS: usize = 2;

/// Clients, how much they put in a turn, and how many times the puts of openraft we want.
const CLIENTS: [(u64, u64, Option<f64>); 3] =
    [(64, 300_000, None), (256, 500_000, Some(2.0)), (4096, 500_000, None)];

pub(crate) fn rows(options: &Options) -> Result<Vec<Row>> {
    let mut who = Vec::new();
    let mut units: Vec<Unit<'_, Sample>> = Vec::new();
    for (clients, puts, _) in CLIENTS {
        for contender in &options.contenders {
            let puts = options.work(puts);
            let run: fn(u64, u64) -> Result<Sample> = match contender {
                Contender::Openraft => whole_turn::<Tasks>,
                Contender::Ours => whole_turn::<Nodes>,
                // A core without a runtime.
                Contender::RaftRs | Contender::RaftRsAsOne => continue,
            };
            who.push((clients, *contender));
            units.push(Unit {
                name: format!("{}, {clients} clients", contender.name()),
                run: Box::new(move || run(clients, puts)),
            });
        }
    }
    let samples = rounds("puts", &mut units, options.rounds(), options.seed)?;
    let mut rows = Vec::new();
    for (clients, _, times) in CLIENTS {
        let of = |of| figures(&who, &samples, clients, of);
        let mut row = |what, want, figures| {
            rows.push(Row { what: format!("R3 {what}, {clients} clients"), want, figures });
        };
        let goal = times.map(|it| Want::Times(Contender::Openraft, Goal::AtLeast(it)));
        row("puts/CPU-s", goal.unwrap_or(Want::Nothing), of(Sample::per_cpu_second));
        row("puts/s", Want::Nothing, of(Sample::per_second));
    }
    Ok(rows)
}

/// How often whoever fails in a turn is asked for it.
const TRIES: usize = 5;

/// A turn in which nobody lost its leadership, which under this load may happen in real time. What
/// was spent before does not count.
fn whole_turn<S: Service>(clients: u64, puts: u64) -> Result<Sample> {
    let mut tried = 1;
    loop {
        match turn::<S>(clients, puts) {
            Err(why) if tried < TRIES => eprintln!("  {}, once more, for: {why:#}", S::NAME),
            result => return result,
        }
        tried += 1;
    }
}

/// A turn of fresh nodes, so that nobody's log grows from round to round. The first tenth is not
/// counted.
fn turn<S: Service>(clients: u64, puts: u64) -> Result<Sample> {
    let mut service = S::start(WORKERS)?;
    service.turn(clients, puts / 10)?;
    let sample = service.turn(clients, puts)?;
    service.stop()?;
    Ok(sample)
}
