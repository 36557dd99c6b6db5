//! A client that makes one call at a time: puts, ranges, transactions.

use std::{sync::Mutex, time::Instant};

use drystone_etcd_api::etcdserverpb::{
    Compare, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::Status;

use super::{
    Span, Workload,
    connection::{Call, Connection},
    report::Tally,
    run::Shared,
};

/// One client of many.
#[derive(Debug)]
pub(crate) struct UnaryClient {
    connection: Connection,
    rng: ChaCha8Rng,
}

impl UnaryClient {
    /// Client `number` over `connection`.
    pub(crate) fn new(number: u64, connection: Connection, shared: &Shared) -> UnaryClient {
        let mut rng = ChaCha8Rng::seed_from_u64(shared.options.seed);
        rng.set_stream(number);
        UnaryClient { connection, rng }
    }

    /// Takes tickets until there are none.
    pub(crate) async fn run(mut self, shared: &Shared, tally: &Mutex<Tally>, start: Instant) {
        while let Some(ticket) = shared.schedule.take() {
            let begin = shared.schedule.due(ticket, start).await;
            let outcome = self.call(shared, ticket).await;
            let time = begin.elapsed();
            tally.lock().expect("recording does not panic").record(time, outcome);
            shared.schedule.add_done(1);
        }
    }

    async fn call(&mut self, shared: &Shared, ticket: u64) -> Result<(), Status> {
        let keys = &shared.keys;
        let key = if shared.options.random {
            keys.at_random(&mut self.rng)
        } else {
            keys.in_order(ticket)
        };
        match shared.workload {
            Workload::Put => {
                let put = PutRequest { key, value: keys.value(ticket), ..PutRequest::default() };
                self.connection.unary::<PutResponse>(Call::Put, &put).await.map(drop)
            }
            Workload::Range { serializable, limit, count_only, span } => {
                let (key, range_end) = match span {
                    Span::One => (key, bytes::Bytes::new()),
                    Span::Rest => (key, keys.end()),
                    Span::All => (keys.first(), keys.end()),
                };
                let range = RangeRequest {
                    key,
                    range_end,
                    limit,
                    serializable,
                    count_only,
                    ..RangeRequest::default()
                };
                self.connection.unary::<RangeResponse>(Call::Range, &range).await.map(drop)
            }
            Workload::TxnMixed { reads } => {
                let op = if self.rng.random_range(0..100) < reads {
                    let range = RangeRequest { key: key.clone(), ..RangeRequest::default() };
                    Request::RequestRange(range)
                } else {
                    let (key, value) = (key.clone(), keys.value(ticket));
                    Request::RequestPut(PutRequest { key, value, ..PutRequest::default() })
                };
                let txn = guarded(key, op);
                self.connection.unary::<TxnResponse>(Call::Txn, &txn).await.map(drop)
            }
            Workload::Mixed { reads } => {
                if self.rng.random_range(0..100) < reads {
                    let range = RangeRequest { key, ..RangeRequest::default() };
                    return self
                        .connection
                        .unary::<RangeResponse>(Call::Range, &range)
                        .await
                        .map(drop);
                }
                let put = PutRequest { key, value: keys.value(ticket), ..PutRequest::default() };
                self.connection.unary::<PutResponse>(Call::Put, &put).await.map(drop)
            }
            Workload::Watch { .. } | Workload::LeaseKeepalive { .. } => {
                unreachable!("these have clients of their own")
            }
        }
    }
}

/// A transaction whose condition has to be looked up and always holds.
fn guarded(key: bytes::Bytes, op: Request) -> TxnRequest {
    let guard = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key,
        target_union: Some(TargetUnion::Version(-1)),
        ..Compare::default()
    };
    let success = vec![RequestOp { request: Some(op) }];
    TxnRequest { compare: vec![guard], success, failure: vec![] }
}
