//! Many threads, each waiting for its own record: who shares a sync best, and at what price?

use anyhow::Result;
use drystone_versus::figures::{Figures, Goal, Verdict, contenders};
use drystone_versus::log::{Log, OkayWal, Ours, RaftEngine, Shape};
use drystone_versus::rounds::{Unit, rounds};
use drystone_versus::slice::{Sample, slice, slice_of_tasks};
use drystone_wal::Writer as Mode;

use crate::{Arena, Findings, settle};

/// What an etcd-like store writes for a small put.
pub(crate) const RECORD_BYTES: usize = 174;

const TASKS: usize = 256;

/// Threads, the least ratio to the better peer, the most CPU.
type ThreadGoal = (usize, f64, Option<f64>);

const GOALS: [ThreadGoal; 3] = [(1, 1.0, None), (16, 1.1, Some(10.0)), (64, 1.0, Some(6.0))];

/// The least that 16 threads are to do, in appends of one thread.
const SPEEDUP: f64 = 8.0;

/// Contenders that are judged as logs. The one behind them is shown only: it keeps no order and
/// forgets all values of a key but the last, so it is a log's equal in nothing but its syncs.
const LOGS: usize = 4;

pub(crate) fn run(arena: &Arena) -> Result<Findings> {
    let dir = arena.dir.join("threads");
    std::fs::create_dir_all(&dir)?;
    let ours = Ours::open(&dir.join("ours"), Mode::Thread)?;
    let okay_default = OkayWal::with_defaults(&dir.join("okay"))?;
    let okay_large = OkayWal::with_large_files(&dir.join("okay-large"))?;
    let raft = RaftEngine::open(&dir.join("raft"), Shape::EntryInOwnRegion)?;
    let raft_keys = RaftEngine::open(&dir.join("raft-keys"), Shape::KeyInSharedRegion)?;
    let logs: [&dyn Log; 5] = [&ours, &okay_default, &okay_large, &raft, &raft_keys];
    settle(arena)?;

    let mut units = Vec::new();
    for (threads, ..) in GOALS {
        for log in logs {
            units.push(Unit {
                name: format!("{}, {threads} threads", log.name()),
                run: Box::new(move || slice(log, threads, RECORD_BYTES, arena.slice)),
            });
        }
    }
    units.push(Unit {
        name: "ours, tasks".to_owned(),
        run: Box::new(|| slice_of_tasks(&ours, ours.wal(), TASKS, RECORD_BYTES, arena.slice)),
    });
    let samples = rounds("threads", &mut units, arena.rounds, arena.seed)?;

    let mut findings = Findings {
        title: format!("Threads that each wait for their own record of {RECORD_BYTES} B"),
        tables: String::new(),
        verdicts: Vec::new(),
    };
    let mut ours_by_threads = Vec::new();
    for (goal, samples) in GOALS.iter().zip(samples.chunks(logs.len())) {
        let named = logs.iter().zip(samples);
        let figures: Vec<Figures<'_>> =
            named.map(|(log, samples)| Figures { name: log.name(), samples }).collect();
        findings.tables += &format!("{} threads\n\n{}\n", goal.0, contenders(&figures));
        findings.verdicts.extend(judge(*goal, &figures));
        ours_by_threads.push(figures[0]);
    }
    let [one, sixteen, many] = ours_by_threads[..] else { unreachable!("three goals") };
    findings.verdicts.push(Verdict {
        what: "16 threads, appends/s to ours with 1 thread".to_owned(),
        figure: sixteen.ratio(&one, Sample::per_second).median,
        goal: Goal::AtLeast(SPEEDUP),
    });
    let tasks = Figures { name: "ours, tasks", samples: &samples[logs.len() * GOALS.len()] };
    let many = Figures { name: "ours, 64 threads", ..many };
    findings.tables +=
        &format!("{TASKS} tasks that await on one thread\n\n{}\n", contenders(&[tasks, many]));
    Ok(findings)
}

/// Ours, which comes first, against the better of the peers: the one whose median is greatest.
fn judge((threads, ratio_min, cpu_max): ThreadGoal, figures: &[Figures<'_>]) -> Vec<Verdict> {
    let (ours, peers) = (figures[0], &figures[1..LOGS]);
    let speed = |it: &&Figures<'_>| it.median(Sample::per_second);
    let best = peers.iter().max_by(|a, b| speed(a).total_cmp(&speed(b))).expect("there are peers");
    let mut verdicts = vec![Verdict {
        what: format!("{threads} threads, appends/s to {}", best.name),
        figure: ours.ratio(best, Sample::per_second).median,
        goal: Goal::AtLeast(ratio_min),
    }];
    verdicts.extend(cpu_max.map(|bound| Verdict {
        what: format!("{threads} threads, CPU us an append"),
        figure: ours.median(Sample::cpu_us),
        goal: Goal::AtMost(bound),
    }));
    verdicts
}
