//! Raw requests, for what `etcdctl` cannot ask: the same calls to real etcd and to ours.
//!
//! `SHOW=1 cargo test -p drystone-etcd wire::alarms -- --nocapture` prints what was answered.
//!
//! A scenario is an async function that makes calls through [`Wire`], which notes each answer under
//! the name of the step: the whole message, or the code and text of the error. It is run on both
//! servers side by side, and the notes must agree line by line once the same masks are on that the
//! sessions use.
//!
//! | room | asks about |
//! |---|---|
//! | [`range`] | bounds, limits, revisions, filters, orders |
//! | [`txn`] | compares on keys and ranges, nesting, budgets, refusals that leave no trace |
//! | [`parts`] | of ours alone: a range in parts, as etcd 3.7 has it |
//! | [`lease`] | odd times and ids, streams of keep-alives |
//! | [`watch`] | the order of messages, ids, filters, starts before and after history |
//! | [`service`] | sizes, alarms, members, hashes |
//!
//! etcd 3.4 can be brought down by some requests, and some answers changed until 3.6, which ours
//! follows. Those are asked of ours alone, in [`since36`], against the text of etcd 3.6.

mod lease;
mod parts;
mod range;
mod service;
mod since36;
mod txn;
mod watch;

use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::time::Duration;

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
};
use tonic::{Response, Status};

use crate::support::mask::Mask;
use crate::support::programs;
use crate::support::server::Server;

/// How long a scenario may take; most take a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to one server, and the answers noted so far.
struct Wire {
    client: Client,
    mask: Mask,
    notes: Vec<Note>,
}

/// The answer to one step, masked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    step: String,
    answer: Vec<String>,
}

impl Wire {
    async fn new(server: &Server) -> Wire {
        let client = connect(&server.client_url(), &Config::default()).await;
        let client = client.expect("a server that answers accepts connections");
        Wire { client, mask: Mask::new(server), notes: Vec::new() }
    }

    /// Notes the answer to `step` and hands the message on.
    fn note<T: Debug>(&mut self, step: &str, result: Result<Response<T>, Status>) -> Option<T> {
        let result = result.map(Response::into_inner);
        let answer = match &result {
            Ok(message) => self.mask.message(&format!("{message:#?}")),
            Err(status) => {
                let text = self.mask.text(status.message());
                vec![format!("error {:?}: {text}", status.code())]
            }
        };
        self.notes.push(Note { step: step.to_owned(), answer });
        result.ok()
    }

    async fn range(&mut self, step: &str, request: RangeRequest) {
        let result = self.client.kv().range(request).await;
        self.note(step, result);
    }

    async fn put(&mut self, step: &str, request: PutRequest) {
        let result = self.client.kv().put(request).await;
        self.note(step, result);
    }

    async fn delete(&mut self, step: &str, request: DeleteRangeRequest) {
        let result = self.client.kv().delete_range(request).await;
        self.note(step, result);
    }

    async fn txn(&mut self, step: &str, request: TxnRequest) {
        let result = self.client.kv().txn(request).await;
        self.note(step, result);
    }

    async fn compact(&mut self, step: &str, revision: i64) {
        let request = CompactionRequest { revision, physical: true };
        let result = self.client.kv().compact(request).await;
        self.note(step, result);
    }
}

/// A put of `value` at `key`.
fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

/// A read of one key.
fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

/// A read of `[key, end)`.
fn span(key: &str, end: &str) -> RangeRequest {
    RangeRequest { range_end: end.to_owned().into(), ..get(key) }
}

/// A deletion of one key.
fn del(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.to_owned().into(), ..DeleteRangeRequest::default() }
}

/// The notes of `scenario` on a fresh server.
fn play(program: &Path, scenario: &impl AsyncFn(&mut Wire)) -> Vec<Note> {
    let server = Server::start(program, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let mut wire = Wire::new(&server).await;
        if tokio::time::timeout(PATIENCE, scenario(&mut wire)).await.is_err() {
            let answer = vec!["no answer".to_owned()];
            wire.notes.push(Note { step: "the step after the last one".to_owned(), answer });
        }
        if std::env::var_os("SHOW").is_some() {
            for Note { step, answer } in &wire.notes {
                println!("== {step}\n{}", answer.join("\n"));
            }
        }
        wire.notes
    })
}

/// Plays `scenario` on both servers; fails with each step at which they disagree.
fn agree(name: &str, scenario: impl AsyncFn(&mut Wire) + Sync) {
    let Some(real) = programs::real_or_skip(&format!("wire::{name}")) else { return };
    agree_with(&real.etcd, name, scenario);
}

fn agree_with_3_5(name: &str, scenario: impl AsyncFn(&mut Wire) + Sync) {
    let Some(later) = programs::later_or_skip(&format!("wire::later::{name}")) else { return };
    agree_with(&later.etcd, name, scenario);
}

fn agree_with(etcd: &Path, name: &str, scenario: impl AsyncFn(&mut Wire) + Sync) {
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| play(etcd, &scenario));
        let ours = scope.spawn(|| play(&programs::ours(), &scenario));
        (theirs.join().expect("real etcd plays"), ours.join().expect("ours plays"))
    });
    assert!(theirs.len() >= 5, "{name} asks too little: {} steps", theirs.len());
    let text = disagreement(&theirs, &ours);
    assert!(text.is_empty(), "{name} (- etcd, + ours){text}");
}

/// The steps at which two lists of notes differ, as text.
fn disagreement(theirs: &[Note], ours: &[Note]) -> String {
    let mut text = String::new();
    for (theirs, ours) in theirs.iter().zip(ours).filter(|(theirs, ours)| theirs != ours) {
        let shown = crate::session::diff(&theirs.answer, &ours.answer);
        writeln!(text, "\n{}\n{shown}", theirs.step).expect("memory suffices");
    }
    if theirs.len() != ours.len() {
        writeln!(text, "\n{} steps, {} steps", theirs.len(), ours.len()).expect("memory suffices");
    }
    text
}

/// One test a scenario and release of etcd.
macro_rules! scenarios {
    ($($room:ident::$name:ident)*; $($old_room:ident::$old_name:ident)*) => {
        $(
            #[test]
            fn $name() {
                agree(stringify!($name), $room::$name);
            }
        )*
        $(
            #[test]
            fn $old_name() {
                agree(stringify!($old_name), $old_room::$old_name);
            }
        )*

        /// The same with etcd 3.5.
        mod later {
            $(
                #[test]
                fn $name() {
                    super::agree_with_3_5(stringify!($name), super::$room::$name);
                }
            )*
        }
    };
}

scenarios! {
    range::bounds range::limits range::revisions range::filters range::orders
    txn::compares txn::ranges_compared txn::nesting txn::budgets txn::refusals
    lease::grants lease::attachments lease::keep_alives
    watch::ids watch::events watch::filtered watch::past watch::future watch::compacted
    watch::fragments watch::progress
    service::writes service::sizes service::alarms service::hashes;
    // etcd 3.5.1 may leave the promotion of a member that is not there without an answer.
    service::cluster
}

/// The comparison must see a difference in any step, or agreement says nothing.
#[test]
fn disagreement_is_seen() {
    let note = |step: &str, line: &str| Note { step: step.into(), answer: vec![line.into()] };
    let theirs = [note("one", "a"), note("two", "b")];
    assert_eq!(disagreement(&theirs, &theirs), "");
    let ours = [note("one", "a"), note("two", "c")];
    assert!(disagreement(&theirs, &ours).contains("two"));
    assert!(disagreement(&theirs, &ours[..1]).contains("2 steps, 1 steps"));
}
