//! The mutants, and what each breaks.

use mason_core::spec::Concurrency;

use crate::mail::Kind::{Bind, Buried, Claim, Done, Lost, Report, Result, Wish};
use crate::mutant::Forgets;
use crate::mutant::Mutant::{self, Drop, DropBoth, Forgetful};
use crate::mutant::Of::Result as Ledger;
use crate::mutant::Of::{Alive, Job, Marks, Node, Office, Run, Task};
use crate::state::Budget;
use crate::world::Config;

/// One task of two attempts, nothing that goes wrong, and a leader in its right mind.
pub(crate) const PLAIN: Config = Config {
    concurrency: Concurrency::Strict,
    tasks: 1,
    attempts: 2,
    budget: Budget { faults: 0, offices: 0, stops: 0, removals: 0 },
    mails: 1,
    sloppy: false,
    eager: false,
    chatty: false,
    failures: false,
    oddities: false,
    offices_count: true,
    mutant: None,
};

/// So many faults.
pub(crate) const fn faults(faults: u8) -> Config {
    Config { budget: Budget { faults, ..PLAIN.budget }, mails: 2, ..PLAIN }
}

/// One leader that loses its office.
const OFFICE: Config = Config { budget: Budget { offices: 1, ..PLAIN.budget }, mails: 2, ..PLAIN };
/// One run that is told to stop.
const STOP: Config = Config { budget: Budget { stops: 1, ..PLAIN.budget }, mails: 2, ..PLAIN };

/// A mutant: what it is, where it is looked for, and what it breaks.
pub(crate) type Row = (&'static str, Config, Mutant, &'static str);

/// What must be found.
pub(crate) const FOUND: &[Row] = &[
    (
        "bind to a node that is not there",
        Config { sloppy: true, ..faults(1) },
        Drop(Bind, Alive),
        "effort",
    ),
    ("bind of a former leader", OFFICE, Drop(Bind, Office), "office"),
    (
        "the same, as a task sees it",
        Config { offices_count: false, ..OFFICE },
        Drop(Bind, Office),
        "promise 2",
    ),
    (
        "bind of a job that is gone",
        Config { budget: Budget { removals: 1, ..PLAIN.budget }, mails: 2, ..PLAIN },
        Drop(Bind, Job),
        "reference",
    ),
    (
        "bind of a task that is bound",
        Config { eager: true, mails: 2, ..PLAIN },
        Drop(Bind, Task),
        "reference",
    ),
    ("claim of a run that is gone", faults(2), Drop(Claim, Run), "reference"),
    ("claim of a run that is over", faults(1), Drop(Claim, Ledger), "promise 1"),
    (
        "report of a run that is gone",
        Config { chatty: true, ..faults(1) },
        Drop(Report, Run),
        "reference",
    ),
    ("result of a run that is gone", faults(2), Drop(Result, Run), "reference"),
    ("result of a run that has one", faults(2), Drop(Result, Ledger), "promise 2"),
    (
        "lost though its node lives",
        Config { sloppy: true, attempts: 4, ..faults(0) },
        Drop(Lost, Alive),
        "promise 3",
    ),
    ("lost though it has ended", faults(2), Drop(Lost, Ledger), "promise 2"),
    ("lost though it is gone", faults(2), DropBoth(Lost, Task, Run), "reference"),
    (
        "lost, by a former leader",
        Config { budget: Budget { offices: 1, ..faults(1).budget }, ..faults(1) },
        Drop(Lost, Office),
        "office",
    ),
    (
        "buried by an oath that was taken back",
        Config { oddities: true, ..faults(2) },
        Drop(Buried, Node),
        "promise 3",
    ),
    ("wish for a run that is gone", STOP, Drop(Wish, Run), "reference"),
    (
        "wish of a former leader",
        Config { budget: Budget { offices: 1, ..STOP.budget }, ..STOP },
        Drop(Wish, Office),
        "office",
    ),
    ("outcome by a former leader", OFFICE, Drop(Done, Office), "office"),
    ("outcome without a result", Config { sloppy: true, ..PLAIN }, Drop(Done, Ledger), "promise 2"),
    (
        "outcome over another's",
        Config { tasks: 2, mails: 2, ..PLAIN },
        Drop(Done, Marks),
        "promise 2",
    ),
    (
        "outcome of two leaders",
        Config { offices_count: false, ..OFFICE },
        Mutant::Lawless(Done),
        "promise 2: a task has a second",
    ),
    (
        "leader takes a bad end for a good one",
        Config { failures: true, ..PLAIN },
        Mutant::Rosy,
        "promise 2: what is noted",
    ),
    (
        "leader binds while a bind is unknown",
        Config { eager: true, mails: 2, ..PLAIN },
        Mutant::None,
        "promise 2",
    ),
    ("agent starts without the gate", faults(1), Mutant::NoGate, "promise 3"),
    ("keeper starts late", faults(1), Mutant::LateStart, "promise 3"),
    ("keeper asks for the newest fence", faults(1), Mutant::NewestFence, "promise 3"),
    ("keeper leaves the fence to its agent", faults(1), Mutant::IdleKeeper, "promise 3"),
    ("container outlives its keeper", faults(2), Mutant::Orphan, "promise 3"),
    (
        "kill misses who is about to start",
        Config { concurrency: Concurrency::Available, ..faults(1) },
        Mutant::MissedKill,
        "promise 4",
    ),
    ("agent does not see its keepers", faults(2), Forgetful(Forgets::Keepers), "promise 3"),
    ("machine lost its disk, store its reports", faults(1), Forgetful(Forgets::All), "promise 1"),
    (
        "agent registers blindly",
        Config { oddities: true, ..faults(2) },
        Mutant::BlindRegister,
        "promise 3",
    ),
    ("leases expire before the fence", faults(1), Mutant::EarlyExpiry, "promise 3"),
];

/// All that is looked at: each must be broken by some mutant.
pub(crate) const PROMISES: &[&str] = &[
    "promise 1: a run was started twice",
    "promise 2: a run has a second result",
    "promise 2: a task has a second outcome",
    "promise 2: a task that has its outcome has another run",
    "promise 2: an outcome is noted without a result",
    "promise 2: the outcome of another task is lost",
    "promise 2: what is noted is not what the result says",
    "promise 3: two strict runs of a task are alive",
    "promise 4: from here no outcome can be reached any more",
    "effort: a task is bound more often than faults can explain",
    "office: a transaction of an earlier leader was done",
    "reference: a report of a run that is gone",
    "reference: a result of a run that is gone",
    "reference: a run of a job that is gone",
    "reference: a run whose task is not bound to it",
];

/// What cannot be found, for something else holds.
pub(crate) const REDUNDANT: &[Row] = &[
    ("claim under a life that is over", faults(1), Drop(Claim, Alive), ""),
    (
        "claim of a run that was told to stop",
        Config { budget: Budget { stops: 1, ..faults(1).budget }, ..faults(1) },
        Mutant::ClaimByMaking,
        "",
    ),
    ("lost, without the task", faults(1), Drop(Lost, Task), ""),
    ("lost, without the run", faults(1), Drop(Lost, Run), ""),
    ("outcome, without the task", faults(1), Drop(Done, Task), ""),
    ("agent lost its journal", faults(1), Forgetful(Forgets::Journal), ""),
    ("machine lost the folders of its runs", faults(1), Forgetful(Forgets::Folders), ""),
    ("machine lost its disk", faults(1), Forgetful(Forgets::Disk), ""),
];
