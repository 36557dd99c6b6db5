//! Events, a line of JSON each: what is remembered, and with `follow` what comes.
//!
//! A follower that reads more slowly than things happen misses some, and is told so by an event
//! `gap`: nobody is waited for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use mason_core::mirror::Mirror;
use mason_core::types::{NodeId, Revision};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::ask::{Asked, check_namespace};
use super::refuse::{Refused, shown};
use super::wire::Event;
use super::{Api, Shelf};
use crate::server::unix_now;

/// How long nothing is said to who follows.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Events that are written at once.
const BATCH_MAX: usize = 256;

/// Which events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    namespace: Option<String>,
    name: Option<String>,
    node: Option<String>,
    after: Option<Revision>,
    #[serde(default)]
    follow: bool,
}

impl Which {
    fn check(&self) -> Result<(), Refused> {
        check_namespace(self.namespace.as_deref())?;
        if self.name.is_some() && self.namespace.is_none() {
            let problem = "name: needs a `namespace` beside it".to_owned();
            return Err(Refused::problems("the query does not read", vec![problem]));
        }
        if let Some(name) = self.name.as_deref().filter(|it| it.len() > 63) {
            return Err(Refused::bad(format!("{} is no name", shown(name))));
        }
        Ok(())
    }

    fn fits(&self, event: &Event) -> bool {
        let Which { namespace, name, node, after, .. } = self;
        if event.what == "gap" {
            return after.is_none_or(|after| event.revision > after);
        }
        let of = |wanted: &Option<String>, part: fn(&Event) -> Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| part(event) == Some(wanted))
        };
        of(namespace, |event| event.job.as_ref().map(|job| &*job.namespace))
            && of(name, |event| event.job.as_ref().map(|job| &*job.name))
            && of(node, |event| event.node.as_ref().map(NodeId::as_str))
            && after.is_none_or(|after| event.revision > after)
    }
}

/// Somebody who reads events.
struct Reader {
    api: Arc<Api>,
    which: Which,
    next: u64,
    told: watch::Receiver<u64>,
    begun: bool,
    _place: Option<OwnedSemaphorePermit>,
}

pub(super) async fn events(
    State(api): Shelf,
    Asked(which): Asked<Which>,
) -> Result<Response, Refused> {
    which.check()?;
    let place = if which.follow { Some(api.follower()?) } else { None };
    let told = api.shared.chronicle().told();
    let reader = Reader { api, which, next: 0, told, begun: false, _place: place };
    let lines = stream::unfold(reader, |mut reader| async {
        let lines = reader.lines().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(lines), reader))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

impl Reader {
    /// The next lines; none if there will be no more.
    async fn lines(&mut self) -> Option<Bytes> {
        loop {
            self.told.borrow_and_update();
            let (lines, looked_at) = self.batch();
            if !lines.is_empty() {
                return Some(lines.into());
            }
            if looked_at {
                continue;
            }
            if !self.which.follow {
                return None;
            }
            match tokio::time::timeout(SILENCE_MAX, self.told.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                // An empty line: who follows knows that this side is there, and it that one.
                Err(_) => return Some(Bytes::from_static(b"\n")),
            }
        }
    }

    /// What is there, and whether there may be more.
    fn batch(&mut self) -> (Vec<u8>, bool) {
        let mut lines = Vec::new();
        let chronicle = self.api.shared.chronicle();
        let first = chronicle.first();
        if self.begun && self.next < first {
            let message =
                format!("{} events were forgotten before they were read", first - self.next);
            write(&mut lines, &gap(self.api.shared.read(Mirror::revision), message));
        }
        self.begun = true;
        let before = self.next;
        let (events, next) = chronicle.since(before, BATCH_MAX, |event| self.which.fits(event));
        self.next = next;
        events.iter().for_each(|event| write(&mut lines, event));
        (lines, next > before)
    }
}

fn gap(revision: Revision, message: String) -> Event {
    Event {
        revision,
        at: unix_now(),
        job: None,
        index: None,
        run: None,
        node: None,
        what: "gap".to_owned(),
        message,
    }
}

fn write(lines: &mut Vec<u8>, event: &Event) {
    // An event has no maps: it can be written.
    if let Ok(line) = serde_json::to_vec(event) {
        lines.extend(line);
        lines.push(b'\n');
    }
}
