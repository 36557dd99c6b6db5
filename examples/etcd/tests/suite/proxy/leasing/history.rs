//! What clients did to single keys, and whether it can have happened one after the other.
//!
//! The members have put the writes in order already: by their revisions. So it is enough to look at
//! each read: it must not show less than what had been written, or read, before it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was done, and when.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// What those have read is left out whose names begin so.
    unheard: Option<&'static str>,
    clock: AtomicU64,
    done: Mutex<Vec<Done>>,
}

/// Something that was done between two ticks of the clock.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) by: String,
    pub(crate) key: String,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It was set, or deleted, at this revision.
    Put(i64),
    Deleted(i64),
    /// Nobody knows whether it was changed.
    Perhaps,
    /// It was last changed at this revision; `None`: it was not there.
    Read(Option<i64>),
}

impl History {
    /// One that leaves out what those have read whose names begin so.
    pub(crate) fn without_reads_of(unheard: &'static str) -> History {
        History { unheard: Some(unheard), ..History::default() }
    }

    /// Whether what somebody has read counts.
    pub(crate) fn hears(&self, name: &str) -> bool {
        self.unheard.is_none_or(|unheard| !name.starts_with(unheard))
    }

    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// It has ended now.
    pub(crate) fn note(&self, by: &str, key: &str, begin: u64, what: What) {
        if !self.hears(by) && matches!(what, What::Read(_)) {
            return;
        }
        let end = if what == What::Perhaps { u64::MAX } else { self.tick() };
        let done = Done { by: by.to_owned(), key: key.to_owned(), begin, end, what };
        self.done.lock().expect("nobody has panicked").push(done);
    }

    /// Fails where something cannot have happened. How many reads there were.
    #[track_caller]
    pub(crate) fn check(&self) -> usize {
        let done = self.done.lock().expect("nobody has panicked");
        let keys: BTreeSet<&String> = done.iter().map(|it| &it.key).collect();
        keys.iter().map(|key| check(done.iter().filter(|it| it.key == **key))).sum()
    }
}

#[track_caller]
fn check<'a>(done: impl Iterator<Item = &'a Done>) -> usize {
    let mut all: Vec<&Done> = done.collect();
    all.sort_by_key(|it| it.begin);
    let perhaps = |end: u64| all.iter().any(|it| it.what == What::Perhaps && it.begin < end);
    let deletions: Vec<(i64, u64)> = all
        .iter()
        .filter_map(|it| match it.what {
            What::Deleted(revision) => Some((revision, it.begin)),
            _ => None,
        })
        .collect();
    // What was there at the least, by when: the newest of all reads and writes that had ended.
    let mut known: BTreeMap<u64, (i64, &Done)> = BTreeMap::new();
    let mut reads = 0;
    let mut by_end = all.clone();
    by_end.sort_by_key(|it| it.end);
    for it in &by_end {
        let least = known.range(..it.begin).next_back().map(|(_, it)| *it);
        let floor = least.map_or(0, |(revision, _)| revision);
        let at = match it.what {
            What::Perhaps => continue,
            What::Put(revision) | What::Deleted(revision) => revision,
            What::Read(Some(revision)) => revision,
            // It never had been, or somebody may have deleted it of whom nobody knows when.
            What::Read(None) if floor == 0 || perhaps(it.end) => floor,
            // Of all deletions that it may have seen, the first.
            What::Read(None) => {
                let seen = deletions.iter().filter(|(at, begin)| *at >= floor && *begin < it.end);
                let first = seen.map(|(at, _)| *at).min();
                first.unwrap_or_else(|| panic!("{} finds it gone\n{it:?}\nafter {least:?}", it.by))
            }
        };
        assert!(floor <= at, "{} finds it older\n{it:?}\nafter {least:?}", it.by);
        reads += usize::from(matches!(it.what, What::Read(_)));
        let most = known.last_key_value().map(|(_, most)| *most).filter(|most| most.0 > at);
        known.insert(it.end, most.unwrap_or((at, it)));
    }
    reads
}

fn done(begin: u64, end: u64, what: What) -> Done {
    Done { by: String::new(), key: "k".to_owned(), begin, end, what }
}

// The judge is judged first.
#[test]
fn histories_that_cannot_be_are_found() {
    use What::{Deleted, Perhaps, Put, Read};
    let is_good = |all: &[Done]| {
        let all = all.to_vec();
        std::panic::catch_unwind(move || check(all.iter())).is_ok()
    };
    assert!(is_good(&[done(0, 1, Put(2)), done(2, 3, Read(Some(2)))]));
    assert!(is_good(&[done(0, 5, Put(3)), done(1, 2, Read(Some(3))), done(3, 4, Read(Some(3)))]));
    assert!(!is_good(&[done(0, 5, Put(3)), done(1, 2, Read(Some(3))), done(3, 4, Read(Some(2)))]));
    assert!(!is_good(&[done(0, 1, Put(2)), done(2, 3, Put(3)), done(4, 5, Read(Some(2)))]));
    assert!(!is_good(&[done(0, 1, Put(2)), done(2, 3, Read(None))]));
    assert!(is_good(&[done(0, 1, Read(None)), done(2, 3, Put(2)), done(0, 9, Deleted(3))]));
    assert!(is_good(&[done(0, 1, Put(2)), done(2, 5, Deleted(3)), done(3, 4, Read(None))]));
    assert!(!is_good(&[done(0, 1, Deleted(2)), done(2, 3, Put(3)), done(4, 5, Read(None))]));
    assert!(is_good(&[done(0, 1, Put(2)), done(2, u64::MAX, Perhaps), done(4, 5, Read(None))]));
}
