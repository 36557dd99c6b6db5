//! What whoever watches over members is told, byte by byte as a late etcd tells it.
//!
//! Three members each of etcd 3.5 as Debian 13 has it and of ours are asked for all pages of probes
//! in all ways: when all is well, when the quota is used up, and when two of three are gone.

use std::path::Path;

use super::fleet::{Fleet, exchange, wait};
use crate::support::{debian, programs};

/// A request without a quorum fails sooner than by default, and the quota is soon used up.
const FLAGS: [&str; 3] =
    ["--heartbeat-interval=50", "--election-timeout=500", "--quota-backend-bytes=4000000"];

const PAGES: [&str; 27] = [
    "/health",
    "/health?exclude=",
    "/health?exclude=NOSPACE",
    "/health?exclude=CORRUPT",
    "/health?serializable=true",
    "/health?serializable=false",
    "/health/",
    "/livez",
    "/livez/",
    "/livez?verbose",
    "/livez?exclude=serializable_read",
    "/livez?allowlist=serializable_read",
    "/livez/serializable_read",
    "/livez/nothing",
    "/readyz/",
    "/readyz?verbose",
    "/readyz?verbose=false",
    "/readyz?verbose&exclude=serializable_read",
    "/readyz?exclude=linearizable_read&exclude=data_corruption&verbose",
    "/readyz?exclude=nothing",
    "/readyz/serializable_read",
    "/readyz/serializable_read?verbose",
    "/readyz/linearizable_read",
    "/readyz/linearizable_read?exclude=linearizable_read",
    "/readyz/data_corruption",
    "/readyz/nothing",
    "/version/",
];
/// How some of them are asked as well.
const METHODS: [&str; 4] = ["POST", "HEAD", "PUT", "DELETE"];

/// A check that etcd has had since a later 3.5.
const NEWER: &str = "[+]non_learner ok";

/// The answer to a request: status, headers that say how to take it, and body. etcd asks its checks
/// in no order.
fn ask(address: &str, method: &str, page: &str) -> String {
    let (head, body) = exchange(address, method, page);
    let status = head.split(' ').nth(1).expect("an answer has a status");
    let heads = head.lines().map(str::to_ascii_lowercase);
    let matters = ["content-type:", "allow:", "x-content-type-options:"];
    let mut heads: Vec<String> =
        heads.filter(|line| matters.iter().any(|name| line.starts_with(name))).collect();
    heads.sort_unstable();
    let mut lines: Vec<&str> = body.split('\n').filter(|line| *line != NEWER).collect();
    lines.sort_unstable_by_key(|line| if line.starts_with('[') { *line } else { "~" });
    format!("{method} {page}: {status} {heads:?} {:?}", lines.join("\n"))
}

/// All pages at once: some wait until a read is given up.
fn ask_all(fleet: &Fleet, number: usize) -> Vec<String> {
    let url = fleet.url(number);
    let address = url.strip_prefix("http://").expect("it is one");
    let methods = ["/health", "/livez", "/readyz", "/readyz/data_corruption", "/version"];
    let mut asked: Vec<(&str, &str)> = PAGES.iter().map(|page| ("GET", *page)).collect();
    asked.extend(methods.iter().flat_map(|page| METHODS.map(|method| (method, *page))));
    std::thread::scope(|scope| {
        let asking =
            asked.iter().map(|(method, page)| scope.spawn(move || ask(address, method, page)));
        let asking: Vec<_> = asking.collect();
        asking.into_iter().map(|asked| asked.join().expect("it is answered")).collect()
    })
}

/// What a cluster of that program tells in three conditions.
fn told(test: &str, program: &Path) -> Option<[Vec<String>; 3]> {
    let mut fleet = Fleet::start_as(test, program, 3, &FLAGS)?;
    for number in 0..3 {
        let ready = wait(|| (fleet.http(number, "/readyz").0 == 200).then_some(()));
        assert!(ready.is_some(), "m{number} becomes ready\n{}", fleet.log(number));
    }
    let last = fleet.follower();
    let well = ask_all(&fleet, last);
    let value = "v".repeat(100_000);
    let full = wait(|| (!fleet.ctl(&[last], &["put", "k", &value]).worked).then_some(()));
    assert!(full.is_some(), "the quota ends");
    let is_told = || (fleet.http(last, "/health").0 == 503).then_some(());
    assert!(wait(is_told).is_some(), "and everybody hears of it");
    let full = ask_all(&fleet, last);
    for other in (0..3).filter(|other| *other != last) {
        fleet.kill(other);
    }
    let lost = wait(|| fleet.status(last).filter(|status| status.leader == 0));
    assert!(lost.is_some(), "it notices that nobody leads");
    Some([well, full, ask_all(&fleet, last)])
}

#[test]
fn probes_are_told_what_a_late_etcd_tells() {
    let test = "cluster::probes::probes_are_told_what_a_late_etcd_tells";
    let Some(etcd) = debian::late_etcd_or_skip(test) else { return };
    let Some(theirs) = told(test, &etcd) else { return };
    let Some(ours) = told(test, &programs::ours()) else { return };
    for (condition, (ours, theirs)) in
        ["well", "full", "alone"].iter().zip(ours.iter().zip(&theirs))
    {
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours, theirs, "{condition}");
        }
    }
}
