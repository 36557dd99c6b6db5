//! The named key spaces of an engine, and the direction a scan runs in.
//!
//! Spaces are what a database calls tables, column families or buckets: keys of different spaces
//! never meet, but one [`Batch`](super::Batch) may touch all of them and stays atomic. There are
//! few of them and they are fixed, so that an engine can lay out each one for the keys it will
//! get, and so that no name is ever stored.

/// One of the fixed key spaces of an engine.
///
/// The numbers are on disk: never reuse or renumber one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// A handful of records about the store itself: the applied index, the compacted revision.
    Meta = 0,
    /// The history: revision-keyed records. Keys are 12 bytes, big endian, and grow, so nearly
    /// every put lands behind the last key; values hold a key, a value and some 20 bytes more.
    /// Compaction deletes most of the old ones again.
    Record = 1,
    /// Leases by id: 8-byte keys and small values.
    Lease = 2,
    /// Raised alarms: a few small records.
    Alarm = 3,
}

impl Space {
    /// Every space, in the order of the numbers.
    pub const ALL: [Self; Self::COUNT] = [Self::Meta, Self::Record, Self::Lease, Self::Alarm];

    /// How many spaces there are.
    pub const COUNT: usize = 4;

    /// The position of this space in [`Space::ALL`], for arrays with one slot a space.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The space that the disk number `number` stands for, or `None` for a number not yet given.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Meta),
            1 => Some(Self::Record),
            2 => Some(Self::Lease),
            3 => Some(Self::Alarm),
            _ => None,
        }
    }
}

/// Which end of a range a scan starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Backward,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_numbers_are_fixed() {
        // A renumbered space would read another space's records from an old file.
        let numbers = Space::ALL.map(|space| space as u8);
        assert_eq!(numbers, [0, 1, 2, 3]);
        for space in Space::ALL {
            assert_eq!(Space::from_number(space as u8), Some(space));
            assert_eq!(Space::ALL[space.index()], space);
        }
        assert_eq!(Space::from_number(4), None);
    }
}
