//! Protocols that are a little weaker than ours. Each must be found out; a comparison whose loss
//! cannot be found out is redundant, and the list says why.

use mason_core::keys::{Key, Keys};
use mason_core::txn::{Compare, Txn};

use crate::mail::Kind;

/// One thing that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// Nothing: what is asked of the rest of the row is weaker.
    None,
    /// A transaction without one of its comparisons.
    Drop(Kind, Of),
    /// A transaction without two of them.
    DropBoth(Kind, Of, Of),
    /// A transaction of the first server without any comparison.
    Lawless(Kind),
    /// A leader takes any end for a good one.
    Rosy,
    /// A claim that names the making of the run in the place of its last change.
    ClaimByMaking,
    /// An agent starts under another life than that of its claim.
    NoGate,
    /// A keeper starts its container though the fence of the decision has passed.
    LateStart,
    /// A keeper asks for the newest fence, not for that of the decision.
    NewestFence,
    /// Keepers do not kill at the fence; their agent does.
    IdleKeeper,
    /// A container lives on when its keeper is killed.
    Orphan,
    /// Kills do not reach a container that is about to be started.
    MissedKill,
    /// An agent starts a run again that was claimed and has no keeper any more.
    Forgetful(Forgets),
    /// An agent registers whatever the key of its node says.
    BlindRegister,
    /// Leases expire before the fence.
    EarlyExpiry,
}

/// What an agent that starts does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Forgets {
    /// Its journal.
    Journal,
    /// Keepers.
    Keepers,
    /// After the machine was started: folders of runs.
    Folders,
    /// After that: folders, and the journal.
    Disk,
    /// After that: both, and what the store has as claimed.
    All,
}

/// What a comparison is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    Office,
    Job,
    Task,
    Run,
    Result,
    Marks,
    Alive,
    Node,
}

impl Of {
    fn is(self, key: &Key) -> bool {
        match self {
            Of::Office => matches!(key, Key::Lead(_)),
            Of::Job => matches!(key, Key::Job(_)),
            Of::Task => matches!(key, Key::Task(_)),
            Of::Run => matches!(key, Key::Run(..)),
            Of::Result => matches!(key, Key::Result(_)),
            Of::Marks => matches!(key, Key::Marks(..)),
            Of::Alive => matches!(key, Key::Alive(_)),
            Of::Node => matches!(key, Key::Node(_)),
        }
    }
}

impl Mutant {
    /// Takes out of a transaction what this one leaves out.
    pub(crate) fn weaken(self, kind: Kind, keys: &Keys, txn: &mut Txn) {
        let drop = |txn: &mut Txn, of: Of| {
            let before = txn.when.len();
            txn.when.retain(|it| !of.is(&keys.parse(it.key()).expect("a key of ours")));
            assert!(txn.when.len() < before, "{kind:?} compares {of:?}");
        };
        match self {
            Mutant::Drop(of_kind, of) if of_kind == kind => drop(txn, of),
            Mutant::DropBoth(of_kind, one, two) if of_kind == kind => {
                drop(txn, one);
                drop(txn, two);
            }
            Mutant::Lawless(of_kind) if of_kind == kind => {
                let first = format!("{}0", keys.candidates());
                let is_its = txn.when.iter().any(|it| it.key() == first);
                txn.when.retain(|_| !is_its);
            }
            Mutant::ClaimByMaking if kind == Kind::Claim => {
                for it in &mut txn.when {
                    if let Compare::Changed(key, _) = it {
                        *it = Compare::Made(key.clone(), crate::store::base::RUN + 1);
                    }
                }
            }
            _ => {}
        }
    }
}
