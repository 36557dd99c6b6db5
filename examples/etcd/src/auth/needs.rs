//! What each method wants its caller to be, while authentication is on: etcd 3.6's rules.
//!
//! A method that is not in this table is refused, so one that is new is shut until somebody has
//! thought about it.

/// What a method wants its caller to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Anybody may call it.
    Nothing,
    /// Whether somebody may, the method finds out for every message: it says no in its own way.
    Inside,
    /// Some user; what it asks for may need more, such as permissions for keys.
    User,
    /// One with the role root.
    Root,
}

type Row = (&'static str, &'static [(&'static str, Need)]);

use Need::{Inside, Nothing, Root, User};

const TABLE: [Row; 9] = [
    (
        "etcdserverpb.KV",
        &[
            ("Put", User),
            ("Range", User),
            ("Txn", User),
            ("DeleteRange", User),
            ("Compact", Root),
            ("RangeStream", User),
        ],
    ),
    ("etcdserverpb.Watch", &[("Watch", Inside)]),
    (
        "etcdserverpb.Lease",
        &[
            ("LeaseKeepAlive", Inside),
            ("LeaseGrant", User),
            ("LeaseRevoke", User),
            ("LeaseTimeToLive", User),
            ("LeaseLeases", User),
        ],
    ),
    (
        "etcdserverpb.Maintenance",
        &[
            ("Status", User),
            // To list them. To raise or clear one is root's.
            ("Alarm", User),
            ("Defragment", Root),
            ("Hash", Root),
            ("HashKV", Root),
            ("Snapshot", Root),
            ("MoveLeader", Root),
            ("Downgrade", Root),
        ],
    ),
    (
        "etcdserverpb.Cluster",
        &[
            ("MemberList", User),
            ("MemberAdd", Root),
            ("MemberRemove", Root),
            ("MemberUpdate", Root),
            ("MemberPromote", Root),
        ],
    ),
    (
        "etcdserverpb.Auth",
        &[
            ("Authenticate", Nothing),
            ("AuthStatus", User),
            ("AuthEnable", Root),
            ("AuthDisable", Root),
            ("UserAdd", Root),
            // Everybody may look at himself, and at the roles he has.
            ("UserGet", User),
            ("UserList", Root),
            ("UserDelete", Root),
            ("UserChangePassword", Root),
            ("UserGrantRole", Root),
            ("UserRevokeRole", Root),
            ("RoleAdd", Root),
            ("RoleGet", User),
            ("RoleList", Root),
            ("RoleDelete", Root),
            ("RoleGrantPermission", Root),
            ("RoleRevokePermission", Root),
        ],
    ),
    ("grpc.health.v1.Health", &[("Check", Nothing), ("Watch", Nothing)]),
    // What they do, they do with the keys of their caller.
    ("v3lockpb.Lock", &[("Lock", User), ("Unlock", User)]),
    (
        "v3electionpb.Election",
        &[
            ("Campaign", User),
            ("Proclaim", User),
            ("Leader", User),
            ("Observe", User),
            ("Resign", User),
        ],
    ),
];

/// What the method wants; `None` if nobody has thought about it.
pub(crate) fn of(service_name: &str, method: &str) -> Option<Need> {
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service_name)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::FILE_DESCRIPTOR_SET;
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::grpc_method::Methods;

    /// Every call of the interface, as its descriptors have it.
    fn interface() -> Vec<(String, String)> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the compiler wrote it");
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let name = |method: prost_reflect::MethodDescriptor| {
            (method.parent_service().full_name().to_owned(), method.name().to_owned())
        };
        methods.map(name).collect()
    }

    // The table is written by hand, what it is about is not. A row for no call is a slip of the
    // pen, and the call that it was meant for is shut.
    #[test]
    fn table_and_interface_have_the_same_calls() {
        let interface = interface();
        assert!(interface.len() > 50, "{interface:?}");
        for (service, method) in &interface {
            assert!(of(service, method).is_some(), "{service}/{method}");
        }
        let rows =
            TABLE.iter().flat_map(|(service, rows)| rows.iter().map(move |row| (service, row)));
        for (service, (method, _)) in rows {
            let found = interface.iter().any(|call| call.0 == *service && call.1 == *method);
            assert!(found, "{service}/{method}");
        }
    }

    // A method that is served and forgotten here is shut to everybody, root included.
    #[test]
    fn every_method_has_its_need() {
        let methods = Methods::new();
        for method in methods.iter() {
            let need = of(method.service_name, method.name);
            assert!(need.is_some(), "{}/{}", method.service_name, method.name);
        }
        assert_eq!(of("etcdserverpb.KV", "Nope"), None);
        assert_eq!(of("nope", "Put"), None);
    }
}
