//! A cluster of our own members on the command line: drawn, or run for what it costs.
//!
//! ```text
//!     membership-sim draw --nodes 128 --scenario crash --seconds 60 --out crash.svg
//!     membership-sim run --nodes 10000 --seconds 60
//! ```
//!
//! `draw` tells a story of [`scenario::story`](drystone_membership_sim::scenario::story) and draws
//! it. `run` does nothing to its cluster but to watch the clock, the machine's and the cluster's.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use drystone_membership::{Config, Lifeguard};
use drystone_membership_sim::chronicle::{Chronicle, Second};
use drystone_membership_sim::picture::{Kind, Mark, Panel, Picture, Series};
use drystone_membership_sim::scenario::bootstrap::SEEDS;
use drystone_membership_sim::scenario::story::{Plot, story};
use drystone_membership_sim::{Cluster, Drystone, SECOND, Setup, Stable};

/// Clusters of members in a simulated network.
#[derive(Debug, Parser)]
#[command(name = "membership-sim")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Draws what becomes of a cluster.
    Draw(Draw),
    /// Runs a large cluster, and prints what it costs.
    Run(Run),
}

#[derive(Debug, Args)]
struct Draw {
    /// How many members.
    #[arg(long, default_value_t = 128)]
    nodes: usize,
    /// What is done to them.
    #[arg(long)]
    scenario: Plot,
    /// The seed that decides everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seconds of the cluster's time.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Where the picture goes.
    #[arg(long)]
    out: PathBuf,
    /// Whether the parts of Lifeguard are on.
    #[arg(long, default_value = "on")]
    lifeguard: Switch,
    /// Ask the stable view instead of the events.
    #[arg(long)]
    stable: bool,
}

#[derive(Debug, Args)]
struct Run {
    /// How many members.
    #[arg(long, default_value_t = 10_000)]
    nodes: usize,
    /// The seed that decides everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seconds of the cluster's time, the ten of a warm start not counted.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Begin with members that know three seeds and nobody else.
    #[arg(long)]
    cold: bool,
    /// Whether the parts of Lifeguard are on.
    #[arg(long, default_value = "on")]
    lifeguard: Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Draw(task) => draw(&task),
        Task::Run(task) => run(&task),
    }
}

fn config(lifeguard: Switch) -> Config {
    let lifeguard = if lifeguard == Switch::Off { Lifeguard::OFF } else { Lifeguard::ON };
    Config { lifeguard, ..Config::lan() }
}

#[expect(clippy::disallowed_methods, reason = "a picture goes into a file of the user's")]
fn draw(task: &Draw) -> anyhow::Result<()> {
    let setup = Setup::new(task.nodes, config(task.lifeguard));
    let told = match task.stable {
        true => story::<Stable>(&setup, task.seed, task.scenario, task.seconds),
        false => story::<Drystone>(&setup, task.seed, task.scenario, task.seconds),
    };
    let svg = picture(task, &told).svg();
    let out = task.out.display();
    std::fs::write(&task.out, &svg).with_context(|| format!("cannot write {out}"))?;
    println!("{out}: {} bytes", svg.len());
    Ok(())
}

fn picture(task: &Draw, told: &Chronicle) -> Picture {
    let scenario = task.scenario.to_possible_value();
    let scenario = scenario.as_ref().map_or("", |value| value.get_name());
    let mut subtitle = format!(
        "membership-sim draw --nodes {} --scenario {scenario} --seed {} --seconds {}",
        task.nodes, task.seed, task.seconds
    );
    if task.lifeguard == Switch::Off {
        subtitle.push_str(" --lifeguard off");
    }
    if task.stable {
        subtitle.push_str(" --stable");
    }
    let what = if task.stable { "the stable view" } else { "the events" };
    let guard = if task.lifeguard == Switch::Off { ", plain SWIM" } else { "" };
    let title = format!("{} members, {scenario}: {what}{guard}", task.nodes);
    let marks =
        told.marks().iter().map(|(at, text)| Mark { at: *at, text: text.clone() }).collect();
    let seconds = task.seconds as f64;
    Picture { title, subtitle, seconds, marks, panels: panels(told) }
}

fn panels(told: &Chronicle) -> Vec<Panel> {
    const BLUE: &str = "#1b6ca8";
    const ORANGE: &str = "#e08214";
    const RED: &str = "#b2182b";
    const GREY: &str = "#888888";
    let bars = |value: fn(&Second) -> u64| -> Vec<(f64, f64)> {
        let seconds = told.seconds().iter().enumerate();
        seconds.map(|(at, second)| (at as f64, value(second) as f64)).collect()
    };
    let sums = |value: fn(&Second) -> u64| {
        let mut sum = 0.0;
        let mut points = vec![(0.0, 0.0)];
        points.extend(bars(value).into_iter().map(|(at, value)| {
            sum += value;
            (at + 1.0, sum)
        }));
        points
    };
    let shares = told.convergence().samples().iter();
    let shares = shares.map(|(at, share)| (*at as f64 / SECOND as f64, 100.0 * share)).collect();
    let all = |it: &Second| it.false_downs;
    let among = |it: &Second| it.false_downs_among_healthy;
    let series = Series::new;
    vec![
        Panel::new(
            "members whose view is right",
            " %",
            vec![series(
                "healthy members that know all, and nobody else",
                BLUE,
                Kind::Line,
                shares,
            )],
        ),
        Panel::new(
            "live members called dead, by second",
            "",
            vec![
                series("of anybody", ORANGE, Kind::Bars, bars(all)),
                series("among healthy members", RED, Kind::Bars, bars(among)),
            ],
        ),
        Panel::new(
            "live members called dead, so far",
            "",
            vec![
                series("of anybody", ORANGE, Kind::Line, sums(all)),
                series("among healthy members", RED, Kind::Line, sums(among)),
            ],
        ),
        Panel::new(
            "suspicions, and right reports of a death, by second",
            "",
            vec![
                series("suspicions heard of", GREY, Kind::Bars, bars(|it| it.suspicions)),
                series("the dead called dead", BLUE, Kind::Bars, bars(|it| it.true_downs)),
            ],
        ),
    ]
}

#[expect(clippy::disallowed_methods, reason = "what is measured here is the machine's time")]
fn run(task: &Run) -> anyhow::Result<()> {
    let setup = Setup::new(task.nodes, config(task.lifeguard));
    let begin = Instant::now();
    let mut cluster = match task.cold {
        true => Cluster::<Drystone>::cold(&setup, task.seed, SEEDS, SECOND),
        false => Cluster::warm(&setup, task.seed),
    };
    println!("made in {:.1} s, {}", begin.elapsed().as_secs_f64(), memory()?);
    println!("second   wall s     steps/s   bytes/member    right");
    let from = cluster.now();
    let (mut steps, mut traffic) = (cluster.world().steps(), cluster.traffic());
    let (mut wall, mut wall_steps, mut right) = (0.0, 0, 0);
    let before = traffic;
    for second in 1..=task.seconds {
        let tick = Instant::now();
        cluster.run_until(from + second * SECOND, &mut []);
        let took = tick.elapsed().as_secs_f64();
        let made = cluster.world().steps() - steps;
        (wall, wall_steps, steps) = (wall + took, wall_steps + made, steps + made);
        let now = cluster.traffic();
        let bytes = now.since(&traffic).bytes() / task.nodes as u64;
        traffic = now;
        // A line a second at first; later little changes.
        if second <= 10 || second % 10 == 0 || second == task.seconds {
            right = cluster.right_count();
            let rate = made as f64 / took;
            println!("{second:>6} {took:>8.2} {rate:>11.0} {bytes:>14} {right:>8}");
        }
    }
    let bytes = traffic.since(&before).bytes() as f64;
    let bytes = bytes / (task.nodes as u64 * task.seconds).max(1) as f64;
    println!(
        "{} s of {} members in {wall:.1} s: {:.0} steps/s, {bytes:.0} bytes/member/s, {}; {}",
        task.seconds,
        task.nodes,
        wall_steps as f64 / wall,
        if right == task.nodes { "all are right" } else { "not all are right" },
        memory()?
    );
    Ok(())
}

/// The most memory that this process has had, as the kernel says.
#[expect(clippy::disallowed_methods, reason = "the kernel tells it in a file")]
fn memory() -> anyhow::Result<String> {
    let status = String::from_utf8(std::fs::read("/proc/self/status")?)?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(format!("peak memory {}", peak.map_or("unknown", str::trim)))
}
