//! What a member says while nobody leads, and before that can happen.

use std::time::Duration;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{MemberAddRequest, RangeRequest, WatchCreateRequest};
use tonic::{Code, Request, Status};

use super::fleet::{Fleet, wait};
use crate::support::calls::{in_a_runtime, runtime};
use crate::support::watch::Watch;

/// A stream ends when nobody has led for three election timeouts of a second; generous.
const STREAM_ENDS_MAX: Duration = Duration::from_secs(30);

/// The same request by a client that wants nothing of a member without a leader.
fn wanting<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().expect("it is plain text"));
    request
}

async fn read(client: &Client, request: Request<RangeRequest>) -> Result<(), Status> {
    client.kv().range(request).await.map(drop)
}

/// Trap 28. Kubernetes marks its requests so that it does not wait for a member that is cut off:
/// calls are refused at once, and streams end once nobody has led for three election timeouts. Who
/// does not ask for that is served what this member has.
#[test]
fn calls_that_want_a_leader_end_without_one() {
    let _alone = crate::support::alone();
    let Some(mut fleet) = Fleet::start("calls_that_want_a_leader_end_without_one", 3) else {
        return;
    };
    let here = RangeRequest { key: "k".into(), serializable: true, ..RangeRequest::default() };
    let runtime = runtime();
    let (client, mut waits, mut wants) = runtime.block_on(async {
        let client = fleet.client(0).await;
        read(&client, wanting(here.clone())).await.expect("somebody leads");
        let on_k = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
        let (waits, _) = Watch::open(&client, on_k.clone()).await.expect("it is watched");
        let (wants, _) = Watch::open_by(&client, wanting(()), on_k).await.expect("it is watched");
        (client, waits, wants)
    });
    fleet.kill(1);
    fleet.kill(2);
    let leaderless = wait(|| fleet.status(0).filter(|status| status.leader == 0));
    leaderless.expect("it notices that nobody leads");
    let no_leader = (Code::Unavailable, "etcdserver: no leader");
    runtime.block_on(async {
        let refused = read(&client, wanting(here.clone())).await.expect_err("nobody leads");
        assert_eq!((refused.code(), refused.message()), no_leader);
        read(&client, Request::new(here)).await.expect("what is here may be read");
        let ended = tokio::time::timeout(STREAM_ENDS_MAX, wants.message()).await;
        let ended = ended.expect("the stream ends").expect_err("nothing has happened to k");
        assert_eq!((ended.code(), ended.message()), no_leader);
        let quiet = tokio::time::timeout(Duration::from_millis(500), waits.message()).await;
        assert!(quiet.is_err(), "a stream that did not ask for it stays");
    });
}

/// Trap 30. The refusal of a change that could cost the quorum leaves etcd without a code, by a
/// slip that clients have come to know: they go by its words.
#[test]
fn a_change_that_could_cost_the_quorum_is_refused_without_a_code() {
    let test = "a_change_that_could_cost_the_quorum_is_refused_without_a_code";
    let Some(fleet) = Fleet::start(test, 1) else { return };
    let add = |port: u16| MemberAddRequest {
        peer_ur_ls: vec![format!("http://127.0.0.1:{port}")],
        is_learner: false,
    };
    in_a_runtime(async {
        let client = fleet.client(0).await;
        client.cluster().member_add(add(1)).await.expect("a cluster of one may grow");
        let refused = client.cluster().member_add(add(2)).await.expect_err("one has not started");
        assert_eq!(refused.code(), Code::Unknown);
        let words = "etcdserver: re-configuration failed due to not enough started members";
        assert_eq!(refused.message(), words);
    });
}
