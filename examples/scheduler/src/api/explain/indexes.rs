//! Indexes as text: `0-3,7`.

use std::fmt;

/// Ranges that are written out; of the others it is said how many tasks they are.
const RANGES_MAX: usize = 32;

/// Indexes, each put in once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes {
    ranges: Vec<(u32, u32)>,
    count: u32,
}

impl Indexes {
    /// These as well, both ends included.
    pub(super) fn put(&mut self, lo: u32, hi: u32) {
        self.count += hi - lo + 1;
        match self.ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(lo) => *last = hi,
            _ => self.ranges.push((lo, hi)),
        }
    }

    /// Puts them in order, if they were not put in from the lowest to the highest.
    pub(super) fn sort(&mut self) {
        self.ranges.sort_unstable();
        let mut sorted = Indexes::default();
        self.ranges().for_each(|(lo, hi)| sorted.put(lo, hi));
        *self = sorted;
    }

    /// How many.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Range by range, both ends included.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        self.ranges.iter().copied()
    }

    /// The lowest.
    pub(super) fn first(&self) -> u32 {
        self.ranges.first().map_or(0, |(lo, _)| *lo)
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (lo, hi)) in self.ranges.iter().take(RANGES_MAX).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match lo == hi {
                true => write!(f, "{comma}{lo}")?,
                false => write!(f, "{comma}{lo}-{hi}")?,
            }
        }
        match self.ranges.get(RANGES_MAX..).filter(|rest| !rest.is_empty()) {
            Some(rest) => {
                let rest: u32 = rest.iter().map(|(lo, hi)| hi - lo + 1).sum();
                write!(f, ",… and {rest} more")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand tasks of one story are one line.
    #[test]
    fn neighbours_are_one_range() {
        let mut indexes = Indexes::default();
        for index in [0, 1, 2, 3, 7, 9, 10] {
            indexes.put(index, index);
        }
        assert_eq!(indexes.to_string(), "0-3,7,9-10");
        assert_eq!((indexes.count(), indexes.first()), (7, 0));
        let mut indexes = Indexes::default();
        indexes.put(5, 9_999);
        indexes.put(0, 3);
        indexes.put(4, 4);
        indexes.sort();
        assert_eq!((indexes.to_string().as_str(), indexes.count()), ("0-9999", 10_000));
        assert_eq!(Indexes::default().to_string(), "");
    }

    /// Every other task of a million must not make an answer of megabytes.
    #[test]
    fn scattered_indexes_are_cut() {
        let mut indexes = Indexes::default();
        for index in 0..1_000 {
            indexes.put(index * 2, index * 2);
        }
        assert!(indexes.to_string().ends_with(",… and 968 more"), "{indexes}");
    }
}
