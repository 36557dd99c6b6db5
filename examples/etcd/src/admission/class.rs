//! How much it matters that a call is served.

use bytes::Bytes;
use drystone_kv::command::{Command, Put, Txn, TxnOp};

use crate::grpc_method::Service;

/// Operations of a transaction that is small, and bytes of a command that is.
const SMALL_OPS_MAX: usize = 32;
const SMALL_BYTES_MAX: usize = 64 << 10;

/// How much it matters that a call is served, in times when not all can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// What keeps leases alive, and what an operator needs to mend things: never refused for load.
    Vital = 0,
    /// Little work each.
    Small = 1,
    /// The first to be refused.
    Large = 2,
}

impl Class {
    pub(crate) const ALL: [Class; 3] = [Class::Vital, Class::Small, Class::Large];

    /// As the metrics have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Vital => "vital",
            Class::Small => "small",
            Class::Large => "large",
        }
    }

    /// What is known of a call by its name; and whether it is a command, as far as that tells.
    pub(crate) fn of_method(service: Service, name: &str) -> (Class, bool) {
        match (service, name) {
            (Service::Kv, "Put" | "Txn" | "DeleteRange") => (Class::Small, true),
            (Service::Kv, "Range") => (Class::Small, false),
            (Service::Kv, "RangeStream")
            | (Service::Maintenance, "Snapshot" | "Hash" | "HashKV") => (Class::Large, false),
            (Service::Lock | Service::Election, "Unlock" | "Resign") => (Class::Vital, false),
            (Service::Lock | Service::Election, _) => (Class::Small, false),
            // A stream that is open is not refused, and one that is opened anew was open before.
            _ => (Class::Vital, false),
        }
    }

    /// A command of so many bytes.
    pub(crate) fn of_command(command: &Command, bytes: usize) -> Class {
        match command {
            Command::Put(_) | Command::DeleteRange(_) if bytes <= SMALL_BYTES_MAX => Class::Small,
            Command::Txn(txn) if bytes <= SMALL_BYTES_MAX && is_small(txn) => Class::Small,
            Command::Put(_) | Command::DeleteRange(_) | Command::Txn(_) => Class::Large,
            _ => Class::Vital,
        }
    }
}

fn is_small(txn: &Txn) -> bool {
    txn.compares.len() + ops(&txn.success) + ops(&txn.failure) <= SMALL_OPS_MAX
}

fn ops(list: &[TxnOp]) -> usize {
    let each = list.iter().map(|op| match op {
        TxnOp::Txn(nested) => 1 + ops(&nested.success) + ops(&nested.failure),
        _ => 1,
    });
    each.sum()
}

/// About how many bytes a command has, without encoding it.
pub(crate) fn bytes_of(command: &Command) -> usize {
    match command {
        Command::Put(put) => bytes_of_put(put),
        Command::Txn(txn) => bytes_of_ops(&txn.success) + bytes_of_ops(&txn.failure),
        _ => 0,
    }
}

fn bytes_of_put(put: &Put) -> usize {
    put.key.len() + put.value.as_ref().map_or(0, Bytes::len)
}

fn bytes_of_ops(list: &[TxnOp]) -> usize {
    let each = list.iter().map(|op| match op {
        TxnOp::Put(put) => bytes_of_put(put),
        TxnOp::Txn(nested) => bytes_of_ops(&nested.success) + bytes_of_ops(&nested.failure),
        _ => 0,
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use drystone_kv::command::{LeaseGrant, LeaseRevoke};
    use drystone_kv::types::LeaseId;

    use super::*;

    fn of(command: &Command) -> Class {
        Class::of_command(command, bytes_of(command))
    }

    fn txn(puts: usize, bytes: usize) -> Txn {
        let put = || TxnOp::Put(Put::new("k", vec![0; bytes]));
        Txn { success: (0..puts).map(|_| put()).collect(), ..Txn::default() }
    }

    // One that is wrongly large is refused while there is room; one that is wrongly small is not
    // refused while others could be served.
    #[test]
    fn commands_are_large_by_their_bytes_or_their_operations() {
        assert_eq!(of(&Command::Put(Put::new("k", vec![0; 60_000]))), Class::Small);
        assert_eq!(of(&Command::Put(Put::new("k", vec![0; 70_000]))), Class::Large);
        assert_eq!(of(&Command::Txn(txn(32, 10))), Class::Small);
        assert_eq!(of(&Command::Txn(txn(33, 10))), Class::Large);
        assert_eq!(of(&Command::Txn(txn(4, 20_000))), Class::Large);
        let nested = Txn { failure: vec![TxnOp::Txn(txn(32, 10))], ..Txn::default() };
        assert_eq!(of(&Command::Txn(nested)), Class::Large, "the nested one counts itself");
    }

    // A service that loses its lease fails over; an operator who cannot compact cannot help.
    #[test]
    fn what_keeps_leases_and_the_store_going_is_vital() {
        let id = LeaseId(1);
        assert_eq!(of(&Command::LeaseGrant(LeaseGrant { id, ttl: 5 })), Class::Vital);
        assert_eq!(of(&Command::LeaseRevoke(LeaseRevoke { id })), Class::Vital);
        for (service, name) in [
            (Service::Lease, "LeaseKeepAlive"),
            (Service::Kv, "Compact"),
            (Service::Auth, "Authenticate"),
            (Service::Maintenance, "Status"),
            (Service::Maintenance, "Alarm"),
            (Service::Watch, "Watch"),
            (Service::Health, "Check"),
        ] {
            assert_eq!(Class::of_method(service, name), (Class::Vital, false), "{name}");
        }
        assert_eq!(Class::of_method(Service::Kv, "Txn"), (Class::Small, true));
    }
}
