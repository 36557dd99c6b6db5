//! A client with leases, which it keeps alive one after the other, as fast as the server answers.
//!
//! All leases of a client share a stream, as etcd's own client does it. They are not given back:
//! that would be as much work as taking them, and at the end of a run nobody measures it.

use std::{sync::Mutex, time::Instant};

use anyhow::{Context as _, Result};
use drystone_etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, lease_client,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{report::Tally, run::Shared};

/// Long enough that no lease ends during a run, short enough that none outlives it by much.
const TTL_SECONDS: i64 = 600;

/// One client with its leases and its stream.
#[derive(Debug)]
pub(crate) struct LeaseClient {
    ids: Vec<i64>,
    to_server: mpsc::Sender<LeaseKeepAliveRequest>,
    from_server: Streaming<LeaseKeepAliveResponse>,
}

impl LeaseClient {
    /// Takes `count` leases, one at least, and opens the stream that will keep them alive.
    pub(crate) async fn open(
        mut lease: lease_client::LeaseClient<Channel>,
        count: usize,
    ) -> Result<LeaseClient> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let grant = LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 };
            ids.push(lease.lease_grant(grant).await.context("granting a lease")?.into_inner().id);
        }
        let (to_server, requests) = mpsc::channel(1);
        // A server may send the head of its answer only with the first message: ask for one.
        let first = LeaseKeepAliveRequest { id: ids[0] };
        to_server.send(first).await.expect("its receiver is right here");
        let mut from_server =
            lease.lease_keep_alive(ReceiverStream::new(requests)).await?.into_inner();
        from_server.message().await?.context("the server ended the stream at once")?;
        Ok(LeaseClient { ids, to_server, from_server })
    }

    /// Takes tickets until there are none.
    pub(crate) async fn run(
        mut self,
        shared: &Shared,
        tally: &Mutex<Tally>,
        start: Instant,
    ) -> Result<()> {
        let mut turn = 0;
        while let Some(ticket) = shared.schedule.take() {
            let begin = shared.schedule.due(ticket, start).await;
            let outcome = self.keep_alive(self.ids[turn]).await;
            turn = (turn + 1) % self.ids.len();
            let broken = outcome.is_err();
            tally.lock().expect("recording does not panic").record(begin.elapsed(), outcome);
            shared.schedule.add_done(1);
            if broken {
                break;
            }
        }
        Ok(())
    }

    async fn keep_alive(&mut self, id: i64) -> Result<(), Status> {
        let ended = || Status::unavailable("the server ended the stream");
        self.to_server.send(LeaseKeepAliveRequest { id }).await.map_err(|_| ended())?;
        let answer = self.from_server.message().await?.ok_or_else(ended)?;
        if answer.ttl > 0 { Ok(()) } else { Err(Status::not_found("the lease is gone")) }
    }
}
