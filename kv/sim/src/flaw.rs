//! Bugs that can be planted in the driver, to see that each is found.

/// A bug to be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flaw {
    /// After a restart a command is applied once more, in the place of an entry without one.
    ApplyTwice,
    /// Now and then a member that nobody waits at leaves a command out.
    DropCommand,
    /// A leader answers a command before it is committed.
    EarlyAnswer,
    /// A linearizable read is answered from what the member happens to have.
    LocalRead,
    /// The engine is said to be saved and is not.
    SaveLies,
    /// The engine is saved, or replaced, before the log is durable up to there.
    SaveOutrunsLog,
    /// What could not be synced counts as durable.
    DeafToDisk,
    /// The log is shortened up to what is applied, not up to what is saved.
    ShortenTooFar,
    /// A message of a watch comes twice.
    WatchTwice,
    /// A message of a watch does not come.
    WatchGap,
    /// A new leader gives leases a part of their time.
    EarlyExpiry,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Flaw; 11] = [
        Flaw::ApplyTwice,
        Flaw::DropCommand,
        Flaw::EarlyAnswer,
        Flaw::LocalRead,
        Flaw::SaveLies,
        Flaw::SaveOutrunsLog,
        Flaw::DeafToDisk,
        Flaw::ShortenTooFar,
        Flaw::WatchTwice,
        Flaw::WatchGap,
        Flaw::EarlyExpiry,
    ];
}
