//! Keys: ranges answered here where that is allowed, writes that others have to hear of first.
//!
//! ```text
//!   range ──► held by a lease? ──► kept, and it may be old? ──► a member, within the namespace
//!   write ──► the cache hears of it ──► nobody else holds it ──► a member, within the namespace
//! ```

use std::time::Instant;

use drystone_etcd_api::etcdserverpb as pb;
use http::Response;
use prost::Message as _;
use tonic::Status;
use tonic::body::Body;

use super::asker::Asker;
use super::cache::{ANSWER_BYTES_MAX, Cache, Question, Span};
use super::change::Change;
use super::message::{Framed, Kept};
use super::namespace::Enter as _;
use super::order::{self, header_of};
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
            "RangeStream" if self.keeps_order && self.namespace.is_none() => {
                match framed.decode::<pb::RangeRequest>() {
                    Ok(range) => {
                        let newest = pb::RangeRequest { serializable: false, ..range };
                        self.relay(head, Framed::of(&newest), true).await
                    }
                    Err(status) => Err(status),
                }
            }
            "Compact" => self.compact(head, framed).await,
            _ => match Change::of(name, &framed)? {
                Ok(change) => self.write(head, framed, change).await,
                Err(status) => Err(status),
            },
        })
    }

    async fn range(&self, head: &Head, framed: Framed) -> Result<Response<Body>, Status> {
        let mut request: pb::RangeRequest = framed.decode()?;
        let (question, floor) = (question(&head.asker, &request), self.floor());
        if let Some(answer) = self.range_leased(head, &request).await {
            return Ok(answer.into_response());
        }
        let is_good = |answer: &Framed| order::is_of(answer, floor);
        if request.serializable
            && !head.asker.wants_leader
            && let Some(answer) = self.cache.find(&question, Instant::now(), is_good)
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
        let answer = if floor > 0 && request.serializable {
            self.range_from(head, request, floor).await?
        } else {
            let response = self.ask(head, framed, true).await?;
            if self.namespace.is_none() && !self.newest.is_kept() {
                let by = response.extensions().get().cloned();
                let kept = Kept::of(response, ANSWER_BYTES_MAX, self.sizes.answer_max).await;
                match kept.inspect_err(|status| self.upstream.heed(by, status))? {
                    Kept::Whole(answer) => answer,
                    Kept::Large(response) => return Ok(response),
                }
            } else {
                self.collect(response).await?
            }
        };
        self.heard(&answer);
        let answer = self.left::<pb::RangeResponse>(answer)?;
        self.cache.keep(question, answer.clone(), about, (begun, Instant::now()));
        Ok(answer.into_response())
    }

    async fn write(
        &self,
        head: &Head,
        framed: Framed,
        mut change: Change,
    ) -> Result<Response<Body>, Status> {
        let _noted = Noted::begin(&self.cache, change.touched());
        if self.keeps_order {
            change.linearize();
        }
        if let Some(leasing) = self.leasing.as_ref().filter(|_| !change.written().is_empty()) {
            framed.check(self.sizes)?;
            return Ok(self.write_leased(leasing, head, change).await?.into_response());
        }
        let framed = match self.namespace.is_none() && !self.keeps_order {
            true => framed,
            false => {
                change.enter(&self.namespace)?;
                change.framed()
            }
        };
        let response = self.ask(head, framed, false).await?;
        let answer = self.collect(response).await?;
        self.heard(&answer);
        let answer = match change {
            Change::Put(_) => self.left::<pb::PutResponse>(answer),
            Change::Delete(_) => self.left::<pb::DeleteRangeResponse>(answer),
            Change::Txn(_) => self.left::<pb::TxnResponse>(answer),
        };
        Ok(answer?.into_response())
    }

    async fn compact(&self, head: &Head, framed: Framed) -> Result<Response<Body>, Status> {
        let request: pb::CompactionRequest = framed.decode()?;
        let response = self.ask(head, framed, false).await?;
        let answer = self.collect(response).await?;
        self.heard(&answer);
        self.cache.compact(request.revision);
        Ok(answer.into_response())
    }

    /// A member has given this answer.
    fn heard(&self, answer: &Framed) {
        if self.newest.is_kept() {
            self.newest.note(header_of(answer));
        }
    }
}

/// Under what the answer to a range is kept: who asks, and what, whether or not it must be the
/// newest.
fn question(asker: &Asker, request: &pb::RangeRequest) -> Question {
    let request = pb::RangeRequest { serializable: true, ..request.clone() };
    Question { asker: asker.tokens(), request: request.encode_to_vec().into() }
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
