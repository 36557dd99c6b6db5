//! A store that notes what it is asked for and answers as it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use bytes::Bytes;
use drystone_etcd_api::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
        kv_server::{Kv, KvServer},
        request_op,
    },
    mvccpb::KeyValue,
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// What the server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Puts, by key: how often, and the size of the value.
    pub(crate) puts: Mutex<BTreeMap<Bytes, (u64, usize)>>,
    pub(crate) ranges: AtomicU64,
    /// Transactions that only read, and those that write.
    pub(crate) txn_reads: AtomicU64,
    pub(crate) txn_writes: AtomicU64,
    calls: AtomicU64,
}

/// How the server answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// Every so many-th put fails; 0 for none.
    pub(crate) fails_every: u64,
    /// Size of the values it returns.
    pub(crate) value_bytes: usize,
}

struct Store {
    manners: Manners,
    seen: Arc<Seen>,
}

/// Starts a server on a thread that ends with the process.
pub(crate) fn start(manners: Manners) -> (SocketAddr, Arc<Seen>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let store = Store { manners, seen: Arc::clone(&seen) };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            let router = Server::builder().add_service(KvServer::new(store));
            router.serve_with_incoming(incoming).await.unwrap();
        });
    });
    (addr, seen)
}

#[tonic::async_trait]
impl Kv for Store {
    type RangeStreamStream = tokio_stream::Empty<Result<RangeStreamResponse, Status>>;

    async fn range(&self, _: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        self.seen.ranges.fetch_add(1, Relaxed);
        let kv =
            KeyValue { value: vec![7; self.manners.value_bytes].into(), ..KeyValue::default() };
        Ok(Response::new(RangeResponse { kvs: vec![kv], count: 1, ..RangeResponse::default() }))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let call = self.seen.calls.fetch_add(1, Relaxed);
        if self.manners.fails_every > 0 && call.is_multiple_of(self.manners.fails_every) {
            return Err(Status::resource_exhausted("etcdserver: mvcc: database space exceeded"));
        }
        let put = request.into_inner();
        let mut puts = self.seen.puts.lock().unwrap();
        let (count, value_bytes) = puts.entry(put.key).or_default();
        *count += 1;
        *value_bytes = put.value.len();
        Ok(Response::new(PutResponse::default()))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let txn = request.into_inner();
        let write = matches!(txn.success[0].request, Some(request_op::Request::RequestPut(_)));
        let count = if write { &self.seen.txn_writes } else { &self.seen.txn_reads };
        count.fetch_add(1, Relaxed);
        Ok(Response::new(TxnResponse { succeeded: true, ..TxnResponse::default() }))
    }

    async fn range_stream(
        &self,
        _: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("not part of this store"))
    }

    async fn delete_range(
        &self,
        _: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        Err(Status::unimplemented("not part of this store"))
    }

    async fn compact(
        &self,
        _: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        Err(Status::unimplemented("not part of this store"))
    }
}
