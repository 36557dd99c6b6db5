//! When containers lived, by what they say themselves: lines of `RUN INDEX begin|beat|end TIME`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mason_core::spec::{Concurrency, Job, Mount, MountSource, Task};

/// One container's life, by the wall clock in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) index: u32,
    pub(crate) begins: u32,
    pub(crate) ends: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// All lives, by run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beats(pub(crate) BTreeMap<String, Life>);

/// A job whose tasks beat for so many seconds.
pub(crate) fn beating(shared: &Path, seconds: f64, concurrency: Concurrency) -> Job {
    let mut task = Task::new("tiny", &["beat", "/shared/beats", &seconds.to_string()]);
    let source = MountSource::Host { path: shared.display().to_string() };
    task.mounts = vec![Mount { at: "/shared".to_owned(), read_only: false, source }];
    task.stop.grace = 1_000;
    let mut job = Job::single(task);
    job.concurrency = concurrency;
    job
}

impl Beats {
    pub(crate) fn read(shared: &Path) -> Beats {
        let text = std::fs::read_to_string(shared.join("beats")).unwrap_or_default();
        let mut lives: BTreeMap<String, Life> = BTreeMap::new();
        // A line that is being written has no end yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [run, index, what, at] = words[..] else { panic!("two lines in one: {line}") };
            let at: u64 = at.parse().unwrap();
            let life = lives.entry(run.to_owned()).or_default();
            life.index = index.parse().unwrap();
            life.begins += u32::from(what == "begin");
            life.ends += u32::from(what == "end");
            life.first = if life.first == 0 { at } else { life.first };
            life.last = life.last.max(at);
        }
        Beats(lives)
    }

    /// No run is started twice.
    pub(crate) fn check(&self) {
        for (run, life) in &self.0 {
            assert_eq!(life.begins, 1, "{run} is started once: {life:?}");
            assert!(life.ends <= 1, "{run} ends once: {life:?}");
        }
    }

    /// No two copies of a task lived at once.
    pub(crate) fn check_strict(&self) {
        self.check();
        for (run, life) in &self.0 {
            for (other, their) in self.0.iter().filter(|(other, _)| *other > run) {
                let apart = life.last < their.first || their.last < life.first;
                assert!(
                    life.index != their.index || apart,
                    "two copies at once: {run} {life:?}, {other} {their:?}"
                );
            }
        }
    }

    /// Each task was begun once, and came to its end then: none was killed, none repeated.
    pub(crate) fn check_whole(&self, count: u32) {
        self.check();
        let all: BTreeSet<u32> = self.0.values().map(|life| life.index).collect();
        assert_eq!(all, (0..count).collect(), "nothing is lost");
        assert_eq!(self.0.len(), count as usize, "nothing is repeated: {:?}", self.0);
        assert!(self.0.values().all(|life| life.ends == 1), "nothing is killed: {:?}", self.0);
    }

    /// Those of a task, the earliest first.
    pub(crate) fn of(&self, index: u32) -> Vec<(&String, &Life)> {
        let mut lives: Vec<_> = self.0.iter().filter(|(_, life)| life.index == index).collect();
        lives.sort_by_key(|(_, life)| life.first);
        lives
    }
}
