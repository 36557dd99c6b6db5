//! Watchers, and the writers that give them something to see.
//!
//! The watchers of one connection share a stream, as etcd's own client does it. The first eight
//! bytes of every value say when it was sent, in microseconds since the start of the run, so an
//! event tells how long it took from the writer through the server to the watcher.
//!
//! # The end
//! The last writer to end says how many puts there were. From that a stream knows how many events
//! its watchers will have seen: each put once for each watcher of all keys; for a watcher of one
//! key, as often as the writers, who take the keys in order, came by it. A stream that was sent
//! more is as wrong as one that was sent less.

use std::{
    sync::{Mutex, atomic::Ordering::AcqRel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use drystone_etcd_api::{
    client::Client,
    etcdserverpb::{
        PutRequest, PutResponse, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
        watch_request::RequestUnion,
    },
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio_stream::StreamExt as _;
use tonic::Streaming;

use super::{
    Span,
    connection::{Call, Connection},
    report::Tally,
    run::Shared,
};

/// Watchers on one stream.
#[derive(Debug)]
pub(crate) struct Watchers {
    watched: Vec<Watched>,
    stream: Streaming<WatchResponse>,
}

/// What one watcher watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    All,
    /// The key of that number.
    One(u64),
}

impl Watchers {
    /// Makes a watcher for each of the `clients`, by their numbers; none for none.
    pub(crate) async fn open(
        clients: impl Iterator<Item = usize>,
        span: Span,
        stubs: &Client,
        shared: &Shared,
    ) -> Result<Option<Watchers>> {
        let keys = &shared.keys;
        let watched: Vec<Watched> = match span {
            Span::All | Span::Rest => clients.map(|_| Watched::All).collect(),
            Span::One => clients.map(|client| Watched::One(client as u64 % keys.len())).collect(),
        };
        if watched.is_empty() {
            return Ok(None);
        }
        // A member that lags would send what was put before: let it come up first.
        let read = RangeRequest { key: keys.first(), ..RangeRequest::default() };
        stubs.kv().range(read).await.context("reading before a watch")?;

        let creates: Vec<_> = watched.iter().map(|watched| watched.request(shared)).collect();
        // The stream of requests stays open, for its end would end the watch.
        let requests = tokio_stream::iter(creates).chain(tokio_stream::pending());
        let answer = stubs.watch().watch(requests).await.context("opening a watch")?;
        let mut stream = answer.into_inner();
        for _ in 0..watched.len() {
            let answer = stream.message().await?.context("the server ended the watch")?;
            ensure!(answer.created && !answer.canceled, "no watcher: {}", answer.cancel_reason);
        }
        Ok(Some(Watchers { watched, stream }))
    }

    /// Receives until every watcher has seen every put that it should. The watch has no limit in
    /// seconds of its own: it ends when the writers' puts, fewer if their time was up, have all
    /// arrived.
    pub(crate) async fn run(
        mut self,
        shared: &Shared,
        tally: &Mutex<Tally>,
        start: Instant,
    ) -> Result<()> {
        let mut seen = 0;
        let mut puts = shared.puts.subscribe();
        let mut expected = None;
        loop {
            if let Some(expected) = expected {
                ensure!(seen <= expected, "{seen} events, but only {expected} were to come");
                if seen == expected {
                    return Ok(());
                }
            }
            let answer = tokio::select! {
                answer = self.stream.message() => answer?,
                ended = puts.wait_for(Option::is_some), if expected.is_none() => {
                    let puts = ended.ok().and_then(|puts| *puts);
                    let puts = puts.context("a writer ended before its time")?;
                    expected = Some(self.expected(puts, shared.keys.len()));
                    continue;
                }
            };
            let Some(answer) = answer else {
                bail!("the server ended the watch after {seen} events");
            };
            ensure!(!answer.canceled, "a watcher was canceled: {}", answer.cancel_reason);
            let now = start.elapsed();
            let mut tally = tally.lock().expect("recording does not panic");
            for event in &answer.events {
                let value = event.kv.as_ref().map_or(&[][..], |kv| &kv.value);
                let sent = sent(value).context("a put that this load did not make")?;
                tally.record(now.saturating_sub(sent), Ok(()));
            }
            drop(tally);
            shared.schedule.add_done(answer.events.len() as u64);
            seen += answer.events.len() as u64;
        }
    }

    fn expected(&self, puts: u64, keys: u64) -> u64 {
        self.watched.iter().map(|watched| watched.expected(puts, keys)).sum()
    }
}

impl Watched {
    /// Events of so many puts over so many keys, taken in order.
    fn expected(self, puts: u64, keys: u64) -> u64 {
        match self {
            Watched::All => puts,
            Watched::One(key) => puts / keys + u64::from(key < puts % keys),
        }
    }

    fn request(self, shared: &Shared) -> WatchRequest {
        let (key, range_end) = match self {
            Watched::All => (shared.keys.first(), shared.keys.end()),
            Watched::One(key) => (shared.keys.in_order(key), Bytes::new()),
        };
        let create = WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }
}

/// Puts one key after the other, over a connection of its own.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    rng: ChaCha8Rng,
}

impl Writer {
    /// Writer `number`.
    pub(crate) async fn open(number: usize, shared: &Shared) -> Result<Writer> {
        let connection = Connection::open(shared.target(number)).await?;
        let mut rng = ChaCha8Rng::seed_from_u64(shared.options.seed);
        rng.set_stream(number as u64);
        Ok(Writer { connection, rng })
    }

    /// Takes tickets until there are none. The last to end says how many there were.
    pub(crate) async fn run(mut self, shared: &Shared, start: Instant) -> Result<()> {
        while let Some(ticket) = shared.schedule.take() {
            let due = shared.schedule.due(ticket, start).await;
            let key = if shared.options.random {
                shared.keys.at_random(&mut self.rng)
            } else {
                shared.keys.in_order(ticket)
            };
            let value = stamped(due - start, &shared.keys.value(ticket));
            let put = PutRequest { key, value, ..PutRequest::default() };
            self.connection
                .unary::<PutResponse>(Call::Put, &put)
                .await
                .context("the writer's put")?;
        }
        if shared.writers.fetch_sub(1, AcqRel) == 1 {
            shared.puts.send_replace(Some(shared.schedule.taken()));
        }
        Ok(())
    }
}

/// The value with the time it was sent, in microseconds, in its first eight bytes.
fn stamped(sent: Duration, value: &Bytes) -> Bytes {
    let mut stamped = BytesMut::with_capacity(value.len());
    stamped.put_u64(u64::try_from(sent.as_micros()).expect("a run of less than 10^5 years"));
    stamped.extend_from_slice(&value[8..]);
    stamped.freeze()
}

fn sent(value: &[u8]) -> Option<Duration> {
    Some(Duration::from_micros(u64::from_be_bytes(*value.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stamp that changed the size of the value would change the load.
    #[test]
    fn a_stamp_survives_the_value_and_leaves_its_size() {
        let value = Bytes::from(vec![7; 256]);
        for micros in [0, 1, 86_400_000_000] {
            let time = Duration::from_micros(micros);
            let stamped = stamped(time, &value);
            assert_eq!((stamped.len(), &stamped[8..]), (256, &value[8..]));
            assert_eq!(sent(&stamped), Some(time));
        }
        assert_eq!(sent(b"short"), None);
    }

    /// One event too many in the count and the run would never end; one too few and a server that
    /// lost an event would go unnoticed.
    #[test]
    fn expected_events_are_counted_put_by_put() {
        for (puts, keys) in [(0, 3), (1, 3), (3, 3), (10, 3), (7, 1), (2, 5)] {
            for key in 0..keys {
                let counted = (0..puts).filter(|put| put % keys == key).count() as u64;
                assert_eq!(
                    Watched::One(key).expected(puts, keys),
                    counted,
                    "{key}: {puts}, {keys}"
                );
            }
            assert_eq!(Watched::All.expected(puts, keys), puts);
        }
    }
}
