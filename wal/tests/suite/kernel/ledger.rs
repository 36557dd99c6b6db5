//! The oracle: what a log must hold after its process was killed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::life::Mark;

/// What is known of a log from what its writers said and what was found in it.
///
/// Invariants:
/// * `promised` has the checksums of records that must be found, unless they lie before `prefix`.
/// * The log ends at or behind `durable`; or, if `cutting`, exactly there.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    promised: BTreeMap<u64, u32>,
    durable: u64,
    prefix: u64,
    /// A suffix cut that was begun and not reported done.
    cutting: Option<u64>,
    /// Where groups may end early, because a cut went through them.
    cuts: BTreeSet<u64>,
    round: u32,
}

/// What a survivor showed, for the tally.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Verdict {
    /// Records were found that nobody had been told of yet.
    pub(super) beyond: bool,
    /// The process died between the beginning and the end of a suffix cut.
    pub(super) mid_cut: bool,
}

impl Ledger {
    /// The least that an opener may demand.
    pub(super) fn min_lsn(&self) -> u64 {
        self.cutting.map_or(self.durable, |last| last.min(self.durable))
    }

    pub(super) fn begin(&mut self, round: u32) {
        self.round = round;
    }

    /// Takes in one line of the victim's; returns how many records it acknowledges.
    pub(super) fn hear(&mut self, line: &str) -> usize {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<u64>().unwrap();
        match words[0] {
            "durable" => {
                let sums = words[3..].iter().map(|word| u32::from_str_radix(word, 16).unwrap());
                self.promised.extend((number(2)..).zip(sums));
                self.durable = self.durable.max(number(1));
                words.len() - 3
            }
            "prefix" => {
                self.prefix = self.prefix.max(number(1));
                0
            }
            "cutting" => {
                self.cutting = Some(number(1));
                0
            }
            "cut" => {
                self.cut(number(1));
                0
            }
            _ => panic!("the victim says: {line}"),
        }
    }

    fn cut(&mut self, last: u64) {
        self.promised.split_off(&(last + 1));
        self.cuts.split_off(&last);
        self.cuts.insert(last);
        self.durable = last;
        self.cutting = None;
    }

    /// Compares with what was found, which then becomes what is known.
    pub(super) fn settle(&mut self, first: u64, found: &[(u64, Vec<u8>)]) -> Verdict {
        let last = first + found.len() as u64 - 1;
        for ((lsn, _), expected) in found.iter().zip(first..) {
            assert_eq!(*lsn, expected, "a gap");
        }
        assert!(first <= self.prefix.max(1), "{first} is first, but {} was not cut", self.prefix);
        let mid_cut = self.cutting.is_some();
        if self.cutting == Some(last) {
            self.cut(last);
        }
        assert!(last >= self.durable, "{last} is last, but {} was acknowledged", self.durable);
        let beyond = last > self.durable;
        for (lsn, sum) in self.promised.range(first..) {
            let (_, record) = &found[(lsn - first) as usize];
            assert_eq!(crc32fast::hash(record), *sum, "record {lsn} is not what was acknowledged");
        }
        self.check_marks(first, found);
        self.promised = found.iter().map(|(lsn, r)| (*lsn, crc32fast::hash(r))).collect();
        self.durable = last;
        self.cutting = None;
        Verdict { beyond, mid_cut }
    }

    /// Nothing is invented, groups are whole, and each thread's groups are there in order, from its
    /// first on, without a gap: the log is a prefix of what was appended.
    fn check_marks(&self, first: u64, found: &[(u64, Vec<u8>)]) {
        let mut seen: HashMap<(u32, u32, u32), u32> = HashMap::new();
        let mut oldest = None;
        let mut open: Option<Mark> = None;
        let (mut round, mut epoch) = (0, 0);
        for (lsn, record) in found {
            let mark = Mark::of(record).unwrap_or_else(|| panic!("record {lsn} was never written"));
            assert!((round, epoch) <= (mark.round, mark.epoch), "record {lsn}: order");
            (round, epoch) = (mark.round, mark.epoch);
            assert!(round <= self.round, "record {lsn} is from the future");
            let oldest = *oldest.get_or_insert((round, epoch));
            match open {
                Some(before) => {
                    let rest = Mark { place: before.place + 1, len: mark.len, ..before };
                    assert_eq!(mark, rest, "record {lsn}: another group within a group");
                }
                None => {
                    assert_eq!(mark.place, 0, "record {lsn}: a group without its head");
                    let groups = seen.entry((round, epoch, mark.thread)).or_insert_with(|| {
                        // The beginning may have been cut off with the log's prefix.
                        if first > 1 && (round, epoch) == oldest { mark.group } else { 0 }
                    });
                    assert_eq!(mark.group, *groups, "record {lsn}: a lost group");
                    *groups += 1;
                }
            }
            let ends = mark.place + 1 == mark.count || self.cuts.contains(lsn);
            open = (!ends).then_some(mark);
        }
        assert!(open.is_none(), "the log ends within a group: {open:?}");
    }
}
