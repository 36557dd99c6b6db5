//! What a container costs: how long until its program runs, how many a second, how much memory.
//!
//! `RUNS=200 cargo test --release -p mason-node --test suite start_cost -- --nocapture` prints the
//! figures. With fewer runs it checks only that they are not absurd: a machine that is busy with
//! something else is slow for reasons that are not ours.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mason_core::record::Reason;
use mason_shim::state::{self, Step};

use super::support::Node;

/// Memory of a keeper that is to be borne once a run.
const KEEPER_KIB_MAX: u64 = 1536;

/// Counts the processor time of this process and all that it starts, but not the containers, which
/// are moved to groups of their own.
struct Meter {
    group: PathBuf,
}

impl Meter {
    fn new() -> Option<Meter> {
        let group = format!("/sys/fs/cgroup/cpuacct/mason-meter-{}", std::process::id());
        let group = PathBuf::from(group);
        fs::create_dir(&group).ok()?;
        fs::write(group.join("cgroup.procs"), std::process::id().to_string()).ok()?;
        Some(Meter { group })
    }

    fn read(&self) -> Duration {
        let text = fs::read_to_string(self.group.join("cpuacct.usage")).unwrap();
        Duration::from_nanos(text.trim().parse().unwrap())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let _ = fs::write("/sys/fs/cgroup/cpuacct/cgroup.procs", std::process::id().to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

/// Start to running decides how quick a scheduler feels; a keeper's memory, how many fit.
#[test]
fn a_start_is_quick_and_a_keeper_small() {
    let Some(node) = Node::new("start_cost") else { return };
    let runs: usize = std::env::var("RUNS").map_or(10, |runs| runs.parse().unwrap());
    let meter = (runs >= 100).then(Meter::new).flatten();
    let before = meter.as_ref().map(Meter::read);
    let begun = Instant::now();
    let mut starts = Vec::new();
    for _ in 0..runs {
        let launch = node.launch("exit 0");
        let began = Instant::now();
        node.start(&launch);
        starts.push(began.elapsed());
        node.wait(&launch.run);
        node.runner().reap(&launch.run).unwrap();
    }
    let took = begun.elapsed();
    starts.sort();
    let quantile = |share: f64| starts[((runs - 1) as f64 * share) as usize];
    println!("{runs} runs: start p50 {:?}, p99 {:?}", quantile(0.5), quantile(0.99));
    println!("start to forgotten: {:.1} a second", runs as f64 / took.as_secs_f64());
    if let (Some(meter), Some(before)) = (&meter, before) {
        let runs = u32::try_from(runs).unwrap();
        println!("processor time a run: {:?}", (meter.read() - before) / runs);
    }
    drop(meter);
    let launch = node.launch("echo up; sleep 1000");
    node.start(&launch);
    node.wait_for_text(&launch.run, "up");
    let steps = state::read(&node.data().join("runs").join(launch.run.as_str())).unwrap();
    let Some(Step::Kept { pid, .. }) = steps.first() else { panic!("{steps:?}") };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let (rss, anonymous) = (of("VmRSS:"), of("RssAnon:"));
    println!("keeper: {rss} KiB resident, of which {anonymous} KiB are its own");
    assert!(rss <= KEEPER_KIB_MAX, "{status}");
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
    node.finish();
}
