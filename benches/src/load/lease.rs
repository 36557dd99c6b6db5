//! A client with a lease, which it keeps alive as fast as the server answers.

use std::{sync::Mutex, time::Instant};

use anyhow::{Context as _, Result};
use drystone_etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
    lease_client,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{report::Tally, run::Shared};

/// Long enough that no lease ends during a run.
const TTL_SECONDS: i64 = 3600;

/// One client with its lease and its stream.
#[derive(Debug)]
pub(crate) struct LeaseClient {
    lease: lease_client::LeaseClient<Channel>,
    id: i64,
    to_server: mpsc::Sender<LeaseKeepAliveRequest>,
    from_server: Streaming<LeaseKeepAliveResponse>,
}

impl LeaseClient {
    /// Takes a lease and opens the stream that will keep it alive.
    pub(crate) async fn open(mut lease: lease_client::LeaseClient<Channel>) -> Result<LeaseClient> {
        let grant = LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 };
        let id = lease.lease_grant(grant).await.context("granting a lease")?.into_inner().id;
        let (to_server, requests) = mpsc::channel(1);
        // A server may send the head of its answer only with the first message: ask for one.
        to_server.send(LeaseKeepAliveRequest { id }).await.expect("its receiver is right here");
        let mut from_server =
            lease.lease_keep_alive(ReceiverStream::new(requests)).await?.into_inner();
        from_server.message().await?.context("the server ended the stream at once")?;
        Ok(LeaseClient { lease, id, to_server, from_server })
    }

    /// Takes tickets until there are none, then gives the lease back.
    pub(crate) async fn run(
        mut self,
        shared: &Shared,
        tally: &Mutex<Tally>,
        start: Instant,
    ) -> Result<()> {
        while let Some(ticket) = shared.schedule.take() {
            let begin = shared.schedule.due(ticket, start).await;
            let outcome = self.keep_alive().await;
            let broken = outcome.is_err();
            tally.lock().expect("recording does not panic").record(begin.elapsed(), outcome);
            shared.schedule.add_done(1);
            if broken {
                return Ok(());
            }
        }
        self.lease.lease_revoke(LeaseRevokeRequest { id: self.id }).await.context("revoking")?;
        Ok(())
    }

    async fn keep_alive(&mut self) -> Result<(), Status> {
        let ended = || Status::unavailable("the server ended the stream");
        let request = LeaseKeepAliveRequest { id: self.id };
        self.to_server.send(request).await.map_err(|_| ended())?;
        let answer = self.from_server.message().await?.ok_or_else(ended)?;
        if answer.ttl > 0 { Ok(()) } else { Err(Status::not_found("the lease is gone")) }
    }
}
