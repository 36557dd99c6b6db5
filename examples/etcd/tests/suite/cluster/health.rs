//! What probes are told: whoever restarts or avoids members relies on it.

use super::fleet::{Fleet, wait};

/// A request without a quorum fails sooner than by default.
const QUICK: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];

/// Without a quorum a member is alive and not ready: to restart it would help nobody, and to send
/// it requests neither.
#[test]
fn member_without_quorum_is_alive_and_not_ready() {
    let test = "member_without_quorum_is_alive_and_not_ready";
    let Some(mut fleet) = Fleet::start_with(test, 3, &QUICK) else { return };
    for at in 0..3 {
        let healthy = (200, r#"{"health":"true","reason":""}"#.to_owned());
        assert_eq!(fleet.http(at, "/health"), healthy);
        assert_eq!(fleet.http(at, "/livez").0, 200);
        assert_eq!(fleet.http(at, "/readyz").0, 200);
    }
    let last = fleet.follower();
    for other in (0..3).filter(|other| *other != last) {
        fleet.kill(other);
    }
    let lost = wait(|| fleet.status(last).filter(|status| status.leader == 0));
    assert!(lost.is_some(), "it notices that nobody leads");
    let (status, body) = fleet.http(last, "/health");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""health":"false""#) && body.contains("RAFT NO LEADER"), "{body}");
    let serializable = fleet.http(last, "/health?serializable=true");
    assert_eq!(serializable.0, 200, "{serializable:?}");
    assert_eq!(fleet.http(last, "/livez").0, 200);
    let (status, body) = fleet.http(last, "/readyz?verbose");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("[-]linearizable_read failed"), "{body}");
    assert!(body.contains("[+]serializable_read ok"), "{body}");
    let without = fleet.http(last, "/readyz?exclude=linearizable_read");
    assert_eq!(without.0, 200, "{without:?}");

    fleet.launch((last + 1) % 3);
    fleet.wait_for(last);
    let well = wait(|| (fleet.http(last, "/readyz").0 == 200).then_some(()));
    assert!(well.is_some(), "a quorum makes it ready again");
    assert_eq!(fleet.http(last, "/health").0, 200);
}
