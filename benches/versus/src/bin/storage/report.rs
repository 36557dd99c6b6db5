//! From samples to tables.

use std::fmt::Write as _;

use drystone_versus::spread::Spread;
use drystone_versus::storage::phase::{Phase, Sample};
use drystone_versus::storage::store::Contender;
use drystone_versus::table::table;

use crate::course::{Samples, What};

/// What is measured by CPU time and time on the wall of an operation.
const WORK: [Phase; 12] = [
    Phase::Load,
    Phase::SortedLoad,
    Phase::Get,
    Phase::Miss,
    Phase::Scan10,
    Phase::Scan100,
    Phase::FullScan,
    Phase::YcsbA,
    Phase::YcsbB,
    Phase::YcsbC,
    Phase::YcsbE,
    Phase::Remove,
];

/// What the mix writes counts without the durable puts: they go on for a time, and whoever is
/// faster would have written more.
const WRITES: [Phase; 5] = [Phase::Load, Phase::YcsbB, Phase::YcsbA, Phase::YcsbE, Phase::Remove];

const OURS: [Contender; 2] = [Contender::Btree, Contender::Lsm];

/// A figure of a sample.
pub(crate) type Of = fn(&Sample) -> f64;

const MIB: f64 = (1 << 20) as f64;

/// The figure of each round.
pub(crate) fn figures(
    samples: &Samples,
    what: What,
    contender: Contender,
    of: impl Fn(&Sample) -> f64,
) -> Option<Vec<f64>> {
    let samples = samples.get(&(what, contender))?;
    Some(samples.iter().map(of).collect())
}

/// One contender's figure divided by another's, round by round.
pub(crate) fn ratio(
    samples: &Samples,
    what: What,
    [above, below]: [Contender; 2],
    of: impl Fn(&Sample) -> f64,
) -> Option<Spread> {
    let above = figures(samples, what, above, &of)?;
    let below = figures(samples, what, below, &of)?;
    Some(Spread::of(above.into_iter().zip(below).map(|(above, below)| above / below)))
}

/// Bytes that the mix has had written, round by round; none if a phase is missing.
pub(crate) fn mix_written(samples: &Samples, contender: Contender) -> Option<Vec<f64>> {
    let mut sum: Vec<f64> = Vec::new();
    for phase in WRITES {
        let of_phase = figures(samples, What::Phase(phase), contender, |s| s.written as f64)?;
        sum.resize(of_phase.len(), 0.0);
        sum.iter_mut().zip(of_phase).for_each(|(sum, bytes)| *sum += bytes);
    }
    Some(sum)
}

/// All tables.
pub(crate) fn tables(samples: &Samples, contenders: &[Contender]) -> String {
    let mut text = String::new();
    let stores: Vec<Contender> =
        contenders.iter().copied().filter(|it| *it != Contender::Raw).collect();
    let columns = |first: &'static str, of: &[Contender]| {
        std::iter::once(first).chain(of.iter().map(|it| it.name())).collect::<Vec<_>>()
    };
    let mut part = |title: &str, heads: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            writeln!(text, "**{title}**\n\n{}", table(heads, &rows)).expect("a String takes all");
        }
    };
    let heads = columns("", &stores);
    part("CPU us an operation", &heads, medians(samples, &stores, Sample::cpu_us));
    part("us an operation", &heads, medians(samples, &stores, Sample::wall_us));
    for ours in OURS.into_iter().filter(|it| stores.contains(it)) {
        let others: Vec<Contender> = stores.iter().copied().filter(|it| *it != ours).collect();
        let title = format!("CPU time of others in ours, {}; above 1 ours is better", ours.name());
        let heads = columns("", &others);
        part(&title, &heads, ratios(samples, ours, &others, Sample::cpu_us));
        let title = format!("Time of others in ours, {}; above 1 ours is better", ours.name());
        part(&title, &heads, ratios(samples, ours, &others, Sample::wall_us));
    }
    part("Durable puts", &DURABLE_HEADS, durable(samples, contenders));
    part("Space and memory", &columns("MiB", &stores), space(samples, &stores));
    part("Overwriting, single puts", &STALL_HEADS, stall(samples, &stores));
    part("Opening after a kill", &REOPEN_HEADS, reopen(samples, &stores));
    part("Giving space back", &SHRINK_HEADS, shrink(samples, &stores));
    text
}

fn cell(figures: Option<Vec<f64>>) -> String {
    let Some(figures) = figures else { return "-".to_owned() };
    short(Spread::of(figures).median)
}

/// Three digits that count.
fn short(figure: f64) -> String {
    match figure {
        it if it < 1.0 => format!("{it:.3}"),
        it if it < 10.0 => format!("{it:.2}"),
        it if it < 100.0 => format!("{it:.1}"),
        it => format!("{it:.0}"),
    }
}

/// A row for each phase that somebody has done.
fn rows(
    samples: &Samples,
    contenders: &[Contender],
    cell: impl Fn(Phase, Contender) -> String,
) -> Vec<Vec<String>> {
    let done = |phase: &Phase| {
        contenders.iter().any(|it| samples.contains_key(&(What::Phase(*phase), *it)))
    };
    let row = |phase: Phase| {
        let cells = contenders.iter().map(|it| cell(phase, *it));
        std::iter::once(phase.title().to_owned()).chain(cells).collect()
    };
    WORK.into_iter().filter(done).map(row).collect()
}

fn medians(samples: &Samples, contenders: &[Contender], of: Of) -> Vec<Vec<String>> {
    rows(samples, contenders, |phase, it| cell(figures(samples, What::Phase(phase), it, of)))
}

fn ratios(samples: &Samples, ours: Contender, others: &[Contender], of: Of) -> Vec<Vec<String>> {
    rows(samples, others, |phase, it| {
        ratio(samples, What::Phase(phase), [it, ours], of)
            .map_or_else(|| "-".to_owned(), |it| format!("{:.2}x ({it})", it.median))
    })
}

const DURABLE_HEADS: [&str; 8] =
    ["contender", "threads", "puts/s", "CPU us", "KiB a put", "p50 us", "p99 us", "p99.9 us"];

fn durable(samples: &Samples, contenders: &[Contender]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (phase, threads) in [(Phase::Durable1, "1"), (Phase::Durable16, "16")] {
        for contender in contenders {
            let of = |of: Of| cell(figures(samples, What::Phase(phase), *contender, of));
            if samples.contains_key(&(What::Phase(phase), *contender)) {
                rows.push(vec![
                    contender.name().to_owned(),
                    threads.to_owned(),
                    of(Sample::per_second),
                    of(Sample::cpu_us),
                    of(|s| s.written as f64 / s.ops as f64 / 1024.0),
                    of(|s| s.latency.unwrap_or_default().p50),
                    of(|s| s.latency.unwrap_or_default().p99),
                    of(|s| s.latency.unwrap_or_default().p999),
                ]);
            }
        }
    }
    rows
}

fn space(samples: &Samples, contenders: &[Contender]) -> Vec<Vec<String>> {
    let load = What::Phase(Phase::Load);
    let mib = |figures: Option<Vec<f64>>| {
        cell(figures.map(|all| all.into_iter().map(|bytes| bytes / MIB).collect()))
    };
    type Row<'a> = (&'a str, Box<dyn Fn(Contender) -> Option<Vec<f64>> + 'a>);
    let rows: [Row<'_>; 6] = [
        ("size after load", Box::new(|it| figures(samples, load, it, |s| s.disk as f64))),
        (
            "size after sorted load",
            Box::new(|it| figures(samples, What::Phase(Phase::SortedLoad), it, |s| s.disk as f64)),
        ),
        ("written by the load", Box::new(|it| figures(samples, load, it, |s| s.written as f64))),
        ("written by the mix", Box::new(|it| mix_written(samples, it))),
        ("peak RSS, load", Box::new(|it| figures(samples, load, it, |s| s.rss_peak as f64))),
        (
            "peak RSS, mix",
            Box::new(|it| figures(samples, What::Phase(Phase::Remove), it, |s| s.rss_peak as f64)),
        ),
    ];
    rows.into_iter()
        .map(|(title, of)| {
            let cells = contenders.iter().map(|it| mib(of(*it)));
            std::iter::once(title.to_owned()).chain(cells).collect::<Vec<_>>()
        })
        .filter(|row| row[1..].iter().any(|cell| cell != "-"))
        .collect()
}

const STALL_HEADS: [&str; 8] = [
    "contender",
    "puts/s",
    "CPU us",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "longest ms",
    "but for waits for a CPU",
];

fn stall(samples: &Samples, contenders: &[Contender]) -> Vec<Vec<String>> {
    let what = What::Phase(Phase::Overwrite);
    let row = |contender: &Contender| {
        let of = |of: Of| cell(figures(samples, what, *contender, of));
        vec![
            contender.name().to_owned(),
            of(Sample::per_second),
            of(Sample::cpu_us),
            of(|s| s.latency.unwrap_or_default().p50),
            of(|s| s.latency.unwrap_or_default().p99),
            of(|s| s.latency.unwrap_or_default().p999),
            of(|s| s.latency.unwrap_or_default().max / 1e3),
            of(|s| s.latency.unwrap_or_default().max_with_cpu.unwrap_or(f64::NAN) / 1e3),
        ]
    };
    contenders.iter().filter(|it| samples.contains_key(&(what, **it))).map(row).collect()
}

const REOPEN_HEADS: [&str; 4] = ["contender", "seconds", "CPU seconds", "peak RSS MiB"];

fn reopen(samples: &Samples, contenders: &[Contender]) -> Vec<Vec<String>> {
    let row = |contender: &Contender| {
        let of = |of: Of| cell(figures(samples, What::Reopen, *contender, of));
        vec![
            contender.name().to_owned(),
            of(|s| s.wall),
            of(|s| s.cpu),
            of(|s| s.rss_peak as f64 / MIB),
        ]
    };
    contenders.iter().filter(|it| samples.contains_key(&(What::Reopen, **it))).map(row).collect()
}

const SHRINK_HEADS: [&str; 7] = [
    "contender",
    "MiB before",
    "MiB after",
    "MiB in use",
    "seconds",
    "others wait p99 us",
    "longest ms",
];

fn shrink(samples: &Samples, contenders: &[Contender]) -> Vec<Vec<String>> {
    let what = What::Phase(Phase::Shrink);
    let row = |contender: &Contender| {
        let of = |of: Of| cell(figures(samples, what, *contender, of));
        vec![
            contender.name().to_owned(),
            of(|s| s.shrunk.unwrap_or_default().0 as f64 / MIB),
            of(|s| s.disk as f64 / MIB),
            of(|s| s.shrunk.unwrap_or_default().1 as f64 / MIB),
            of(|s| s.wall),
            of(|s| s.latency.unwrap_or_default().p99),
            of(|s| s.latency.unwrap_or_default().max / 1e3),
        ]
    };
    // Whoever cannot shrink has no row.
    let can = |it: &&Contender| {
        samples.get(&(what, **it)).is_some_and(|all| all.iter().all(|s| s.shrunk.is_some()))
    };
    contenders.iter().filter(can).map(row).collect()
}
