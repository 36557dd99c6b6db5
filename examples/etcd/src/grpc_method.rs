//! Every gRPC method by name, and how often each was called and how it ended.
//!
//! The table is etcd's: one row a service, in the order in which busy servers need them. A call is
//! looked up once, by its path, when it arrives:
//!
//! ```text
//!   /etcdserverpb.KV/Put ──► (Service::Kv, &Method { "Put", unary }) ──► counters [started, code…]
//! ```

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tonic::Code;

use crate::metrics::histogram::{Buckets, CALL, Histogram};

/// A gRPC service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Keys.
    Kv,
    /// Watches.
    Watch,
    /// Leases.
    Lease,
    /// Status, alarms, hashes.
    Maintenance,
    /// Members.
    Cluster,
    /// Users and roles.
    Auth,
    /// gRPC's health check.
    Health,
    /// Locks.
    Lock,
    /// Elections.
    Election,
}

/// Who sends how many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Unary,
    ServerStream,
    BidiStream,
}

/// One method, with its counters.
#[derive(Debug)]
pub(crate) struct Method {
    /// The service's full name.
    pub(crate) service_name: &'static str,
    /// The method's name.
    pub(crate) name: &'static str,
    shape: Shape,
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
    received: AtomicU64,
    sent: AtomicU64,
    times: Histogram,
}

/// Codes as their names are printed, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

const UNARY: Shape = Shape::Unary;
const SERVER: Shape = Shape::ServerStream;
const BIDI: Shape = Shape::BidiStream;

type Row = (Service, &'static str, &'static [(&'static str, Shape)]);

const ROWS: [Row; 9] = [
    (
        Service::Kv,
        "etcdserverpb.KV",
        &[
            ("Put", UNARY),
            ("Range", UNARY),
            ("Txn", UNARY),
            ("DeleteRange", UNARY),
            ("Compact", UNARY),
            ("RangeStream", SERVER),
        ],
    ),
    (Service::Watch, "etcdserverpb.Watch", &[("Watch", BIDI)]),
    (
        Service::Lease,
        "etcdserverpb.Lease",
        &[
            ("LeaseKeepAlive", BIDI),
            ("LeaseGrant", UNARY),
            ("LeaseRevoke", UNARY),
            ("LeaseTimeToLive", UNARY),
            ("LeaseLeases", UNARY),
        ],
    ),
    (
        Service::Maintenance,
        "etcdserverpb.Maintenance",
        &[
            ("Status", UNARY),
            ("Alarm", UNARY),
            ("Defragment", UNARY),
            ("Hash", UNARY),
            ("HashKV", UNARY),
            ("Snapshot", SERVER),
            ("MoveLeader", UNARY),
            ("Downgrade", UNARY),
        ],
    ),
    (
        Service::Cluster,
        "etcdserverpb.Cluster",
        &[
            ("MemberList", UNARY),
            ("MemberAdd", UNARY),
            ("MemberRemove", UNARY),
            ("MemberUpdate", UNARY),
            ("MemberPromote", UNARY),
        ],
    ),
    (
        Service::Auth,
        "etcdserverpb.Auth",
        &[
            ("Authenticate", UNARY),
            ("AuthStatus", UNARY),
            ("AuthEnable", UNARY),
            ("AuthDisable", UNARY),
            ("UserAdd", UNARY),
            ("UserGet", UNARY),
            ("UserList", UNARY),
            ("UserDelete", UNARY),
            ("UserChangePassword", UNARY),
            ("UserGrantRole", UNARY),
            ("UserRevokeRole", UNARY),
            ("RoleAdd", UNARY),
            ("RoleGet", UNARY),
            ("RoleList", UNARY),
            ("RoleDelete", UNARY),
            ("RoleGrantPermission", UNARY),
            ("RoleRevokePermission", UNARY),
        ],
    ),
    (Service::Health, "grpc.health.v1.Health", &[("Check", UNARY), ("Watch", SERVER)]),
    (Service::Lock, "v3lockpb.Lock", &[("Lock", UNARY), ("Unlock", UNARY)]),
    (
        Service::Election,
        "v3electionpb.Election",
        &[
            ("Campaign", UNARY),
            ("Proclaim", UNARY),
            ("Leader", UNARY),
            ("Observe", SERVER),
            ("Resign", UNARY),
        ],
    ),
];

/// All methods, with their counters.
#[derive(Debug)]
pub(crate) struct Methods {
    rows: Vec<(Service, &'static str, Range<usize>)>,
    methods: Vec<Method>,
}

/// A method's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodId(usize);

/// Why a path names no method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown<'a> {
    /// The path is not `/service/method`.
    Path,
    /// There is no such service.
    Service(&'a str),
    /// The service has no such method.
    Method(&'a str, &'a str),
}

impl Methods {
    /// All counters at zero.
    pub(crate) fn new() -> Methods {
        let (mut rows, mut methods) = (Vec::new(), Vec::new());
        for (service, service_name, row) in ROWS {
            let first = methods.len();
            methods.extend(row.iter().map(|&(name, shape)| Method {
                service_name,
                name,
                shape,
                started: AtomicU64::new(0),
                handled: Default::default(),
                received: AtomicU64::new(0),
                sent: AtomicU64::new(0),
                times: Histogram::new(CALL),
            }));
            rows.push((service, service_name, first..methods.len()));
        }
        Methods { rows, methods }
    }

    /// The method that `path` names.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Result<(Service, MethodId), Unknown<'p>> {
        let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let (service_name, name) = names.ok_or(Unknown::Path)?;
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.1 == service_name).ok_or(Unknown::Service(service_name))?;
        let id = row.2.clone().find(|&id| self.methods[id].name == name);
        id.map(|id| (row.0, MethodId(id))).ok_or(Unknown::Method(service_name, name))
    }

    /// The method at a place of the table.
    pub(crate) fn get(&self, id: MethodId) -> &Method {
        &self.methods[id.0]
    }

    /// Every method, in the order of the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter()
    }
}

impl Method {
    /// A call has come in.
    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended.
    pub(crate) fn end(&self, code: Code, took: Duration) {
        self.handled[code as usize].fetch_add(1, Ordering::Relaxed);
        self.times.observe(took);
    }

    /// Messages have come in.
    pub(crate) fn receive(&self, messages: u64) {
        self.received.fetch_add(messages, Ordering::Relaxed);
    }

    /// Messages have gone out.
    pub(crate) fn send(&self, messages: u64) {
        self.sent.fetch_add(messages, Ordering::Relaxed);
    }

    /// How many messages came in.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How many messages went out.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How long calls took.
    pub(crate) fn times(&self) -> Buckets {
        self.times.read()
    }

    /// Whether one message goes each way.
    pub(crate) fn is_unary(&self) -> bool {
        self.shape == Shape::Unary
    }

    /// How many calls came in.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// How many calls ended, by the name of their code; codes that never occurred are left out.
    pub(crate) fn handled(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.handled.iter().map(|count| count.load(Ordering::Relaxed));
        CODES.into_iter().zip(counts).filter(|&(_, count)| count > 0)
    }

    /// The shape, as metrics call it.
    pub(crate) fn shape_name(&self) -> &'static str {
        match self.shape {
            Shape::Unary => "unary",
            Shape::ServerStream => "server_stream",
            Shape::BidiStream => "bidi_stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::FILE_DESCRIPTOR_SET;
    use prost::Message as _;

    use super::*;

    // A method missing here is answered as unknown although it is implemented.
    #[test]
    fn table_holds_every_method_of_the_interface() {
        let methods = Methods::new();
        let bytes: &[u8] = FILE_DESCRIPTOR_SET;
        let files = prost_types::FileDescriptorSet::decode(bytes).unwrap().file;
        let mut count = 0;
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let (_, id) = methods.find(&path).expect(&path);
                    let found = methods.get(id);
                    let streams = method.client_streaming() || method.server_streaming();
                    assert_eq!(found.is_unary(), !streams, "{path}");
                    count += 1;
                }
            }
        }
        assert_eq!(methods.iter().count(), count);
    }

    // grpc-go tells the two apart, and so do probes for optional methods.
    #[test]
    fn unknown_services_and_methods_differ() {
        let methods = Methods::new();
        let find = |path| methods.find(path).map(|_| ());
        assert_eq!(find("/a.B/C"), Err(Unknown::Service("a.B")));
        let nope = Unknown::Method("etcdserverpb.KV", "Nope");
        assert_eq!(find("/etcdserverpb.KV/Nope"), Err(nope));
        assert_eq!(find("*"), Err(Unknown::Path));
    }
}
