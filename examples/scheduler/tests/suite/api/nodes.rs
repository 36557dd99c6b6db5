//! Nodes: what is shown, and what operators do.

use mason::api::client::ClientError;
use mason::api::wire::{Changed, Health, NodeChange, NodeView};
use mason_core::keys::Key;
use mason_core::record::{NodeRecord, TaintEffect};
use mason_core::txn::Txn;

use super::{Site, check_refused};
use crate::support::{Kind, until};

on_both! {
    verbs_change_what_they_name
    a_node_that_lives_is_not_taken_for_dead
    a_server_says_how_it_is
}

async fn verb(site: &Site, verb: &str, change: NodeChange) -> Result<Changed, ClientError> {
    site.client.post(format!("/v1/nodes/n1/{verb}"), &change).await
}

fn none() -> NodeChange {
    NodeChange::default()
}

fn marked(key: &str, value: Option<&str>) -> NodeChange {
    NodeChange { key: key.to_owned(), value: value.map(str::to_owned), ..none() }
}

async fn node(site: &Site) -> NodeRecord {
    site.client.get::<NodeView>("/v1/nodes/n1").await.unwrap().record.unwrap()
}

/// A cordon that is none lets the next task onto a machine that is about to go.
async fn verbs_change_what_they_name(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    verb(&site, "cordon", none()).await.unwrap();
    assert!(node(&site).await.cordoned);
    assert_eq!(verb(&site, "cordon", none()).await.unwrap().revision, 0);
    verb(&site, "uncordon", none()).await.unwrap();
    assert!(!node(&site).await.cordoned);
    let before = mason::server::unix_now();
    verb(&site, "interrupt", none()).await.unwrap();
    let drain = node(&site).await.drain.unwrap();
    assert!(drain.interrupted && drain.until >= before + 120_000, "{drain:?}");
    verb(&site, "drain", NodeChange { within: Some(5_000), ..none() }).await.unwrap();
    let drain = node(&site).await.drain.unwrap();
    assert!(!drain.interrupted && drain.until < before + 120_000, "{drain:?}");
    verb(&site, "undrain", none()).await.unwrap();
    assert_eq!(node(&site).await.drain, None);
    let effect = Some(TaintEffect::NoSchedule);
    let taint = NodeChange { effect, ..marked("dedicated", Some("ml")) };
    verb(&site, "taint", taint.clone()).await.unwrap();
    assert_eq!(verb(&site, "taint", taint).await.unwrap().revision, 0);
    assert_eq!(node(&site).await.taints[0].value, "ml");
    let other = NodeChange { effect: Some(TaintEffect::NoExecute), ..marked("dedicated", None) };
    assert_eq!(verb(&site, "untaint", other).await.unwrap().revision, 0);
    verb(&site, "untaint", marked("dedicated", None)).await.unwrap();
    assert_eq!(node(&site).await.taints, []);
    verb(&site, "label", marked("example.com/disk", Some("ssd"))).await.unwrap();
    assert_eq!(node(&site).await.labels["example.com/disk"], "ssd");
    verb(&site, "label", marked("example.com/disk", None)).await.unwrap();
    assert!(!node(&site).await.labels.contains_key("example.com/disk"));
    for (name, change, text) in [
        ("taint", marked("a", None), "effect: is missing"),
        ("taint", NodeChange { effect, ..marked("-a", None) }, "key: a label is at most 63"),
        ("taint", NodeChange { effect, ..none() }, "key: is missing"),
        ("label", marked("a/b/c", Some("x")), "key: "),
        ("label", marked("a.b/c", Some(&"x".repeat(64))), "value: the value of a label"),
        ("label", marked("disk", Some("ssd")), "write it as example.com/disk"),
        ("cordon", marked("a", None), "key: has no meaning for cordon"),
        ("drain", NodeChange { within: Some(u64::MAX), ..none() }, "within: is longer"),
    ] {
        check_refused(verb(&site, name, change).await, 400, text);
    }
    check_refused(verb(&site, "explode", none()).await, 404, "`explode` is no verb of a node");
    let missing: Result<NodeView, _> = site.client.get("/v1/nodes/n2").await;
    check_refused(missing, 404, "there is no node n2");
}

/// An operator who swears that the wrong machine is off starts everything on it twice.
async fn a_node_that_lives_is_not_taken_for_dead(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    site.apply("{kind: Job, name: a, image: a}").await.unwrap();
    site.shows(|mirror| mirror.node(&"n1".into())?.runs.first().cloned()).await;
    check_refused(verb(&site, "confirm-dead", none()).await, 409, "lives: its agent at 127.0.0.1");
    check_refused(verb(&site, "forget", none()).await, 409, "it would be back at once");
    let view: Vec<NodeView> = site.client.get("/v1/nodes").await.unwrap();
    assert_eq!((view[0].runs.len(), view[0].used.cpu), (1, 100));
    assert!(view[0].alive.is_some() && !view[0].suspected);
    site.server.suspect("n1".into(), true).await;
    until(async || {
        let view: NodeView = site.client.get("/v1/nodes/n1").await.unwrap();
        view.suspected.then_some(())
    })
    .await;
    // Its lease runs out while the leader looks elsewhere: both verbs race with it, and both win.
    let alive = site.store.keys().path(&Key::Alive("n1".into()));
    verb(&site, "cordon", none()).await.unwrap();
    site.commit(Txn::new().delete(alive)).await;
    verb(&site, "confirm-dead", none()).await.unwrap();
    let gone = async || match verb(&site, "forget", none()).await {
        Ok(_) => Some(()),
        // Until its run is taken to account.
        Err(error) => {
            assert!(error.to_string().contains("confirm-dead it"), "{error}");
            None
        }
    };
    until(gone).await;
    assert_eq!(site.client.get::<Vec<NodeView>>("/v1/nodes").await.unwrap(), []);
}

/// What watches servers needs one answer: who leads, and how far the copy is.
async fn a_server_says_how_it_is(kind: Kind) {
    let site = Site::start(kind).await;
    let health: Health = site.client.get("/v1/health").await.unwrap();
    assert!(health.leads && health.revision > 0);
    assert_eq!(health.leader.as_deref(), Some("http://here:7070"));
    let path = format!("{}job/default/broken", site.store.keys().prefix());
    site.commit(Txn::new().put(path.clone(), b"{".to_vec())).await;
    let health: Health = site.client.get("/v1/health").await.unwrap();
    assert!(health.bad.contains_key(&path), "{health:?}");
}
