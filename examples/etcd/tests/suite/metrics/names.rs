//! Names, kinds, labels: ours against the table, and real etcd against ours.

use std::path::Path;

use drystone_etcd_api::client::{Config, connect};
use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest};

use super::page::{Family, Page};
use super::table::{ABSENT, PRESENT};
use crate::support::calls::in_a_runtime;
use crate::support::programs;
use crate::support::server::Server;

/// The page of a server that has done something of every kind that the table needs.
fn page_of(program: &Path) -> Page {
    let server = Server::start(program, &["--metrics=extensive"]);
    in_a_runtime(async {
        let client = connect(&server.client_url(), &Config::default()).await.expect("it answers");
        let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
        client.kv().put(put).await.expect("it answers");
        let range = RangeRequest { key: "k".into(), ..Default::default() };
        client.kv().range(range).await.expect("it answers");
    });
    Page::fetch(&server.client_address())
}

fn shape(family: &Family) -> (&str, Vec<&str>) {
    (family.kind.as_str(), family.labels().unwrap_or_default())
}

/// A dashboard shows nothing for a metric that is called otherwise or lacks a label, and says so to
/// nobody.
#[test]
fn the_page_is_the_table() {
    if !programs::is_ours() {
        return;
    }
    let page = page_of(&programs::ours());
    for (name, kind, labels) in PRESENT {
        let family = page.0.get(*name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(shape(family), (*kind, labels.to_vec()), "{name}");
    }
    for name in page.0.keys() {
        assert!(PRESENT.iter().any(|row| row.0 == name), "{name} is not in the table");
    }
}

/// The names are etcd's: every one on its page is on ours, of the same kind and with the same
/// labels, or there is a reason.
#[test]
fn real_etcd_shows_nothing_that_is_neither_here_nor_explained() {
    let test = "real_etcd_shows_nothing_that_is_neither_here_nor_explained";
    let Some(real) = programs::real_or_skip(test) else { return };
    let (theirs, ours) = (page_of(&real.etcd), page_of(&programs::ours()));
    let mut wrong = Vec::new();
    for (name, family) in &theirs.0 {
        let absent = ABSENT.iter().any(|(begin, _)| name.starts_with(begin));
        match ours.0.get(name) {
            Some(_) if absent => wrong.push(format!("{name} is here, and said to be absent")),
            None if !absent => wrong.push(format!("{name} is missing without a reason")),
            Some(own) if shape(own) != shape(family) => {
                wrong.push(format!("{name}: {:?} for {:?}", shape(own), shape(family)));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(theirs.0.len() > 100, "the page of real etcd was read");
}
