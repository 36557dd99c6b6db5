//! `RangeStream` of etcd 3.7: merged, its parts are what `Range` answers.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{RangeRequest, RangeResponse};
use prost::Message as _;
use tonic::{Code, Status};

use super::{del, get, span};
use crate::support::calls::{client_of, compact, in_a_runtime, put};
use crate::support::programs;
use crate::support::server::Server;

/// The parts, merged by protobuf's own rule: their bytes, one behind the other.
async fn parts(client: &Client, request: RangeRequest) -> Result<(usize, RangeResponse), Status> {
    let mut stream = client.kv().range_stream(request).await?.into_inner();
    let (mut count, mut merged) = (0, Vec::new());
    while let Some(part) = stream.message().await? {
        let part = part.range_response.expect("every part has one");
        part.encode(&mut merged).expect("memory suffices");
        count += 1;
    }
    Ok((count, RangeResponse::decode(&merged[..]).expect("it is a message")))
}

/// A client that takes either must not be able to tell which it took.
#[test]
fn parts_are_the_range() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        for number in 0..600 {
            put(&client, &format!("k{number:03}"), vec![7; number], 0).await;
        }
        put(&client, "k100", "again", 0).await;
        client.kv().delete_range(del("k200")).await.unwrap();
        let all = span("k", "l");
        let requests = [
            all.clone(),
            get("k100"),
            get("none"),
            RangeRequest { limit: 10, ..all.clone() },
            RangeRequest { limit: 599, ..all.clone() },
            RangeRequest { revision: 50, ..all.clone() },
            RangeRequest { keys_only: true, serializable: true, ..all.clone() },
            RangeRequest { count_only: true, ..all.clone() },
            RangeRequest { min_mod_revision: 100, max_create_revision: 300, ..all.clone() },
            RangeRequest { sort_order: 1, ..all.clone() },
            span("l", "k"),
        ];
        for request in requests {
            let whole = client.kv().range(request.clone()).await.unwrap().into_inner();
            let (_, merged) = parts(&client, request.clone()).await.unwrap();
            assert_eq!(merged, whole, "{request:?}");
        }
        let (count, _) = parts(&client, all).await.unwrap();
        assert!(count > 4, "600 keys came in {count} parts");
    });
}

/// What cannot be answered is refused as `Range` refuses it; another order is refused altogether.
#[test]
fn parts_are_refused_where_the_range_is() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        for _ in 0..4 {
            put(&client, "a", "1", 0).await;
        }
        compact(&client, 4).await;
        let all = span("a", "b");
        let requests = [
            (get(""), Code::InvalidArgument, "etcdserver: key is not provided"),
            (
                RangeRequest { revision: 3, ..all.clone() },
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                RangeRequest { revision: 99, ..all.clone() },
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (
                RangeRequest { sort_order: 2, ..all.clone() },
                Code::InvalidArgument,
                "etcdserver: invalid sort option",
            ),
            (
                RangeRequest { sort_target: 4, ..all },
                Code::InvalidArgument,
                "etcdserver: invalid sort option",
            ),
        ];
        for (request, code, text) in requests {
            let refused = parts(&client, request.clone()).await.unwrap_err();
            assert_eq!((refused.code(), refused.message()), (code, text), "{request:?}");
        }
    });
}
