//! Names and numbers: a table made by hand against the compiled descriptors.

use std::collections::BTreeMap;

use drystone_etcd_api::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// Message, then `field=number` in the order of the numbers; `*` marks a repeated field.
const MESSAGES: &[(&str, &str)] = &[
    ("mvccpb.KeyValue", "key=1 create_revision=2 mod_revision=3 version=4 value=5 lease=6"),
    ("mvccpb.Event", "type=1 kv=2 prev_kv=3"),
    ("authpb.UserAddOptions", "no_password=1"),
    ("authpb.User", "name=1 password=2 roles=3* options=4"),
    ("authpb.Permission", "permType=1 key=2 range_end=3"),
    ("authpb.Role", "name=1 keyPermission=2*"),
    ("etcdserverpb.ResponseHeader", "cluster_id=1 member_id=2 revision=3 raft_term=4"),
    (
        "etcdserverpb.RangeRequest",
        "key=1 range_end=2 limit=3 revision=4 sort_order=5 sort_target=6 serializable=7 \
         keys_only=8 count_only=9 min_mod_revision=10 max_mod_revision=11 \
         min_create_revision=12 max_create_revision=13",
    ),
    ("etcdserverpb.RangeResponse", "header=1 kvs=2* more=3 count=4"),
    ("etcdserverpb.RangeStreamResponse", "range_response=1"),
    ("etcdserverpb.PutRequest", "key=1 value=2 lease=3 prev_kv=4 ignore_value=5 ignore_lease=6"),
    ("etcdserverpb.PutResponse", "header=1 prev_kv=2"),
    ("etcdserverpb.DeleteRangeRequest", "key=1 range_end=2 prev_kv=3"),
    ("etcdserverpb.DeleteRangeResponse", "header=1 deleted=2 prev_kvs=3*"),
    (
        "etcdserverpb.RequestOp",
        "request_range=1 request_put=2 request_delete_range=3 request_txn=4",
    ),
    (
        "etcdserverpb.ResponseOp",
        "response_range=1 response_put=2 response_delete_range=3 response_txn=4",
    ),
    (
        "etcdserverpb.Compare",
        "result=1 target=2 key=3 version=4 create_revision=5 mod_revision=6 value=7 lease=8 \
         range_end=64",
    ),
    ("etcdserverpb.TxnRequest", "compare=1* success=2* failure=3*"),
    ("etcdserverpb.TxnResponse", "header=1 succeeded=2 responses=3*"),
    ("etcdserverpb.CompactionRequest", "revision=1 physical=2"),
    ("etcdserverpb.WatchRequest", "create_request=1 cancel_request=2 progress_request=3"),
    (
        "etcdserverpb.WatchCreateRequest",
        "key=1 range_end=2 start_revision=3 progress_notify=4 filters=5* prev_kv=6 watch_id=7 \
         fragment=8",
    ),
    ("etcdserverpb.WatchCancelRequest", "watch_id=1"),
    (
        "etcdserverpb.WatchResponse",
        "header=1 watch_id=2 created=3 canceled=4 compact_revision=5 cancel_reason=6 fragment=7 \
         events=11*",
    ),
    ("etcdserverpb.LeaseGrantRequest", "TTL=1 ID=2"),
    ("etcdserverpb.LeaseGrantResponse", "header=1 ID=2 TTL=3 error=4"),
    ("etcdserverpb.LeaseRevokeRequest", "ID=1"),
    ("etcdserverpb.LeaseKeepAliveRequest", "ID=1"),
    ("etcdserverpb.LeaseKeepAliveResponse", "header=1 ID=2 TTL=3"),
    ("etcdserverpb.LeaseTimeToLiveRequest", "ID=1 keys=2"),
    ("etcdserverpb.LeaseTimeToLiveResponse", "header=1 ID=2 TTL=3 grantedTTL=4 keys=5*"),
    ("etcdserverpb.LeaseStatus", "ID=1"),
    ("etcdserverpb.LeaseLeasesResponse", "header=1 leases=2*"),
    ("etcdserverpb.Member", "ID=1 name=2 peerURLs=3* clientURLs=4* isLearner=5"),
    ("etcdserverpb.MemberAddRequest", "peerURLs=1* isLearner=2"),
    ("etcdserverpb.MemberAddResponse", "header=1 member=2 members=3*"),
    ("etcdserverpb.MemberUpdateRequest", "ID=1 peerURLs=2*"),
    ("etcdserverpb.MemberListRequest", "linearizable=1"),
    ("etcdserverpb.MemberListResponse", "header=1 members=2*"),
    ("etcdserverpb.AlarmRequest", "action=1 memberID=2 alarm=3"),
    ("etcdserverpb.AlarmMember", "memberID=1 alarm=2"),
    ("etcdserverpb.AlarmResponse", "header=1 alarms=2*"),
    (
        "etcdserverpb.StatusResponse",
        "header=1 version=2 dbSize=3 leader=4 raftIndex=5 raftTerm=6 raftAppliedIndex=7 \
         errors=8* dbSizeInUse=9 isLearner=10 storageVersion=11 dbSizeQuota=12 downgradeInfo=13",
    ),
    ("etcdserverpb.DowngradeInfo", "enabled=1 targetVersion=2"),
    ("etcdserverpb.HashResponse", "header=1 hash=2"),
    ("etcdserverpb.HashKVRequest", "revision=1"),
    ("etcdserverpb.HashKVResponse", "header=1 hash=2 compact_revision=3 hash_revision=4"),
    ("etcdserverpb.SnapshotResponse", "header=1 remaining_bytes=2 blob=3 version=4"),
    ("etcdserverpb.MoveLeaderRequest", "targetID=1"),
    ("etcdserverpb.DowngradeRequest", "action=1 version=2"),
    ("etcdserverpb.DowngradeResponse", "header=1 version=2"),
    ("etcdserverpb.AuthStatusResponse", "header=1 enabled=2 authRevision=3"),
    ("etcdserverpb.AuthenticateRequest", "name=1 password=2"),
    ("etcdserverpb.AuthenticateResponse", "header=1 token=2"),
    ("etcdserverpb.AuthUserAddRequest", "name=1 password=2 options=3 hashedPassword=4"),
    ("etcdserverpb.AuthUserGetResponse", "header=1 roles=2*"),
    ("etcdserverpb.AuthUserListResponse", "header=1 users=2*"),
    ("etcdserverpb.AuthUserChangePasswordRequest", "name=1 password=2 hashedPassword=3"),
    ("etcdserverpb.AuthUserGrantRoleRequest", "user=1 role=2"),
    ("etcdserverpb.AuthUserRevokeRoleRequest", "name=1 role=2"),
    ("etcdserverpb.AuthRoleGetRequest", "role=1"),
    ("etcdserverpb.AuthRoleGetResponse", "header=1 perm=2*"),
    ("etcdserverpb.AuthRoleGrantPermissionRequest", "name=1 perm=2"),
    ("etcdserverpb.AuthRoleRevokePermissionRequest", "role=1 key=2 range_end=3"),
    ("v3lockpb.LockRequest", "name=1 lease=2"),
    ("v3lockpb.LockResponse", "header=1 key=2"),
    ("v3lockpb.UnlockRequest", "key=1"),
    ("v3electionpb.CampaignRequest", "name=1 lease=2 value=3"),
    ("v3electionpb.CampaignResponse", "header=1 leader=2"),
    ("v3electionpb.LeaderKey", "name=1 key=2 rev=3 lease=4"),
    ("v3electionpb.LeaderRequest", "name=1"),
    ("v3electionpb.LeaderResponse", "header=1 kv=2"),
    ("v3electionpb.ResignRequest", "leader=1"),
    ("v3electionpb.ProclaimRequest", "leader=1 value=2"),
    ("grpc.health.v1.HealthCheckRequest", "service=1"),
    ("grpc.health.v1.HealthCheckResponse", "status=1"),
];

/// Enum, then its values in the order of the numbers from 0.
const ENUMS: &[(&str, &str)] = &[
    ("mvccpb.Event.EventType", "PUT DELETE"),
    ("authpb.Permission.Type", "READ WRITE READWRITE"),
    ("etcdserverpb.RangeRequest.SortOrder", "NONE ASCEND DESCEND"),
    ("etcdserverpb.RangeRequest.SortTarget", "KEY VERSION CREATE MOD VALUE"),
    ("etcdserverpb.Compare.CompareResult", "EQUAL GREATER LESS NOT_EQUAL"),
    ("etcdserverpb.Compare.CompareTarget", "VERSION CREATE MOD VALUE LEASE"),
    ("etcdserverpb.WatchCreateRequest.FilterType", "NOPUT NODELETE"),
    ("etcdserverpb.AlarmType", "NONE NOSPACE CORRUPT"),
    ("etcdserverpb.AlarmRequest.AlarmAction", "GET ACTIVATE DEACTIVATE"),
    ("etcdserverpb.DowngradeRequest.DowngradeAction", "VALIDATE ENABLE CANCEL"),
    (
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
        "UNKNOWN SERVING NOT_SERVING SERVICE_UNKNOWN",
    ),
];

/// Service, then its calls; `>` marks a stream to the server, `<` one from it.
const SERVICES: &[(&str, &str)] = &[
    ("etcdserverpb.KV", "Range RangeStream< Put DeleteRange Txn Compact"),
    ("etcdserverpb.Watch", "Watch><"),
    ("etcdserverpb.Lease", "LeaseGrant LeaseRevoke LeaseKeepAlive>< LeaseTimeToLive LeaseLeases"),
    ("etcdserverpb.Cluster", "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote"),
    (
        "etcdserverpb.Maintenance",
        "Alarm Status Defragment Hash HashKV Snapshot< MoveLeader Downgrade",
    ),
    (
        "etcdserverpb.Auth",
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete \
         UserChangePassword UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete \
         RoleGrantPermission RoleRevokePermission",
    ),
    ("v3lockpb.Lock", "Lock Unlock"),
    ("v3electionpb.Election", "Campaign Proclaim Leader Observe< Resign"),
    ("grpc.health.v1.Health", "Check Watch<"),
];

/// A wrong number is skipped in silence by the other side, so nothing else would notice one.
#[test]
fn fields_carry_etcds_names_and_numbers() {
    let compiled = compiled();
    for (message, fields) in MESSAGES {
        let got = compiled.messages.get(*message).expect(message);
        assert_eq!(&got.as_str(), fields, "{message}");
    }
}

/// Whoever answers must say which member answered and at which revision: clients read it blindly.
#[test]
fn every_etcd_answer_starts_with_the_header() {
    for (message, fields) in &compiled().messages {
        let wrapped =
            ["ResponseHeader", "ResponseOp", "RangeStreamResponse", "HealthCheckResponse"];
        let name = message.rsplit('.').next().unwrap();
        if name.ends_with("Response") && !wrapped.contains(&name) {
            assert!(fields.starts_with("header=1"), "{message}: {fields}");
        }
    }
}

/// JSON and the command line tools spell enum values by name.
#[test]
fn enums_carry_etcds_names_and_numbers() {
    let compiled = compiled();
    let expected: BTreeMap<_, _> =
        ENUMS.iter().map(|(name, values)| (String::from(*name), String::from(*values))).collect();
    assert_eq!(compiled.enums, expected);
}

/// A call's name is its path; a wrong one is Unimplemented to every client.
#[test]
fn services_offer_exactly_etcds_calls() {
    let compiled = compiled();
    let expected: BTreeMap<_, _> =
        SERVICES.iter().map(|(name, calls)| (String::from(*name), String::from(*calls))).collect();
    assert_eq!(compiled.services, expected);
}

/// The compiled interface, in the spelling of the tables above.
#[derive(Default)]
struct Compiled {
    messages: BTreeMap<String, String>,
    enums: BTreeMap<String, String>,
    services: BTreeMap<String, String>,
}

fn compiled() -> Compiled {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut compiled = Compiled::default();
    for file in &set.file {
        for message in &file.message_type {
            compiled.add_message(file.package(), message);
        }
        for values in &file.enum_type {
            compiled.add_enum(file.package(), values);
        }
        for service in &file.service {
            let calls = service.method.iter().map(|call| {
                let to_server = if call.client_streaming() { ">" } else { "" };
                let from_server = if call.server_streaming() { "<" } else { "" };
                format!("{}{to_server}{from_server}", call.name())
            });
            let name = format!("{}.{}", file.package(), service.name());
            compiled.services.insert(name, calls.collect::<Vec<_>>().join(" "));
        }
    }
    compiled
}

impl Compiled {
    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let mut fields: Vec<_> = message.field.iter().collect();
        fields.sort_by_key(|field| field.number());
        let fields = fields.iter().map(|field| {
            let many = if field.label() == prost_types::field_descriptor_proto::Label::Repeated {
                "*"
            } else {
                ""
            };
            format!("{}={}{many}", field.name(), field.number())
        });
        let name = format!("{scope}.{}", message.name());
        for values in &message.enum_type {
            self.add_enum(&name, values);
        }
        self.messages.insert(name, fields.collect::<Vec<_>>().join(" "));
    }

    fn add_enum(&mut self, scope: &str, values: &EnumDescriptorProto) {
        let names = values.value.iter().enumerate().map(|(place, value)| {
            assert_eq!(value.number(), i32::try_from(place).unwrap(), "numbers run from 0");
            value.name()
        });
        let names = names.collect::<Vec<_>>().join(" ");
        self.enums.insert(format!("{scope}.{}", values.name()), names);
    }
}
