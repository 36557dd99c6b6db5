//! Kubernetes' API server, which keeps all of its state here.
//!
//! ```text
//!     curl ── HTTPS, JSON ──► kube-apiserver 1.20 ── gRPC: transactions that compare mod
//!                             built from Debian's      revisions, watches of prefixes, pages,
//!                             source                   leases for events ──► the server under test
//! ```
//!
//! An object's `resourceVersion` is its record's mod revision, a list's the store's: conflicts,
//! pages and watches are as good as the revisions below them.
//!
//! There is no package with the program in it. Building it takes two processors some minutes, so
//! the test is one of those for which there has to be time.

mod api;
mod build;

use std::collections::BTreeSet;

use drystone_etcd_api::etcdserverpb as pb;

use self::api::Api;
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs::ours;
use crate::support::server::Server;
use crate::support::{has_time_for, skip};

const OBJECTS: usize = 60;
const PAGE: usize = 7;

fn name(number: usize) -> String {
    format!("stone-{number:03}")
}

/// Names and mod revisions of what the store has of these objects.
fn stored(server: &Server) -> BTreeSet<(String, String)> {
    let prefix = "/registry/configmaps/wall/";
    let request = pb::RangeRequest {
        key: prefix.into(),
        range_end: "/registry/configmaps/wall0".into(),
        ..Default::default()
    };
    let range = in_a_runtime(async { client_of(server).await.kv().range(request).await });
    let kvs = range.expect("the server answers").into_inner().kvs.into_iter();
    kvs.map(|kv| {
        let key = String::from_utf8(kv.key.to_vec()).expect("names are text");
        (key[prefix.len()..].to_owned(), kv.mod_revision.to_string())
    })
    .collect()
}

// What a cluster does all day: create, list in pages, watch, update with a version, delete; and a
// store that dies in the midst of it.
#[test]
fn api_server_finds_in_it_what_it_needs() {
    let test = "kubernetes::api_server_finds_in_it_what_it_needs";
    if !has_time_for(test) {
        return;
    }
    let program = match build::api_server() {
        Ok(program) => program,
        Err(reason) => return skip(test, &reason),
    };
    let mut server = Server::start(&ours(), &[]);
    let api = Api::start(&program, &server.client_url());
    api.create("/api/v1/namespaces", &Api::object("Namespace", "wall"));
    let place = "/api/v1/namespaces/wall/configmaps";
    let watch = api.watch(&format!("{place}?watch=1&resourceVersion={}", api.version_of(place)));
    let names: BTreeSet<String> = (0..OBJECTS).map(name).collect();
    for name in &names {
        api.create(place, &Api::object("ConfigMap", name));
    }
    // Pages are of one revision, whatever is written between them.
    let (paged, pages) = api.names_in_pages(place, PAGE, |page| {
        api.create("/api/v1/namespaces/default/configmaps", &Api::object("ConfigMap", &name(page)));
    });
    assert_eq!((&paged, pages), (&names, OBJECTS.div_ceil(PAGE)));
    let seen = watch.until(|event| event == &("ADDED".to_owned(), name(OBJECTS - 1)));
    let added: Vec<_> = names.iter().map(|name| ("ADDED".to_owned(), name.clone())).collect();
    assert_eq!(seen, added, "each once, in order");
    assert_eq!(api.versions(place), stored(&server), "versions are mod revisions");

    let one = format!("{place}/{}", name(0));
    let old = api.get(&one);
    assert_eq!(api.replace(&one, &old, "first"), 200);
    assert_eq!(api.replace(&one, &old, "second"), 409, "somebody was faster");
    assert_eq!(api.get(&one)["data"]["says"], "first");

    let before = stored(&server);
    server.crash();
    api.wait_until_ready();
    assert_eq!(api.versions(place), before, "what was there is there");
    let watch = api.watch(&format!("{place}?watch=1&resourceVersion={}", api.version_of(place)));
    for name in names.iter().step_by(2) {
        api.delete(&format!("{place}/{name}"));
    }
    let gone: Vec<_> =
        names.iter().step_by(2).map(|name| ("DELETED".into(), name.clone())).collect();
    let last = gone.last().expect("some are gone").clone();
    assert_eq!(watch.until(|event| event == &last), gone);
    let left: BTreeSet<_> = names.iter().skip(1).step_by(2).cloned().collect();
    let stored: BTreeSet<_> = stored(&server).into_iter().map(|(name, _)| name).collect();
    assert_eq!(stored, left);
}
