//! What a member must have if no other can send it what it lacks.
//!
//! A member of several starts with whatever its disk still has: the log mends what is damaged in it
//! from the others, and the state comes from the leader. The only voter of a group has nobody to
//! ask. It would start and never lead, or, worse, lead without what it once acknowledged. So its
//! log and its engine are looked at before anything is changed, and it is refused unless they are
//! whole and meet:
//!
//! ```text
//!     engine   ├──────────── applied ┤
//!     log               ┌ base ───────────────┐ last        base ≤ applied ≤ last, no damage
//! ```
//!
//! Who has a vote stands in the log; where that is damaged or gone, in the engine as well, and it
//! counts as alone only if neither knows of others.

use std::path::Path;
use std::sync::Arc;

use drystone_raft::Index;
use drystone_raft::runtime::Node;
use drystone_raft::store::{Options as GroupOptions, Store as GroupStore, Survey};
use drystone_vfs::Vfs;

use crate::error::Error;
use crate::runtime::machine::Machine;
use crate::runtime::options::ReplicaOptions;
use crate::runtime::replica::log_failed;
use crate::store::Store;

/// Refuses a member that has not what it must have. Changes nothing.
pub(crate) fn check<E: crate::engine::Engine>(
    vfs: &Arc<dyn Vfs>,
    log: &Path,
    store: &Store<E>,
    options: &ReplicaOptions,
    log_options: &GroupOptions,
) -> Result<(), Error> {
    let survey = GroupStore::survey(vfs, log, log_options).map_err(log_failed)?;
    let log = log_options.log_dir.as_deref().unwrap_or(log);
    if survey.is_none() && options.returns {
        // Of several, too: it may have voted, and does not know for whom.
        let reason = "the consensus log is missing";
        return Err(Error::Damaged { file: log.to_path_buf(), reason });
    }
    if !is_alone(survey.as_ref(), store, options) {
        return Ok(());
    }
    if let Some(source) = survey.as_ref().and_then(Survey::damage) {
        return Err(Error::Irreparable { source: source.clone() });
    }
    let journal = survey.as_ref().map_or(log, Survey::log).to_path_buf();
    let span = survey.as_ref().map(|survey| survey.span(Node::<Machine>::GROUP));
    let ((base, last), applied) = (span.unwrap_or_default(), Index(store.status().applied));
    if base > applied {
        let (expected, found) = (applied.0 + 1, base.0 + 1);
        return Err(Error::JournalGap { journal, expected, found });
    }
    if applied > last {
        return Err(Error::JournalEndsEarly { journal, last: last.0, applied: applied.0 });
    }
    Ok(())
}

/// Whether nobody but this member has a vote.
fn is_alone<E: crate::engine::Engine>(
    survey: Option<&Survey>,
    store: &Store<E>,
    options: &ReplicaOptions,
) -> bool {
    if options.alone.is_some() {
        return true;
    }
    let members = survey.map(|survey| survey.members(Node::<Machine>::GROUP)).unwrap_or_default();
    let sound = survey.is_some_and(|survey| survey.damage().is_none());
    let named = !members.members().is_empty();
    if sound && named {
        return members.sole_voter() == Some(options.id);
    }
    let cluster = store.cluster();
    let mut voters: Vec<u64> = cluster.voters().map(|member| member.id).collect();
    if voters.is_empty() && !named {
        // Nothing is left to say who there was but what the group was to begin with.
        voters = options.founders.iter().map(|member| member.id).collect();
    }
    let others = voters.iter().any(|voter| *voter != options.id);
    let logged = !named || members.sole_voter() == Some(options.id);
    logged && !others && (named || !voters.is_empty())
}
