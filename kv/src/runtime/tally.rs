//! How many commands of each kind a batch had.

use crate::command::{Command, Put, Txn, TxnOp};
use crate::error::Error;
use crate::reply::{Reply, TxnOpReply, TxnReply};

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// Sets one key.
    Put,
    /// Deletes keys.
    DeleteRange,
    /// Compares, and does one of two lists of operations.
    Txn,
    /// Forgets old revisions.
    Compact,
    /// Creates a lease.
    LeaseGrant,
    /// Ends a lease.
    LeaseRevoke,
    /// Raises or clears an alarm.
    Alarm,
    /// What a member says of itself.
    MemberPublish,
    /// Forms the cluster, or changes who is in it.
    Members,
    /// Changes users and roles.
    Auth,
}

impl CommandKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [CommandKind; 10] = [
        CommandKind::Put,
        CommandKind::DeleteRange,
        CommandKind::Txn,
        CommandKind::Compact,
        CommandKind::LeaseGrant,
        CommandKind::LeaseRevoke,
        CommandKind::Alarm,
        CommandKind::MemberPublish,
        CommandKind::Members,
        CommandKind::Auth,
    ];

    fn of(command: &Command) -> CommandKind {
        match command {
            Command::Put(_) => CommandKind::Put,
            Command::DeleteRange(_) => CommandKind::DeleteRange,
            Command::Txn(_) => CommandKind::Txn,
            Command::Compact(_) => CommandKind::Compact,
            Command::LeaseGrant(_) => CommandKind::LeaseGrant,
            Command::LeaseRevoke(_) => CommandKind::LeaseRevoke,
            Command::Alarm(_) => CommandKind::Alarm,
            Command::Auth(_) => CommandKind::Auth,
            Command::MemberPublish { .. } => CommandKind::MemberPublish,
            _ => CommandKind::Members,
        }
    }
}

/// A value that is kept as it was does not count.
fn put_bytes(put: &Put) -> u64 {
    (put.key.len() + put.value.as_ref().map_or(0, bytes::Bytes::len)) as u64
}

fn txn_put_bytes(txn: &Txn, reply: &TxnReply) -> u64 {
    let ops = if reply.succeeded { &txn.success } else { &txn.failure };
    let each = ops.iter().zip(&reply.replies).map(|pair| match pair {
        (TxnOp::Put(put), _) => put_bytes(put),
        (TxnOp::Txn(nested), TxnOpReply::Txn(reply)) => txn_put_bytes(nested, reply),
        _ => 0,
    });
    each.sum()
}

/// How many commands of each kind a batch had, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By kind: refused, done.
    counts: [[u32; 2]; CommandKind::ALL.len()],
    /// Keys and values of all puts that were done, in transactions too, bytes.
    pub put_bytes: u64,
}

impl Tally {
    /// Counts one more.
    pub(crate) fn note(&mut self, command: &Command, outcome: &Result<Reply, Error>) {
        self.counts[CommandKind::of(command) as usize][usize::from(outcome.is_ok())] += 1;
        self.put_bytes += match (command, outcome) {
            (Command::Put(put), Ok(_)) => put_bytes(put),
            (Command::Txn(txn), Ok(Reply::Txn(reply))) => txn_put_bytes(txn, reply),
            _ => 0,
        };
    }

    /// All commands.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.counts.iter().flatten().sum()
    }

    /// Whether there was one of this kind.
    #[must_use]
    pub fn has(&self, kind: CommandKind) -> bool {
        self.counts[kind as usize] != [0, 0]
    }

    /// The kinds that there were: whether they were done, else refused, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (CommandKind, bool, u32)> {
        let kinds = CommandKind::ALL.into_iter().zip(&self.counts);
        let both =
            kinds.flat_map(|(kind, &[refused, done])| [(kind, false, refused), (kind, true, done)]);
        both.filter(|(.., count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A batch is told by what came of it: what was refused has put nothing.
    #[test]
    fn tally_counts_what_was_done_by_kind() {
        let put = || Put::new("key", "value");
        let nested = Txn { failure: vec![TxnOp::Put(put())], ..Txn::default() };
        let success = vec![TxnOp::Put(put()), TxnOp::Txn(nested)];
        let failure = vec![TxnOp::Put(Put::new("another", "one"))];
        let txn = Command::Txn(Txn { success, failure, ..Txn::default() });
        let done = |prev| crate::reply::PutReply { revision: 2, prev };
        let inner =
            TxnReply { revision: 2, succeeded: false, replies: vec![TxnOpReply::Put(done(None))] };
        let replies = vec![TxnOpReply::Put(done(None)), TxnOpReply::Txn(inner)];
        let reply = TxnReply { revision: 2, succeeded: true, replies };
        let mut tally = Tally::default();
        tally.note(&Command::Put(put()), &Ok(Reply::Put(done(None))));
        tally.note(&Command::Put(put()), &Err(Error::Stopped));
        tally.note(&txn, &Ok(Reply::Txn(reply)));
        let seen: Vec<_> = tally.iter().collect();
        let expected = [
            (CommandKind::Put, false, 1),
            (CommandKind::Put, true, 1),
            (CommandKind::Txn, true, 1),
        ];
        assert_eq!(seen, expected);
        assert_eq!((tally.total(), tally.put_bytes), (3, 3 * 8));
    }
}
