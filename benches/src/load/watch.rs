//! Watchers that follow every key, and the one writer that gives them something to see.
//!
//! The watchers of one connection share a stream, as etcd's own client does it. The first eight
//! bytes of every value say when it was sent, in microseconds since the start of the run, so an
//! event tells how long it took from the writer through the server to the watcher.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use drystone_etcd_api::etcdserverpb::{
    PutRequest, PutResponse, WatchCreateRequest, WatchRequest, WatchResponse,
    watch_client::WatchClient, watch_request::RequestUnion,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio_stream::StreamExt as _;
use tonic::{Streaming, transport::Channel};

use super::{
    connection::{Call, Connection},
    report::Tally,
    run::Shared,
};

/// Watchers on one stream.
#[derive(Debug)]
pub(crate) struct Watchers {
    count: u64,
    stream: Streaming<WatchResponse>,
}

impl Watchers {
    /// Makes `count` watchers of the whole key space; none for none.
    pub(crate) async fn open(
        count: usize,
        mut watch: WatchClient<Channel>,
        shared: &Shared,
    ) -> Result<Option<Watchers>> {
        if count == 0 {
            return Ok(None);
        }
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: shared.keys.first(),
                range_end: shared.keys.end(),
                ..WatchCreateRequest::default()
            })),
        };
        // The stream of requests stays open, for its end would end the watch.
        let requests = tokio_stream::iter(vec![create; count]).chain(tokio_stream::pending());
        let mut stream = watch.watch(requests).await.context("opening a watch")?.into_inner();
        for _ in 0..count {
            let answer = stream.message().await?.context("the server ended the watch")?;
            ensure!(answer.created && !answer.canceled, "no watcher: {}", answer.cancel_reason);
        }
        Ok(Some(Watchers { count: count as u64, stream }))
    }

    /// Receives until every watcher has seen every put. The watch has no limit in seconds of its
    /// own: it ends when the writer's puts, fewer if its time was up, have all arrived.
    pub(crate) async fn run(
        mut self,
        shared: &Shared,
        tally: &Mutex<Tally>,
        start: Instant,
    ) -> Result<()> {
        let mut seen = 0;
        loop {
            let Some(answer) = self.stream.message().await? else {
                bail!("the server ended the watch after {seen} events");
            };
            ensure!(!answer.canceled, "a watcher was canceled: {}", answer.cancel_reason);
            let now = start.elapsed();
            let mut tally = tally.lock().expect("recording does not panic");
            let mut lasts = 0;
            for event in &answer.events {
                let value = event.kv.as_ref().map_or(&[][..], |kv| &kv.value);
                let stamp = Stamp::read(value).context("a put that this load did not make")?;
                tally.record(now.saturating_sub(stamp.sent), Ok(()));
                lasts += u64::from(stamp.last);
            }
            drop(tally);
            shared.schedule.add_done(answer.events.len() as u64);
            seen += answer.events.len() as u64;
            self.count -= lasts;
            if self.count == 0 {
                return Ok(());
            }
        }
    }
}

/// Puts one key after the other, over a connection of its own.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    rng: ChaCha8Rng,
}

impl Writer {
    pub(crate) async fn open(shared: &Shared) -> Result<Writer> {
        let connection = Connection::open(&shared.target).await?;
        Ok(Writer { connection, rng: ChaCha8Rng::seed_from_u64(shared.options.seed) })
    }

    /// Takes tickets until there are none. The put with the last ticket says that it is the last.
    pub(crate) async fn run(mut self, shared: &Shared, start: Instant) -> Result<()> {
        let mut next = shared.schedule.take();
        while let Some(ticket) = next {
            let due = shared.schedule.due(ticket, start).await;
            next = shared.schedule.take();
            let key = if shared.options.random {
                shared.keys.at_random(&mut self.rng)
            } else {
                shared.keys.in_order(ticket)
            };
            let stamp = Stamp { sent: due - start, last: next.is_none() };
            let value = stamp.write(&shared.keys.value(ticket));
            let put = PutRequest { key, value, ..PutRequest::default() };
            self.connection
                .unary::<PutResponse>(Call::Put, &put)
                .await
                .context("the writer's put")?;
        }
        Ok(())
    }
}

/// The first eight bytes of a watched value: microseconds times two, plus one in the last put.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    sent: Duration,
    last: bool,
}

impl Stamp {
    fn write(&self, value: &Bytes) -> Bytes {
        let mut stamped = BytesMut::with_capacity(value.len());
        let micros = u64::try_from(self.sent.as_micros()).expect("a run of less than 10^5 years");
        stamped.put_u64(micros << 1 | u64::from(self.last));
        stamped.extend_from_slice(&value[8..]);
        stamped.freeze()
    }

    fn read(value: &[u8]) -> Option<Stamp> {
        let stamp = u64::from_be_bytes(*value.first_chunk()?);
        Some(Stamp { sent: Duration::from_micros(stamp >> 1), last: stamp & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The watchers know when they are through only by the mark of the last put.
    #[test]
    fn a_stamp_survives_the_value_and_leaves_its_size() {
        let value = Bytes::from(vec![7; 256]);
        for (micros, last) in [(0, false), (1, true), (86_400_000_000, false)] {
            let stamp = Stamp { sent: Duration::from_micros(micros), last };
            let stamped = stamp.write(&value);
            assert_eq!((stamped.len(), &stamped[8..]), (256, &value[8..]));
            assert_eq!(Stamp::read(&stamped), Some(stamp));
        }
        assert_eq!(Stamp::read(b"short"), None);
    }
}
