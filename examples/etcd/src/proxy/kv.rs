//! Keys: ranges answered from the cache where that is allowed, writes that the cache hears of.

use std::time::Instant;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use http::Response;
use pb::request_op::Request;
use prost::Message;
use tonic::Status;
use tonic::body::Body;

use super::asker::Asker;
use super::cache::{ANSWER_BYTES_MAX, Cache, Question, Span};
use super::message::{Framed, Kept};
use super::namespace::{Enter, Leave};
use super::{Head, Proxy};

impl Proxy {
    /// Serves a call of the KV service; `None` if there is no such method.
    pub(crate) async fn keys(
        &self,
        name: &str,
        head: &Head,
        framed: Framed,
    ) -> Option<Result<Response<Body>, Status>> {
        Some(match name {
            "Range" => self.range(head, framed).await,
            "Put" => {
                let spans = |put: &pb::PutRequest| vec![Span::new(&put.key, &Bytes::new())];
                self.write::<_, pb::PutResponse>(head, framed, spans).await
            }
            "DeleteRange" => {
                let spans = |it: &pb::DeleteRangeRequest| vec![Span::new(&it.key, &it.range_end)];
                self.write::<_, pb::DeleteRangeResponse>(head, framed, spans).await
            }
            "Txn" => self.write::<_, pb::TxnResponse>(head, framed, spans_of).await,
            "Compact" => self.compact(head, framed).await,
            _ => return None,
        })
    }

    async fn range(&self, head: &Head, framed: Framed) -> Result<Response<Body>, Status> {
        let mut request: pb::RangeRequest = framed.decode()?;
        let question = question(&head.asker, &request);
        if request.serializable
            && !head.asker.wants_leader
            && let Some(answer) = self.cache.find(&question, Instant::now())
        {
            return Ok(answer.into_response());
        }
        let about = (Span::new(&request.key, &request.range_end), request.revision);
        let begun = self.cache.begin();
        let framed = match self.namespace.is_none() {
            true => framed,
            false => {
                request.enter(&self.namespace)?;
                Framed::of(&request)
            }
        };
        let response = self.ask(head, framed, true).await?;
        let answer = if self.namespace.is_none() {
            let by = response.extensions().get().copied();
            let kept = Kept::of(response, ANSWER_BYTES_MAX, self.sizes.answer_max).await;
            match kept.inspect_err(|status| self.upstream.heed(by, status))? {
                Kept::Whole(answer) => answer,
                Kept::Large(response) => return Ok(response),
            }
        } else {
            self.answer_of::<pb::RangeResponse>(response).await?
        };
        self.cache.keep(question, answer.clone(), about, (begun, Instant::now()));
        Ok(answer.into_response())
    }

    async fn write<M, A>(
        &self,
        head: &Head,
        framed: Framed,
        spans: impl FnOnce(&M) -> Vec<Span>,
    ) -> Result<Response<Body>, Status>
    where
        M: Message + Default + Enter,
        A: Message + Default + Leave,
    {
        let mut request: M = framed.decode()?;
        let _noted = Noted::begin(&self.cache, spans(&request));
        let framed = match self.namespace.is_none() {
            true => framed,
            false => {
                request.enter(&self.namespace)?;
                Framed::of(&request)
            }
        };
        let response = self.ask(head, framed, false).await?;
        Ok(self.answer_of::<A>(response).await?.into_response())
    }

    async fn compact(&self, head: &Head, framed: Framed) -> Result<Response<Body>, Status> {
        let request: pb::CompactionRequest = framed.decode()?;
        let response = self.ask(head, framed, false).await?;
        let answer = self.collect(response).await?;
        self.cache.compact(request.revision);
        Ok(answer.into_response())
    }
}

/// Under what the answer to a range is kept: who asks, and what, whether or not it must be the
/// newest.
fn question(asker: &Asker, request: &pb::RangeRequest) -> Question {
    let request = pb::RangeRequest { serializable: true, ..request.clone() };
    Question { asker: asker.tokens(), request: request.encode_to_vec().into() }
}

/// What a transaction may write, and what it compared: who is told that a comparison failed looks
/// again, and must not see what he had before.
fn spans_of(txn: &pb::TxnRequest) -> Vec<Span> {
    let compared = txn.compare.iter().map(|it| Span::new(&it.key, &it.range_end));
    let mut spans: Vec<Span> = compared.collect();
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestPut(put)) => spans.push(Span::new(&put.key, &Bytes::new())),
            Some(Request::RequestDeleteRange(it)) => spans.push(Span::new(&it.key, &it.range_end)),
            Some(Request::RequestTxn(txn)) => spans.extend(spans_of(txn)),
            Some(Request::RequestRange(_)) | None => {}
        }
    }
    spans
}

/// A write that is under way, noted when it begins and when it has ended, however it ends.
struct Noted<'a> {
    cache: &'a Cache,
    spans: Vec<Span>,
}

impl Noted<'_> {
    fn begin(cache: &Cache, spans: Vec<Span>) -> Noted<'_> {
        cache.write(&spans);
        Noted { cache, spans }
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.cache.write(&self.spans);
    }
}
