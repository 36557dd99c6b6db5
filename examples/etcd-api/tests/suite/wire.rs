//! Bytes put together by hand, byte by byte after the protobuf encoding rules, against messages.

use std::fmt::Debug;

use bytes::Bytes;
use drystone_etcd_api::{
    etcdserverpb::{
        Compare, LeaseGrantResponse, PutRequest, RangeRequest, RequestOp, ResponseHeader,
        StatusResponse, TxnRequest, WatchResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};
use prost::Message;

/// The bytes mean the message, and the message becomes those bytes.
#[track_caller]
fn check<M: Message + Default + PartialEq + Debug>(wire: &[u8], message: &M) {
    assert_eq!(&M::decode(wire).unwrap(), message);
    assert_eq!(message.encode_to_vec(), wire);
}

/// A list page as kube-apiserver asks for it, plus the rarer fields up to number 13.
#[test]
fn a_range_request_decodes() {
    let wire = b"\x0a\x02/a\x12\x02/b\x18\xf4\x03\x20\x07\x28\x02\x30\x03\x38\x01\x40\x01\x48\x01\
        \x50\x01\x58\x02\x60\x03\x68\x04";
    let message = RangeRequest {
        key: "/a".into(),
        range_end: "/b".into(),
        limit: 500,
        revision: 7,
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Mod.into(),
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 1,
        max_mod_revision: 2,
        min_create_revision: 3,
        max_create_revision: 4,
    };
    check(wire, &message);
}

/// The compare-and-put of every lock and every Kubernetes update; `range_end` needs a two-byte tag.
#[test]
fn a_guarded_put_decodes() {
    // compare: result EQUAL is 0 and thus left out; field 64 is tag 0x82 0x04.
    let wire = b"\x0a\x0c\x10\x02\x1a\x01k\x30\x2a\x82\x04\x02\x00\x01\
        \x12\x08\x12\x06\x0a\x01k\x12\x01v";
    let guard = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: "k".into(),
        range_end: Bytes::from_static(b"\x00\x01"),
        target_union: Some(TargetUnion::ModRevision(42)),
    };
    let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
    check(wire, &TxnRequest { compare: vec![guard], success, failure: vec![] });
}

/// Events sit at number 11, after a gap; negative numbers take ten bytes.
#[test]
fn a_watch_answer_decodes() {
    let wire = b"\x0a\x02\x18\x09\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\
        \x5a\x09\x08\x01\x12\x05\x0a\x01k\x18\x09";
    let kv = KeyValue { key: "k".into(), mod_revision: 9, ..KeyValue::default() };
    let message = WatchResponse {
        header: Some(ResponseHeader { revision: 9, ..ResponseHeader::default() }),
        watch_id: -1,
        events: vec![Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv: None }],
        ..WatchResponse::default()
    };
    check(wire, &message);
}

/// The lease id comes before the TTL in the answer, but after it in the request.
#[test]
fn a_lease_answer_decodes() {
    let wire = b"\x10\x05\x18\x3c";
    check(wire, &LeaseGrantResponse { id: 5, ttl: 60, ..LeaseGrantResponse::default() });
}

/// The fields that came with 3.4 and 3.6 lie behind those every client knows.
#[test]
fn a_status_answer_decodes() {
    let wire = b"\x12\x053.6.1\x18\x01\x20\x02\x28\x03\x30\x04\x38\x05\x42\x01e\x48\x06\x50\x01\
        \x5a\x033.6\x60\x07\x6a\x02\x08\x01";
    let message = StatusResponse {
        version: "3.6.1".into(),
        db_size: 1,
        leader: 2,
        raft_index: 3,
        raft_term: 4,
        raft_applied_index: 5,
        errors: vec!["e".into()],
        db_size_in_use: 6,
        is_learner: true,
        storage_version: "3.6".into(),
        db_size_quota: 7,
        downgrade_info: Some(drystone_etcd_api::etcdserverpb::DowngradeInfo {
            enabled: true,
            target_version: String::new(),
        }),
        ..StatusResponse::default()
    };
    check(wire, &message);
}

/// Copying each value out of a received buffer would cost a megabyte of memory traffic per page.
#[test]
fn decoded_values_share_the_buffer_they_came_in() {
    let kv = KeyValue { value: vec![7; 1000].into(), ..KeyValue::default() };
    let wire = Bytes::from(kv.encode_to_vec());
    let decoded = KeyValue::decode(wire.clone()).unwrap();
    assert!(wire.as_ptr_range().contains(&decoded.value.as_ptr()));
}
