//! Which path is which call.

use std::sync::LazyLock;

use drystone_etcd_api::FILE_DESCRIPTOR_SET;
use http::Uri;
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// A call that has a path.
#[derive(Debug)]
pub(super) struct Route {
    /// Behind `/v3/`.
    path: &'static str,
    /// `/service/method`.
    pub(super) grpc_path: Uri,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    pub(super) client_streams: bool,
    pub(super) server_streams: bool,
}

/// The call at `path`.
pub(super) fn find(path: &str) -> Option<&'static Route> {
    let rest = path.strip_prefix("/v3/").or_else(|| path.strip_prefix("/v3beta/"))?;
    ROUTES.iter().find(|route| route.path == rest)
}

/// Every path with its call, a service a block. etcd wrote these down beside its calls; they follow
/// no rule.
const PATHS: [(&str, &str); 51] = [
    ("kv/range", "etcdserverpb.KV/Range"),
    ("kv/put", "etcdserverpb.KV/Put"),
    ("kv/deleterange", "etcdserverpb.KV/DeleteRange"),
    ("kv/txn", "etcdserverpb.KV/Txn"),
    ("kv/compaction", "etcdserverpb.KV/Compact"),
    ("watch", "etcdserverpb.Watch/Watch"),
    ("lease/grant", "etcdserverpb.Lease/LeaseGrant"),
    ("lease/revoke", "etcdserverpb.Lease/LeaseRevoke"),
    ("kv/lease/revoke", "etcdserverpb.Lease/LeaseRevoke"),
    ("lease/keepalive", "etcdserverpb.Lease/LeaseKeepAlive"),
    ("lease/timetolive", "etcdserverpb.Lease/LeaseTimeToLive"),
    ("kv/lease/timetolive", "etcdserverpb.Lease/LeaseTimeToLive"),
    ("lease/leases", "etcdserverpb.Lease/LeaseLeases"),
    ("kv/lease/leases", "etcdserverpb.Lease/LeaseLeases"),
    ("cluster/member/add", "etcdserverpb.Cluster/MemberAdd"),
    ("cluster/member/remove", "etcdserverpb.Cluster/MemberRemove"),
    ("cluster/member/update", "etcdserverpb.Cluster/MemberUpdate"),
    ("cluster/member/list", "etcdserverpb.Cluster/MemberList"),
    ("cluster/member/promote", "etcdserverpb.Cluster/MemberPromote"),
    ("maintenance/alarm", "etcdserverpb.Maintenance/Alarm"),
    ("maintenance/status", "etcdserverpb.Maintenance/Status"),
    ("maintenance/defragment", "etcdserverpb.Maintenance/Defragment"),
    ("maintenance/hash", "etcdserverpb.Maintenance/Hash"),
    ("maintenance/hashkv", "etcdserverpb.Maintenance/HashKV"),
    ("maintenance/snapshot", "etcdserverpb.Maintenance/Snapshot"),
    ("maintenance/transfer-leadership", "etcdserverpb.Maintenance/MoveLeader"),
    ("maintenance/downgrade", "etcdserverpb.Maintenance/Downgrade"),
    ("auth/enable", "etcdserverpb.Auth/AuthEnable"),
    ("auth/disable", "etcdserverpb.Auth/AuthDisable"),
    ("auth/status", "etcdserverpb.Auth/AuthStatus"),
    ("auth/authenticate", "etcdserverpb.Auth/Authenticate"),
    ("auth/user/add", "etcdserverpb.Auth/UserAdd"),
    ("auth/user/get", "etcdserverpb.Auth/UserGet"),
    ("auth/user/list", "etcdserverpb.Auth/UserList"),
    ("auth/user/delete", "etcdserverpb.Auth/UserDelete"),
    ("auth/user/changepw", "etcdserverpb.Auth/UserChangePassword"),
    ("auth/user/grant", "etcdserverpb.Auth/UserGrantRole"),
    ("auth/user/revoke", "etcdserverpb.Auth/UserRevokeRole"),
    ("auth/role/add", "etcdserverpb.Auth/RoleAdd"),
    ("auth/role/get", "etcdserverpb.Auth/RoleGet"),
    ("auth/role/list", "etcdserverpb.Auth/RoleList"),
    ("auth/role/delete", "etcdserverpb.Auth/RoleDelete"),
    ("auth/role/grant", "etcdserverpb.Auth/RoleGrantPermission"),
    ("auth/role/revoke", "etcdserverpb.Auth/RoleRevokePermission"),
    ("lock/lock", "v3lockpb.Lock/Lock"),
    ("lock/unlock", "v3lockpb.Lock/Unlock"),
    ("election/campaign", "v3electionpb.Election/Campaign"),
    ("election/proclaim", "v3electionpb.Election/Proclaim"),
    ("election/leader", "v3electionpb.Election/Leader"),
    ("election/observe", "v3electionpb.Election/Observe"),
    ("election/resign", "v3electionpb.Election/Resign"),
];

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the compiler wrote it");
    PATHS.iter().map(|(path, name)| route(&pool, path, name)).collect()
});

fn route(pool: &DescriptorPool, path: &'static str, name: &str) -> Route {
    let (service_name, method_name) = name.split_once('/').expect("names have two parts");
    let service = pool.get_service_by_name(service_name).expect("the interface has it");
    let method = service.methods().find(|method| method.name() == method_name);
    let method = method.expect("the service has it");
    Route {
        path,
        grpc_path: format!("/{name}").parse().expect("names are letters and dots"),
        input: method.input(),
        output: method.output(),
        client_streams: method.is_client_streaming(),
        server_streams: method.is_server_streaming(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A name in the table that the interface lacks would stop the first request.
    #[test]
    fn every_path_is_a_call_of_the_interface() {
        for (path, name) in PATHS {
            let route = find(&format!("/v3/{path}")).expect(path);
            assert_eq!(route.grpc_path.path(), format!("/{name}"));
            assert_eq!(find(&format!("/v3beta/{path}")).map(|route| route.path), Some(path));
        }
    }

    // A call that nobody gave a path is not reachable, and nobody would notice.
    #[test]
    fn every_call_but_three_has_a_path() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let without: Vec<String> = methods
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .filter(|path| !ROUTES.iter().any(|route| route.grpc_path.path() == path))
            .collect();
        let expected = [
            "/etcdserverpb.KV/RangeStream",
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
        ];
        assert_eq!(without, expected);
    }

    #[test]
    fn other_paths_are_no_calls() {
        for path in
            ["/v3/", "/v3/kv", "/v3/kv/range/", "/v3/KV/range", "/v4/kv/range", "/v3alpha/kv/range"]
        {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
