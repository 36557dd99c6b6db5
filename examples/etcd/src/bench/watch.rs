//! How long an event takes from its put to all who watch.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::load::{Load, Seen};
use super::report::Report;
use crate::remote::Remote;

/// Bytes of a value that say when it was put.
const STAMP_BYTES: usize = 8;
/// How long to wait for the last events.
const PATIENCE: Duration = Duration::from_secs(10);

/// One writes, all clients watch.
pub(super) async fn run(load: &Load) -> Result<Report> {
    let key = load.key(0);
    let mut streams = Vec::new();
    for number in 0..load.options.clients() {
        let remote = &load.remotes[number % load.remotes.len()];
        let opened = open(remote, key.clone()).await;
        streams.push(opened.map_err(|status| anyhow!("cannot watch: {}", status.message()))?);
    }
    let (schedule, (told, puts)) = (load.schedule(), channel(None));
    let start = schedule.start();
    let mut watchers = JoinSet::new();
    for (stream, kept) in streams {
        watchers.spawn(count(stream, kept, start, puts.clone()));
    }
    let mut kv = super::first(&load.remotes)?.kv();
    let (mut seen, mut done) = (Seen::default(), 0);
    let mut value = load.value.to_vec();
    value.resize(value.len().max(STAMP_BYTES), 0);
    while let Some((_, due)) = schedule.take() {
        tokio::time::sleep_until(due.into()).await;
        let nanos = u64::try_from((due - start).as_nanos()).unwrap_or(u64::MAX);
        value[..STAMP_BYTES].copy_from_slice(&nanos.to_be_bytes());
        let value = Bytes::copy_from_slice(&value);
        match kv.put(pb::PutRequest { key: key.clone(), value, ..Default::default() }).await {
            Ok(_) => done += 1,
            Err(status) => seen.note(due, Err(status)),
        }
    }
    told.send_replace(Some(done));
    for one in watchers.join_all().await {
        seen.add(one);
    }
    let mut report = Report::new(load, &schedule, seen);
    report.puts = Some(done);
    Ok(report)
}

type Kept = tokio::sync::mpsc::Sender<pb::WatchRequest>;

/// A stream with one watcher that stands.
async fn open(remote: &Remote, key: Bytes) -> Result<(Streaming<pb::WatchResponse>, Kept), Status> {
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let create = pb::WatchCreateRequest { key, ..Default::default() };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    ask.try_send(request).map_err(|_| Status::internal("a new stream has room"))?;
    let stream = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut answers = remote.watch().watch(stream).await?.into_inner();
    match answers.message().await? {
        Some(answer) if answer.created => Ok((answers, ask)),
        _ => Err(Status::unavailable("the stream has ended")),
    }
}

/// Counts events until there are as many as puts, which are known in the end.
async fn count(
    mut stream: Streaming<pb::WatchResponse>,
    // The stream ends when nobody can ask any more.
    _kept: Kept,
    start: Instant,
    mut puts: Receiver<Option<u64>>,
) -> Seen {
    let mut seen = Seen::default();
    let (mut events, mut deadline) = (0, None);
    loop {
        let wanted = *puts.borrow_and_update();
        if wanted.is_some_and(|wanted| events >= wanted) {
            return seen;
        }
        if wanted.is_some() && deadline.is_none() {
            deadline = Some(tokio::time::Instant::now() + PATIENCE);
        }
        let patience = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Told of the number of puts: looked at above. Nobody tells any more: as before.
            Ok(()) = puts.changed(), if wanted.is_none() => {}
            () = patience => {
                let missing = wanted.unwrap_or(0) - events;
                *seen.errors.entry("the event did not come".to_owned()).or_default() += missing;
                return seen;
            }
            message = stream.message() => match message {
                Ok(Some(message)) => {
                    for event in message.events {
                        events += 1;
                        let value = event.kv.map(|kv| kv.value).unwrap_or_default();
                        let stamp = value.first_chunk().copied().map_or(0, u64::from_be_bytes);
                        seen.note(start + Duration::from_nanos(stamp), Ok(()));
                    }
                }
                ended => {
                    let broken = Status::unavailable("the stream has ended");
                    seen.note(start, Err(ended.err().unwrap_or(broken)));
                    return seen;
                }
            },
        }
    }
}
