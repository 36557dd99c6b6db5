//! A message as JSON, and JSON as a message, by protobuf's own rules for it.
//!
//! Out: names as the interface has them, numbers of 64 bits as text, bytes in base64, names for
//! enums, nothing that is zero. In: both spellings of a name, numbers as numbers or as text, both
//! alphabets of base64, names or numbers for enums; what is not known is skipped.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use tonic::Status;

use crate::grpc_head::Head;

/// Reads a message, and frames it for gRPC.
pub(super) fn decode(input: &MessageDescriptor, json: &[u8]) -> Result<Bytes, Status> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(input.clone(), &mut json, &options);
    let message = message.map_err(|error| malformed(&error))?;
    let length = message.encoded_len();
    let claim = u32::try_from(length).expect("a document is far shorter than 4 GiB");
    let mut framed = BytesMut::with_capacity(Head::BYTES + length);
    framed.put_u8(0);
    framed.put_u32(claim);
    message.encode(&mut framed).expect("there is room for all of it");
    Ok(framed.freeze())
}

/// Writes `message` behind what is in `out`.
pub(super) fn encode(
    output: &MessageDescriptor,
    message: Bytes,
    mut out: Vec<u8>,
) -> Result<Vec<u8>, Status> {
    let message = DynamicMessage::decode(output.clone(), message);
    let message = message.map_err(|error| Status::internal(error.to_string()))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut json = serde_json::Serializer::new(&mut out);
    let written = message.serialize_with_options(&mut json, &options);
    written.map_err(|error| Status::internal(error.to_string()))?;
    Ok(out)
}

/// The answer to what is no JSON, or not that of the message.
pub(super) fn malformed(why: &dyn std::fmt::Display) -> Status {
    Status::invalid_argument(format!("drystone-etcd: malformed JSON: {why}"))
}

/// What a message of that name looks like.
#[cfg(test)]
pub(super) fn descriptor(name: &str) -> MessageDescriptor {
    let set = drystone_etcd_api::FILE_DESCRIPTOR_SET;
    let pool = prost_reflect::DescriptorPool::decode(set).unwrap();
    pool.get_message_by_name(&format!("etcdserverpb.{name}")).unwrap()
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::etcdserverpb as pb;

    use super::*;

    fn read<M: prost::Message + Default>(name: &str, json: &str) -> Result<M, Status> {
        let framed = decode(&descriptor(name), json.as_bytes())?;
        assert_eq!(framed[0], 0, "not compressed");
        Ok(M::decode(framed.slice(Head::BYTES..)).unwrap())
    }

    fn write(name: &str, message: &impl prost::Message) -> String {
        let json = encode(&descriptor(name), message.encode_to_vec().into(), Vec::new()).unwrap();
        String::from_utf8(json).unwrap()
    }

    // Clients in every language depend on each of these rules, and few know that they do.
    #[test]
    fn json_is_read_by_the_rules_of_protobuf() {
        let expected = pb::RangeRequest {
            key: "foo".into(),
            range_end: vec![0xfb, 0xff].into(),
            limit: 1 << 53 | 1,
            sort_order: 2,
            keys_only: true,
            ..pb::RangeRequest::default()
        };
        for json in [
            concat!(
                r#"{"key":"Zm9v","range_end":"+/8=","limit":"9007199254740993","#,
                r#""sort_order":"DESCEND","keys_only":true}"#
            ),
            concat!(
                r#"{"key":"Zm9v","rangeEnd":"-_8","limit":9007199254740993,"#,
                r#""sortOrder":2,"keysOnly":true}"#
            ),
            concat!(
                r#" { "nobody":{"knows":[1,{}]}, "key":"Zm9v", "range_end":"+/8","#,
                "\n\t",
                r#""limit":9007199254740993, "sort_order":"DESCEND", "keys_only":true,"#,
                r#""sort_target":"NOBODY_KNOWS", "revision":null } "#
            ),
        ] {
            assert_eq!(read::<pb::RangeRequest>("RangeRequest", json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn json_is_written_by_the_rules_of_protobuf() {
        let header =
            pb::ResponseHeader { cluster_id: u64::MAX, member_id: 1, revision: -1, raft_term: 0 };
        let status = pb::StatusResponse {
            header: Some(header),
            db_size: 20480,
            raft_index: 7,
            errors: vec!["a\"b".into()],
            ..pb::StatusResponse::default()
        };
        let expected = concat!(
            r#"{"header":{"cluster_id":"18446744073709551615","member_id":"1","revision":"-1"},"#,
            r#""dbSize":"20480","raftIndex":"7","errors":["a\"b"]}"#
        );
        assert_eq!(write("StatusResponse", &status), expected);
        let alarm = pb::AlarmMember { member_id: 3, alarm: 1 };
        assert_eq!(write("AlarmMember", &alarm), r#"{"memberID":"3","alarm":"NOSPACE"}"#);
        assert_eq!(write("DefragmentResponse", &pb::DefragmentResponse::default()), "{}");
    }

    // Every one of these came from somebody's script once; none may be taken for something else.
    #[test]
    fn what_does_not_fit_is_refused() {
        for json in [
            "",
            "{",
            "[]",
            "null",
            "7",
            r#"{"key":7}"#,
            r#"{"key":"!!"}"#,
            r#"{"limit":"abc"}"#,
            r#"{"limit":1.5}"#,
            r#"{"limit":9223372036854775808}"#,
            r#"{"limit":1e400}"#,
            r#"{"keys_only":"true"}"#,
            r#"{"key":["Zm9v"]}"#,
            r#"{"key":"Zm9v"#,
            "{\"key\":\"\u{1}\"}",
        ] {
            let refused = read::<pb::RangeRequest>("RangeRequest", json);
            let status = refused.expect_err(json);
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{json}");
        }
        let both = r#"{"create_request":{},"cancel_request":{}}"#;
        assert!(read::<pb::WatchRequest>("WatchRequest", both).is_err(), "one of the two");
    }
}
