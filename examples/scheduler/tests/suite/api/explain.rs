//! Explain: each thing that a task can wait for is told by its name.

use mason::api::client::ClientError;
use mason::api::wire::{Change, Explained};
use mason_core::keys::Key;
use mason_core::record::{RunPhase, SeenRecord, encode};
use mason_core::txn::Txn;

use super::{Site, check_refused, key};
use crate::support::{Kind, until};

on_both! {
    what_waits_says_for_what
    what_runs_says_where_and_since_when
    nodes_that_are_out_of_the_question_are_named
    an_update_that_has_no_room_says_so
    one_of_a_cluster_is_not_told_that_there_is_room_for_it_alone
    each_partition_is_told_of_by_itself
}

async fn explain(site: &Site, name: &str) -> Vec<Explained> {
    site.client.get(format!("/v1/objects/default/{name}/explain")).await.unwrap()
}

/// Waits for an explanation of one group that says this.
async fn says(site: &Site, name: &str, text: &str) -> Explained {
    until(async || {
        let all = explain(site, name).await;
        all.into_iter().find(|it| it.state.contains(text))
    })
    .await
}

/// A task that waits in silence is the first thing that people ask about.
async fn what_waits_says_for_what(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply(
        "{kind: Job, name: first, image: a, resources: {cpu: 64}}
---
{kind: Job, name: second, image: a, dependsOn: [{job: first}, {job: ghost}]}
---
{kind: Job, name: many, image: a, array: {size: 9999, parallelism: 2}, resources: {cpu: 1}}
---
{kind: Cron, name: cron, schedule: '0 0 1 1 *', job: {image: a}}
---
{kind: Service, name: web, image: a, replicas: 3, resources: {cpu: 64}}
",
    )
    .await
    .unwrap();
    let waits = says(&site, "first", "waits for a place").await;
    let why = waits.placement.unwrap();
    assert_eq!((waits.indexes.as_str(), why.rejections.nodes), ("0", 0));
    let text = "waits for default/first to succeed, which is active; and for default/ghost to \
                succeed, which is not there";
    says(&site, "second", text).await;
    says(&site, "cron", "goes on: next tick at 20").await;
    let web = says(&site, "web", "waits for a place").await;
    assert_eq!(web.indexes, "0-2");
    site.verb("first", "suspend", Change::default()).await.unwrap();
    says(&site, "first", "is suspended: `resume` lets it go on").await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    let limited = says(&site, "many", "2 tasks of its job run, and `parallelism`").await;
    assert_eq!(limited.indexes, "2-9998");
    let one: Vec<Explained> =
        site.client.get("/v1/objects/default/many/explain?index=9998").await.unwrap();
    assert_eq!((one.len(), one[0].indexes.as_str()), (1, "9998"));
    let none: Result<Vec<Explained>, ClientError> =
        site.client.get("/v1/objects/default/many/explain?index=9999").await;
    check_refused(none, 404, "job default/many has no such task");
}

/// Where a task is, how far, and how else it could have gone.
async fn what_runs_says_where_and_since_when(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    site.apply("{kind: Job, name: a, image: a}").await.unwrap();
    let bound = says(&site, "a", "is bound to n1 since 20").await;
    let at = bound.placement.unwrap().at.unwrap();
    assert!(at.node.as_str() == "n1" && at.candidate.is_some(), "{at:?}");
    let run = site.shows(|mirror| mirror.node(&"n1".into())?.runs.first().cloned()).await;
    let seen = SeenRecord {
        epoch: 1,
        phase: RunPhase::Pulling,
        ready: false,
        since: 1_000,
        started_at: None,
        message: "3 of 9 MiB".to_owned(),
    };
    let path = site.store.keys().path(&Key::Seen("n1".into(), run.clone()));
    site.commit(Txn::new().put(path.clone(), encode(&seen))).await;
    says(&site, "a", "waits on n1 for its image since 1970-01-01 00:00:01 UTC (3 of 9 MiB)").await;
    let runs = SeenRecord { phase: RunPhase::Running, ready: true, message: String::new(), ..seen };
    site.commit(Txn::new().put(path, encode(&runs))).await;
    says(&site, "a", "runs on n1 since 1970-01-01").await;
    site.verb("a", "delete", Change::default()).await.unwrap();
    says(&site, "a", "is told to stop on n1 (stopped)").await;
    // Its lease is gone, and a leader takes that to account.
    let alive = site.store.keys().path(&Key::Alive("n1".into()));
    site.commit(Txn::new().delete(alive)).await;
    site.shows(|mirror| mirror.job(&key("a")).is_none().then_some(())).await;
}

/// "Insufficient resources" is no answer; which nodes lack what is.
async fn nodes_that_are_out_of_the_question_are_named(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 2000, "127.0.0.1:1").await;
    site.node("n2", 3000, "127.0.0.1:1").await;
    let text = "{kind: Job, name: big, image: a, resources: {cpu: 4}}";
    site.apply(text).await.unwrap();
    let waits = says(&site, "big", "waits for a place").await;
    let why = waits.placement.unwrap();
    assert_eq!((why.rejections.nodes, why.rejections.fit), (2, 0));
    assert_eq!(why.rejections.nearest.as_ref().unwrap().node.as_str(), "n2");
    let shown = why.to_string();
    assert!(shown.contains("cpu short by 1 to 2") && shown.contains("n1 n2"), "{shown}");
    assert!(shown.contains("1 more cpu on n2"), "{shown}");
    // Gossip keeps it from a node, and that is said, too.
    site.server.suspect("n2".into(), true).await;
    until(async || {
        let all = explain(&site, "big").await;
        let shown = all[0].placement.as_ref()?.to_string();
        shown.contains("suspect").then_some(())
    })
    .await;
}

/// What an update waits for has no key in the store, and was told of by nobody.
async fn an_update_that_has_no_room_says_so(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    let web = "{kind: Service, name: web, image: 'web:1', replicas: 1, resources: {cpu: 3}}";
    site.apply(web).await.unwrap();
    says(&site, "web", "is bound to n1").await;
    site.apply(&web.replace("web:1", "web:2")).await.unwrap();
    let waits = says(&site, "web", "waits for a place").await;
    assert_eq!(waits.indexes, "1");
    let shown = waits.placement.unwrap().to_string();
    assert!(shown.contains("cpu short by 2"), "{shown}");
    assert!(shown.contains("when a task of default/web ends on n1"), "{shown}");
}

/// Asked about by its index or with all others, a task waits for the same.
async fn one_of_a_cluster_is_not_told_that_there_is_room_for_it_alone(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    let close = "{kind: Job, name: close, image: a, array: {size: 5}, resources: {cpu: 1},
        placement: {strategy: cluster}}";
    site.apply(close).await.unwrap();
    says(&site, "close", "waits for a place").await;
    let one: Vec<Explained> =
        site.client.get("/v1/objects/default/close/explain?index=3").await.unwrap();
    assert_eq!(one[0].state, "waits for a place");
    let shown = one[0].placement.as_ref().unwrap().to_string();
    assert!(shown.contains("4 of 5 fit in zone a"), "{shown}");
}

/// Who goes to a zone that is not there waits; the others go where they belong.
async fn each_partition_is_told_of_by_itself(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    let cut = "{kind: Job, name: cut, image: a, array: {size: 4}, resources: {cpu: 1},
        placement: {strategy: partition, partitions: 2}}";
    site.apply(cut).await.unwrap();
    let runs = says(&site, "cut", "is bound to n1").await;
    let waits = says(&site, "cut", "waits for a place").await;
    let mut both = [runs.indexes.as_str(), waits.indexes.as_str()];
    both.sort_unstable();
    assert_eq!(both, ["0,2", "1,3"]);
}
