//! Several servers, and none of the store: whoever asks need not care whom they ask, and is told
//! when it cannot be done now.

use std::sync::Arc;
use std::time::Duration;

use mason::api::client::{Client, ClientError};
use mason::api::wire::{Apply, Change, Exec, Health, LogEvent, NodeChange};
use mason::api::{Api, Token};
use mason::server::Server;
use mason_core::types::JobKey;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::proxy::{TOKEN, agent, bound};
use super::{Site, key, refused};
use crate::support::proxy::{Proxy, Way};
use crate::support::{Kind, Solo, connect_with, until};

on_both! {
    two_servers_answer_the_same
    without_the_store_what_is_there_is_shown_and_changes_are_refused
    a_workflow_that_waits_goes_on_when_either_server_is_told
}

/// A second server over the same store.
struct Second {
    server: Server,
    client: Client,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Second {
    async fn start(site: &Site, token: Option<&str>) -> Second {
        let (server, desk) = Server::start(site.store.clone(), "http://there:7070");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Api::new(site.store.clone(), &server, None);
        let known = token.map(|token| Token::new(token).unwrap());
        let door = tokio::spawn(mason::api::serve(listener, api, known));
        let client = Client::new(&format!("http://{address}"), token).unwrap();
        Second { server, client, tasks: vec![desk, door] }
    }
}

const MANY: &str = "{kind: Job, name: many, image: a, array: {size: 9}, resources: {cpu: 1}}
---
{kind: Service, name: web, image: a, replicas: 3, resources: {cpu: 1}}
---
{kind: Job, name: big, image: a, resources: {cpu: 99}}
";

/// A load balancer sends half of the questions to one that does not lead.
async fn two_servers_answer_the_same(kind: Kind) {
    let site = Site::start_with(kind, Some(TOKEN)).await;
    let second = Second::start(&site, Some(TOKEN)).await;
    let go_on = Arc::new(Notify::new());
    site.node("n1", 4000, &agent(go_on.clone()).await).await;
    site.node("n2", 2000, "127.0.0.1:1").await;
    // Taken in by the one that does not lead, carried out by the other.
    let (text, namespace) = (MANY.to_owned(), "default".to_owned());
    let apply = Apply { text, namespace, lenient: false };
    second.client.post::<_, Value>("/v1/apply", &apply).await.unwrap();
    site.shows(|mirror| {
        let runs = mirror.nodes().map(|(_, it)| it.runs.len()).sum::<usize>();
        (runs == 6).then_some(())
    })
    .await;
    let same = async |path: &str| {
        // One may be a moment ahead of the other.
        until(async || {
            let one = site.client.get::<Value>(path).await.unwrap();
            let other = second.client.get::<Value>(path).await.unwrap();
            (one == other).then_some(one)
        })
        .await
    };
    let listed = same("/v1/objects?namespace=default").await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    for path in ["objects/default/many", "objects/default/web", "nodes", "nodes/n1"] {
        same(&format!("/v1/{path}")).await;
    }
    for name in ["many", "web", "big"] {
        let told = same(&format!("/v1/objects/default/{name}/explain")).await;
        assert!(!told.as_array().unwrap().is_empty());
    }
    let planned =
        async |client: &Client| client.post::<_, Value>("/v1/plan", &apply).await.unwrap();
    assert_eq!(planned(&site.client).await, planned(&second.client).await);
    // And whoever is asked for what lies on a node passes it on.
    site.verb("many", "delete", Change::default()).await.unwrap();
    let run = bound(&site).await;
    until(async || second.server.shared().read(|mirror| mirror.run(&run).map(drop))).await;
    for client in [&site.client, &second.client] {
        let path = format!("/v1/runs/{run}/logs?follow=true&tail=5");
        go_on.notify_one();
        let mut lines = client.lines(&path).await.unwrap();
        let first = lines.next::<LogEvent>().await.unwrap();
        assert!(matches!(first, Some(LogEvent::Output { offset: 0, .. })), "{first:?}");
        assert_eq!(lines.next::<LogEvent>().await.unwrap(), Some(LogEvent::End { offset: 2 }));
        let exec = Exec { command: vec!["echo".into(), "hi".into()] };
        let mut shell = client.upgrade(format!("/v1/runs/{run}/exec"), &exec).await.unwrap();
        shell.write_all(b"abcd").await.unwrap();
        let mut said = Vec::new();
        shell.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"echo hidcba");
    }
}

/// An operator whose store is down needs to see what was, and to hear what is the matter; a change
/// that seems to have been made would be worse than none.
async fn without_the_store_what_is_there_is_shown_and_changes_are_refused(kind: Kind) {
    let solo = Solo::start(kind).await;
    let way = Proxy::to(&solo.url()).await;
    let store = connect_with(&[way.url()], |it| it.patience = Duration::from_secs(1)).await;
    let site = Site::over(solo, store, None).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    site.apply(MANY).await.unwrap();
    let health = async || site.client.get::<Health>("/v1/health").await.unwrap();
    assert_eq!(health().await.store, None);
    way.set(Way::Cut);
    let silent = health().await.store.expect("it is said that the store does not answer");
    assert!(silent.contains("no answer from the store"), "{silent}");
    let check = |what: &str, (status, refusal): (u16, mason::api::wire::Refusal)| {
        let text = refusal.error;
        assert!(status == 503 && text.contains("the store"), "{what}: {status}: {text}");
        assert!(text.contains("nothing was changed"), "{what}: {text}");
    };
    check("apply", refused(site.apply("{kind: Job, name: new, image: a}").await));
    let scale = Change { replicas: Some(5), ..Change::default() };
    check("scale", refused(site.verb("web", "scale", scale).await));
    check("delete", refused(site.verb("many", "delete", Change::default()).await));
    let cordoned: Result<Value, ClientError> =
        site.client.post("/v1/nodes/n1/cordon", &NodeChange::default()).await;
    check("cordon", refused(cordoned));
    for path in ["objects", "objects/default/web", "nodes", "objects/default/big/explain"] {
        site.client.get::<Value>(format!("/v1/{path}")).await.unwrap();
    }
    way.set(Way::Open);
    until(async || health().await.store.is_none().then_some(())).await;
    site.apply("{kind: Job, name: new, image: a}").await.unwrap();
    assert!(site.shared.read(|mirror| mirror.job(&key("many")).is_some()), "it was not deleted");
    // Its lease may have run out meanwhile: somebody leads, and looks at what is new.
    site.shows(|mirror| mirror.job(&key("new"))?.state.as_ref().map(drop)).await;
}

const FLOW: &str = "
kind: Workflow
name: flow
entrypoint: main
templates:
- name: main
  steps:
  - - {name: ask, template: hold}
  - - {name: act, template: say}
- name: hold
  suspend: {}
- name: say
  image: a
  command: [echo, hi]
";

/// Somebody must say yes before it goes on: not before, and to whichever server.
async fn a_workflow_that_waits_goes_on_when_either_server_is_told(kind: Kind) {
    let site = Site::start(kind).await;
    let second = Second::start(&site, None).await;
    site.apply(FLOW).await.unwrap();
    let flow = key("flow");
    let message = |site: &Site, text: &'static str| {
        let flow = flow.clone();
        let shows = site.shared.clone();
        async move {
            until(async || {
                shows.read(|mirror| {
                    let state = mirror.job(&flow)?.state.as_ref()?;
                    state.value.message.contains(text).then_some(())
                })
            })
            .await;
        }
    };
    message(&site, "to be resumed: main[0].ask").await;
    assert!(site.shared.read(|mirror| mirror.children_of(&flow).next().is_none()));
    // Suspended as a whole, too: then both must be taken back.
    site.verb("flow", "suspend", Change::default()).await.unwrap();
    site.shows(|mirror| {
        let state = mirror.job(&flow)?.state.as_ref()?;
        (state.value.phase == mason_core::record::Phase::Suspended).then_some(())
    })
    .await;
    let seen = site.shared.read(mason_core::mirror::Mirror::revision);
    second.server.shared().at(seen).await.unwrap();
    let resume = async || {
        let path = "/v1/objects/default/flow/resume";
        second.client.post::<_, Value>(path, &Change::default()).await.unwrap()
    };
    resume().await;
    let child: JobKey = until(async || {
        let child = site.shared.read(|mirror| mirror.children_of(&flow).next().cloned());
        if child.is_none() {
            resume().await;
        }
        child
    })
    .await;
    assert!(child.name.starts_with("flow-"), "{child}");
}
