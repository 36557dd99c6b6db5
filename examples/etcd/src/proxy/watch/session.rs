//! A client's stream of watches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use http::Request;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use pb::WatchResponse;
use pb::watch_request::RequestUnion;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::{Response, Streaming};

use super::feed::{Command, Feed};
use super::hub::Topic;
use super::out::{self, Out};
use super::watcher::{Birth, Leash, Outcome, Watcher};
use crate::error_text;
use crate::proxy::asker::{self, Asker};
use crate::proxy::message::{self, Framed};
use crate::proxy::{Shared as Proxy, streaming};

/// What stands for a watcher in an answer that is about none.
const NO_WATCHER: i64 = -1;
/// Ids that the proxy gives come from below; a client may take others.
const FIRST_ID: i64 = 0;

/// Serves a call of Watch.
pub(crate) async fn serve(proxy: Proxy, request: Request<Incoming>) -> http::Response<Body> {
    let max = proxy.sizes.received_max;
    streaming::serve(request, max, move |request: tonic::Request<Streaming<pb::WatchRequest>>| {
        let asker = Asker::of(request.metadata().as_ref());
        let (out, answers) = out::channel();
        let number = proxy.watches.number();
        let session =
            Session { proxy, asker, number, out, watchers: HashMap::new(), next_id: FIRST_ID };
        tokio::spawn(session.run(request.into_inner()));
        Response::new(answers)
    })
    .await
}

struct Session {
    proxy: Proxy,
    asker: Asker,
    number: u64,
    out: Out,
    watchers: HashMap<i64, Arc<Leash>>,
    next_id: i64,
}

impl Session {
    async fn run(mut self, mut requests: Streaming<pb::WatchRequest>) {
        let (out, mut stop) = (self.out.clone(), self.proxy.shutdown.clone());
        tokio::select! {
            () = out.closed() => {}
            () = self.take_all(&mut requests) => {}
            () = stop.fired() => {
                out.send_late(Err(error_text::stopped()));
            }
        }
        self.watchers.values().for_each(|leash| leash.leave());
    }

    async fn take_all(&mut self, requests: &mut Streaming<pb::WatchRequest>) {
        loop {
            match requests.message().await {
                Ok(Some(request)) => self.take(request).await,
                // It asks no more, and may still listen.
                Ok(None) => return self.out.closed().await,
                Err(status) => {
                    let status = error_text::too_large(&status).unwrap_or(status);
                    return self.out.send(Err(status)).await;
                }
            }
        }
    }

    async fn take(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => {
                if let Some(leash) = self.watchers.remove(&cancel.watch_id) {
                    leash.cancel();
                }
            }
            Some(RequestUnion::ProgressRequest(_)) => self.ask_progress(),
            // etcd skips what it does not know, so that newer clients can talk to it.
            None => {}
        }
    }

    async fn create(&mut self, create: pb::WatchCreateRequest) {
        self.watchers.retain(|_, leash| !leash.is_over());
        let id = match create.watch_id {
            0 => (self.next_id..).find(|id| !self.watchers.contains_key(id)),
            id => (!self.watchers.contains_key(&id)).then_some(id),
        };
        let (key, end) = self.proxy.namespace.range(&create.key, &create.range_end);
        let topic = Topic { asker: self.asker.clone(), key, end };
        let Some(id) = id else { return self.refuse_id(&topic).await };
        // Gone with the client.
        let Some(place) = self.out.place().await else { return };
        let (outcome, ended) = oneshot::channel();
        let birth = Birth { place, outcome };
        let watcher = Watcher::new(&create, (self.number, id), self.out.clone(), birth);
        let leash = watcher.leash.clone();
        self.watchers.insert(id, leash);
        self.place(topic, watcher, create.start_revision).await;
        match ended.await {
            Ok(Outcome::Created) if create.watch_id == 0 => self.next_id = id + 1,
            Ok(Outcome::Created) => {}
            _ => drop(self.watchers.remove(&id)),
        }
    }

    /// Finds a feed for a new watcher.
    async fn place(&self, topic: Topic, mut watcher: Watcher, start: i64) {
        if let Some(shared) = self.proxy.watches.find(&topic) {
            let next = shared.next.load(Ordering::Acquire);
            // What is only being created is created with the member's leave.
            let at = match (start, next) {
                (0, i64::MAX) => Some(None),
                (0, _) => self.admit(&topic).await.map(Some),
                (start, next) if start >= next => self.admit(&topic).await.map(Some),
                _ => None,
            };
            if let Some(at) = at {
                let (reply, answer) = oneshot::channel();
                let join = Command::Join { watcher: Box::new(watcher), at, reply };
                let refused = match shared.commands.send(join) {
                    Ok(()) => answer.await.unwrap_or(None),
                    Err(unsent) => unsent.0.into_watcher(),
                };
                match refused {
                    None => return,
                    Some(back) => watcher = *back,
                }
            }
        }
        Feed::spawn(&self.proxy, topic, start, watcher);
    }

    /// Whether the member lets him see that range who asks; its header then, which says what is
    /// the newest there.
    async fn admit(&self, topic: &Topic) -> Option<pb::ResponseHeader> {
        let everything = topic.key.is_empty();
        let open = Bytes::from_static(b"\0");
        let range = pb::RangeRequest {
            key: if everything { open } else { topic.key.clone() },
            range_end: topic.end.clone(),
            limit: 1,
            count_only: true,
            serializable: true,
            ..Default::default()
        };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
        let headers = asker::own(&self.asker);
        let message = Framed::of(&range).0;
        let response = self.proxy.upstream.call(&path, &headers, message, true).await.ok()?;
        let answer = message::collect(response, self.proxy.sizes.answer_max).await.ok()?;
        answer.decode::<pb::RangeResponse>().ok()?.header
    }

    async fn refuse_id(&self, topic: &Topic) {
        let refusal = WatchResponse {
            header: Some(self.admit(topic).await.unwrap_or_default()),
            watch_id: NO_WATCHER,
            created: true,
            canceled: true,
            cancel_reason: "mvcc: duplicate watch ID provided on the WatchStream".to_owned(),
            ..Default::default()
        };
        self.out.send(Ok(refusal)).await;
    }

    /// Asks the members of all its watchers how far they are. The answer is good for all of them,
    /// and behind everything that they have been sent until then.
    fn ask_progress(&self) {
        let mut answers = Vec::new();
        for (&id, leash) in self.watchers.iter().filter(|(_, leash)| !leash.is_over()) {
            let (reply, answer) = oneshot::channel();
            leash.send(Command::Progress { session: self.number, id, reply });
            answers.push(answer);
        }
        if answers.is_empty() {
            return;
        }
        let out = self.out.clone();
        tokio::spawn(async move {
            let mut least: Option<pb::ResponseHeader> = None;
            for answer in answers {
                // A watcher that is between two feeds knows not: the client asks again.
                let Ok(header) = answer.await else { return };
                least = match least {
                    Some(least) if least.revision <= header.revision => Some(least),
                    _ => Some(header),
                };
            }
            let told = WatchResponse { header: least, watch_id: NO_WATCHER, ..Default::default() };
            out.send(Ok(told)).await;
        });
    }
}
