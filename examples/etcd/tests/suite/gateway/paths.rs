//! Every path that etcd serves, with a body that gets a known answer.

use super::http::{Answer, post, request};
use super::ours;

/// Path, body, status, and what the body of the answer holds. The order matters: a lease is granted
/// before it is looked at.
const PATHS: [(&str, &str, u16, &str); 49] = [
    ("kv/put", r#"{"key":"YQ==","value":"MQ=="}"#, 200, r#""revision":"2""#),
    ("kv/range", r#"{"key":"YQ=="}"#, 200, r#""count":"1""#),
    ("kv/deleterange", r#"{"key":"YQ=="}"#, 200, r#""deleted":"1""#),
    ("kv/txn", "{}", 200, r#""succeeded":true"#),
    ("kv/compaction", r#"{"revision":2}"#, 200, "header"),
    ("lease/grant", r#"{"ID":5,"TTL":50}"#, 200, r#""ID":"5","TTL":"50""#),
    ("lease/keepalive", r#"{"ID":5}"#, 200, r#"{"result":{"header":{"#),
    ("lease/timetolive", r#"{"ID":5}"#, 200, r#""grantedTTL":"50""#),
    ("kv/lease/timetolive", r#"{"ID":5}"#, 200, r#""grantedTTL":"50""#),
    ("lease/leases", "{}", 200, r#""leases":[{"ID":"5"}]"#),
    ("kv/lease/leases", "{}", 200, r#""leases":[{"ID":"5"}]"#),
    ("lease/revoke", r#"{"ID":5}"#, 200, "header"),
    ("kv/lease/revoke", r#"{"ID":5}"#, 404, "requested lease not found"),
    ("cluster/member/list", "{}", 200, r#""name":"solo""#),
    ("cluster/member/add", r#"{"peerURLs":["#, 400, "malformed JSON"),
    ("cluster/member/remove", r#"{"ID":5}"#, 404, "member not found"),
    ("cluster/member/update", r#"{"ID":5,"peerURLs":["http://a:1"]}"#, 404, "member not found"),
    ("cluster/member/promote", r#"{"ID":5}"#, 404, "member not found"),
    ("maintenance/alarm", "{}", 200, "header"),
    ("maintenance/status", "{}", 200, r#""version":"3.6."#),
    ("maintenance/defragment", "{}", 200, "{}"),
    ("maintenance/hash", "{}", 200, r#""hash":"#),
    ("maintenance/hashkv", "{}", 200, r#""hash_revision":"3""#),
    ("maintenance/snapshot", "{}", 200, r#"{"result":{"#),
    ("maintenance/transfer-leadership", r#"{"targetID":5}"#, 400, "bad leader transferee"),
    ("maintenance/downgrade", r#"{"version":"3.5"}"#, 200, r#""version":"3.6""#),
    ("auth/status", "{}", 200, r#""authRevision":"1""#),
    ("auth/disable", "{}", 200, "header"),
    ("auth/enable", "{}", 400, "root user does not exist"),
    ("auth/authenticate", "{}", 400, "authentication is not enabled"),
    ("auth/user/list", "{}", 200, "header"),
    ("auth/role/list", "{}", 200, "header"),
    ("auth/user/get", r#"{"name":"u"}"#, 400, "user name not found"),
    ("auth/role/get", r#"{"role":"r"}"#, 400, "role name not found"),
    ("auth/user/add", "[", 400, "malformed JSON"),
    ("auth/user/delete", "[", 400, "malformed JSON"),
    ("auth/user/changepw", "[", 400, "malformed JSON"),
    ("auth/user/grant", "[", 400, "malformed JSON"),
    ("auth/user/revoke", "[", 400, "malformed JSON"),
    ("auth/role/add", "[", 400, "malformed JSON"),
    ("auth/role/delete", "[", 400, "malformed JSON"),
    ("auth/role/grant", "[", 400, "malformed JSON"),
    ("auth/role/revoke", "[", 400, "malformed JSON"),
    ("lock/lock", r#"{"name":"bA=="}"#, 200, r#""key":"bC8"#),
    ("lock/unlock", r#"{"key":"bC8x"}"#, 200, "header"),
    ("election/campaign", r#"{"name":"ZQ==","value":"dg=="}"#, 200, r#""leader":{"name":"ZQ==""#),
    ("election/leader", r#"{"name":"ZQ=="}"#, 200, r#""value":"dg==""#),
    ("election/proclaim", "{}", 500, r#"\"leader\" field must be provided"#),
    ("election/resign", "{}", 500, r#"\"leader\" field must be provided"#),
];

/// A path that is missing looks to its users as if the server were not etcd at all. The two that do
/// not end, `watch` and `election/observe`, are asked among the streams.
#[test]
fn every_path_is_served() {
    let server = ours();
    for (path, body, status, part) in PATHS {
        let answer = post(&server, &format!("/v3/{path}"), body);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.body.contains(part), "{path} without {part}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
}

/// The path before 3.4, which old clients still use.
#[test]
fn beta_paths_are_the_same() {
    let server = ours();
    let theirs =
        |path: &str| Answer { headers: Vec::new(), ..post(&server, path, r#"{"key":"YQ=="}"#) };
    assert_eq!(theirs("/v3beta/kv/range"), theirs("/v3/kv/range"));
    assert_eq!(theirs("/v3alpha/kv/range").status, 404);
}

/// Clients that try methods and paths until one works go by these numbers.
#[test]
fn what_is_not_there_is_told_apart() {
    let server = ours();
    for path in ["/v3/", "/v3/kv", "/v3/kv/range/", "/v3/kv/nope", "/v3/kv/rangestream"] {
        let answer = post(&server, path, "{}");
        assert_eq!((answer.status, &*answer.body), (404, r#"{"code":5,"message":"Not Found"}"#));
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answer = request(&server, method, "/v3/kv/range", "", b"");
        let body = r#"{"code":12,"message":"Method Not Allowed"}"#;
        assert_eq!((answer.status, &*answer.body), (501, body), "{method}");
    }
    // The other routes are where they were.
    assert_eq!(request(&server, "GET", "/version", "", b"").status, 200);
    assert_eq!(post(&server, "/v4/kv/range", "{}").body, "404 page not found\n");
}
