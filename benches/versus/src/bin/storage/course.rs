//! Rounds, courses, turns.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use drystone_versus::storage::child::{Child, Command};
use drystone_versus::storage::data::raw_bytes;
use drystone_versus::storage::phase::{Phase, Sample, Sizes};
use drystone_versus::storage::store::{Contender, Settings, Sync};
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rustix::fs::syncfs;

use crate::Course;

/// The phases of the mix, in their order. Space is given back at the end; durable puts come in
/// between, after closing and opening.
const MIX: [Phase; 14] = [
    Phase::Load,
    Phase::Get,
    Phase::Miss,
    Phase::Scan10,
    Phase::Scan100,
    Phase::FullScan,
    Phase::YcsbC,
    Phase::YcsbB,
    Phase::YcsbA,
    Phase::YcsbE,
    Phase::Durable1,
    Phase::Durable16,
    Phase::Remove,
    Phase::Shrink,
];

/// Room for the largest store, in bytes of what is put in: trees that copy pages and give none
/// back, twice over.
const STORE_FACTOR: u64 = 32;

/// What to do.
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    pub(crate) sizes: Sizes,
    pub(crate) memory_bytes: u64,
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
    pub(crate) courses: Vec<Course>,
    /// Of the mix; none means all.
    pub(crate) phases: Vec<Phase>,
    pub(crate) contenders: Vec<Contender>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A phase.
    Phase(Phase),
    /// Opening after a kill.
    Reopen,
}

/// One sample a round, of whoever takes part.
pub(crate) type Samples = BTreeMap<(What, Contender), Vec<Sample>>;

/// Does all that is planned; what was measured until something went wrong, and what did.
pub(crate) fn run(plan: &Plan) -> (Samples, Result<()>) {
    let mut samples = Samples::new();
    let outcome = rounds(plan, &mut samples);
    (samples, outcome)
}

fn rounds(plan: &Plan, samples: &mut Samples) -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    for round in 1..=plan.rounds {
        for course in &plan.courses {
            eprintln!("{course:?}: round {round} of {}", plan.rounds);
            let mut turns = Turns { plan, round, random: &mut random, samples };
            match course {
                Course::Mix => turns.mix()?,
                Course::Sorted => turns.sorted()?,
                Course::Stall => turns.stall()?,
                Course::Kill => turns.kill()?,
            }
        }
    }
    Ok(())
}

/// A round of a course.
struct Turns<'a> {
    plan: &'a Plan,
    round: usize,
    random: &'a mut ChaCha8Rng,
    samples: &'a mut Samples,
}

type Children = Vec<(Contender, Child)>;

impl Turns<'_> {
    fn mix(&mut self) -> Result<()> {
        let mut children = self.start("mix", None, true)?;
        let mut sync = Sync::Later;
        for phase in MIX {
            let wanted = self.plan.phases.is_empty() || self.plan.phases.contains(&phase);
            if !wanted && phase != Phase::Load {
                continue;
            }
            let needed = if phase.is_durable() { Sync::Each } else { Sync::Later };
            if needed != sync {
                // The map in memory would not be there afterwards.
                let closed = |it: &&mut (Contender, Child)| it.0 != Contender::Std;
                for (contender, child) in children.iter_mut().filter(closed) {
                    child.ask(Command::Close)?;
                    child.ask(Command::Open(self.settings(*contender, needed)))?;
                }
                sync = needed;
            }
            self.turn(&mut children, phase)?;
        }
        self.end(children, "mix")
    }

    fn sorted(&mut self) -> Result<()> {
        let mut children = self.start("sorted", None, false)?;
        self.turn(&mut children, Phase::SortedLoad)?;
        self.end(children, "sorted")
    }

    /// Memory for half of what is stored; the load that precedes is not reported.
    fn stall(&mut self) -> Result<()> {
        let memory_bytes = raw_bytes(0..self.plan.sizes.keys) / 2;
        let mut children = self.start("stall", Some(memory_bytes), false)?;
        for (_, child) in &mut children {
            child.ask(Command::Run(Phase::Load))?;
        }
        self.turn(&mut children, Phase::Overwrite)?;
        self.end(children, "stall")
    }

    fn kill(&mut self) -> Result<()> {
        let log_bytes = Some(self.plan.sizes.log_bytes);
        for contender in self.shuffled(false) {
            if contender == Contender::Std {
                continue;
            }
            let settings = self.settings(contender, Sync::Later);
            let dir = self.plan.dir.join(format!("kill-{}", contender.name()));
            let sizes = &self.plan.sizes;
            let mut child = Child::start(contender.name(), &dir, sizes, self.plan.seed)?;
            child.ask(Command::Open(Settings { log_bytes, ..settings }))?;
            child.ask(Command::Run(Phase::FillLog))?;
            child.kill()?;
            self.settle_disk()?;
            let mut child = Child::start(contender.name(), &dir, sizes, self.plan.seed)?;
            let sample = child.ask(Command::Open(settings))?;
            self.record(What::Reopen, contender, sample);
            child.ask(Command::Run(Phase::CheckLog))?;
            child.end()?;
            fs::remove_dir_all(dir)?;
        }
        Ok(())
    }

    /// Everyone does a phase, one after the other.
    fn turn(&mut self, children: &mut Children, phase: Phase) -> Result<()> {
        children.shuffle(self.random);
        for (contender, child) in children.iter_mut() {
            if *contender == Contender::Raw && phase != Phase::Durable1 {
                continue;
            }
            if *contender == Contender::Std && phase.is_durable() {
                continue;
            }
            self.settle_disk()?;
            let sample = child.ask(Command::Run(phase))?;
            if sample.ops == 0 {
                continue;
            }
            eprintln!(
                "  {:24} {:14} CPU {:8.3} us  wall {:9.3} us",
                phase.title(),
                contender.name(),
                sample.cpu_us(),
                sample.wall_us()
            );
            self.record(What::Phase(phase), *contender, sample);
        }
        Ok(())
    }

    fn record(&mut self, what: What, contender: Contender, sample: Sample) {
        let of_rounds = self.samples.entry((what, contender)).or_default();
        of_rounds.push(sample);
        assert_eq!(of_rounds.len(), self.round, "one sample a round");
    }

    fn start(&mut self, course: &str, memory: Option<u64>, raw: bool) -> Result<Children> {
        let mut children = Children::new();
        for contender in self.shuffled(raw) {
            let dir = self.plan.dir.join(format!("{course}-{}", contender.name()));
            let mut child = Child::start(contender.name(), &dir, &self.plan.sizes, self.plan.seed)?;
            let mut settings = self.settings(contender, Sync::Later);
            settings.memory_bytes = memory.unwrap_or(settings.memory_bytes);
            child.ask(Command::Open(settings))?;
            children.push((contender, child));
        }
        Ok(children)
    }

    fn end(&self, children: Children, course: &str) -> Result<()> {
        for (contender, child) in children {
            child.end()?;
            fs::remove_dir_all(self.plan.dir.join(format!("{course}-{}", contender.name())))?;
        }
        Ok(())
    }

    /// The contenders, in an order of this round's; with the raw loop or without.
    fn shuffled(&mut self, raw: bool) -> Vec<Contender> {
        let mut all = self.plan.contenders.clone();
        all.retain(|contender| raw || *contender != Contender::Raw);
        all.shuffle(self.random);
        all
    }

    fn settings(&self, contender: Contender, sync: Sync) -> Settings {
        Settings {
            contender,
            memory_bytes: memory_bytes(contender, self.plan.memory_bytes),
            sync,
            log_bytes: None,
            store_bytes_max: store_bytes_max(&self.plan.sizes),
        }
    }

    /// Writes everything dirty back, so that nobody pays for what came before.
    fn settle_disk(&self) -> Result<()> {
        syncfs(fs::File::open(&self.plan.dir)?).context("syncing the file system")
    }
}

/// What a contender is told of its memory, so that all it reads is in its cache: where blocks are
/// kept unpacked that is what was put in; a tree's pages are half-empty after a random load.
pub(crate) fn memory_bytes(contender: Contender, cache_bytes: u64) -> u64 {
    match contender {
        Contender::Rocksdb | Contender::Fjall => cache_bytes,
        // Half of ours is for memtables.
        _ => 2 * cache_bytes,
    }
}

/// What a contender is told of the most that it will hold.
pub(crate) fn store_bytes_max(sizes: &Sizes) -> u64 {
    (STORE_FACTOR * raw_bytes(0..sizes.keys)).next_multiple_of(1 << 20)
}
