//! Which engine a store keeps its records in.

use std::fmt;
use std::str::FromStr;

/// One of the engines that this crate can open.
///
/// The names are on disk (in a data folder's `FORMAT`) and on command lines: never rename one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Everything in memory, written out whole now and then; see [`Mem`](crate::mem::Mem).
    Memory,
    /// A copy-on-write B+tree in one file.
    Btree,
    /// A log-structured merge tree.
    #[default]
    Lsm,
}

impl EngineKind {
    /// Every kind.
    pub const ALL: [EngineKind; 3] = [EngineKind::Memory, EngineKind::Btree, EngineKind::Lsm];

    /// The name, as [`EngineKind::from_str`] reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EngineKind::Memory => "memory",
            EngineKind::Btree => "btree",
            EngineKind::Lsm => "lsm",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no engine of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such engine; there are memory, btree and lsm")]
pub struct UnknownEngine;

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<EngineKind, UnknownEngine> {
        EngineKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownEngine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A renamed kind would shut every folder that was made under the old name.
    #[test]
    fn names_are_fixed_and_read_back() {
        assert_eq!(EngineKind::ALL.map(EngineKind::name), ["memory", "btree", "lsm"]);
        for kind in EngineKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for name in ["", "Memory", "btree ", "rocksdb"] {
            assert_eq!(name.parse::<EngineKind>(), Err(UnknownEngine));
        }
    }
}
