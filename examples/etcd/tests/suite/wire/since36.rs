//! What changed in etcd between 3.4 and 3.6, or would bring 3.4 down: asked of ours alone.
//!
//! Each test names the change, and holds our answer against the text of etcd 3.6.

use drystone_etcd_api::etcdserverpb::{
    AlarmRequest, HashKvRequest, RangeRequest, StatusRequest, WatchCreateRequest,
};
use tonic::{Code, Request};

use super::watch::{Watches, on, since};
use super::{Note, Wire, del, get, play, put, span};
use crate::support::{programs, skip};

/// The notes of `scenario` on ours; none where real etcd stands in for it.
fn ours(test: &str, scenario: &impl AsyncFn(&mut Wire)) -> Vec<Note> {
    let program = programs::ours();
    if program.file_name().is_some_and(|name| name == "etcd") {
        skip(test, "DRYSTONE_ETCD_BIN is real etcd, which may not survive it or answers otherwise");
        return Vec::new();
    }
    play(&program, scenario)
}

/// etcd 3.4 and 3.5.1 index an array with the sort target, and crash.
#[test]
fn unknown_sort_is_refused() {
    let notes = ours("unknown_sort_is_refused", &async |w: &mut Wire| {
        w.put("write", put("a", "1")).await;
        let bad = RangeRequest { sort_target: 9, sort_order: 1, ..span("a", "b") };
        w.range("target", bad).await;
        w.range("negative target", RangeRequest { sort_target: -1, ..span("a", "b") }).await;
        w.range("order", RangeRequest { sort_order: 9, ..span("a", "b") }).await;
        w.range("the server lives", get("a")).await;
    });
    let expected = "error InvalidArgument: etcdserver: invalid sort option";
    for note in notes.iter().skip(1).take(3) {
        assert_eq!(note.answer, [expected], "{}", note.step);
    }
    assert!(notes.iter().skip(4).all(|note| note.answer[0].starts_with("RangeResponse")));
}

/// Without authentication a token means nothing; etcd 3.4 judged it all the same.
#[test]
fn token_is_ignored_while_authentication_is_off() {
    ours("token_is_ignored_while_authentication_is_off", &async |w: &mut Wire| {
        for name in ["token", "authorization"] {
            let mut request = Request::new(get("a"));
            request.metadata_mut().insert(name, "bogus".parse().expect("it is plain text"));
            let answer = w.client.kv().range(request).await;
            assert!(answer.is_ok(), "{name}: {answer:?}");
        }
    });
}

/// The compacted revision itself can be hashed, as it can be read; etcd 3.4 refused it.
#[test]
fn compacted_revision_has_a_hash() {
    ours("compacted_revision_has_a_hash", &async |w: &mut Wire| {
        for _ in 0..4 {
            w.put("write", put("a", "1")).await;
        }
        w.compact("compact", 3).await;
        let answer = w.client.maintenance().hash_kv(HashKvRequest { revision: 3 }).await;
        let answer = answer.expect("it is answered").into_inner();
        assert_eq!((answer.compact_revision, answer.hash_revision), (3, 3));
        let below = w.client.maintenance().hash_kv(HashKvRequest { revision: 2 }).await;
        assert_eq!(below.map_err(|status| status.code()).err(), Some(Code::OutOfRange));
    });
}

/// A deletion at the compacted revision is still told; etcd before 3.5.16 forgot it, and a watcher
/// that resumed there kept a key that was gone.
#[test]
fn deletion_at_the_compacted_revision_is_told() {
    let notes = ours("deletion_at_the_compacted_revision_is_told", &async |w: &mut Wire| {
        w.put("write", put("a", "1")).await;
        w.delete("delete", del("a")).await;
        w.put("write", put("b", "1")).await;
        w.compact("compact", 3).await;
        let mut watches = Watches::open(w);
        watches.create(w, "from the deletion", since(on("a"), 3)).await;
        watches.next(w, "the deletion").await;
    });
    if let Some(last) = notes.last() {
        let told = |text: &str| last.answer.iter().any(|line| line.contains(text));
        assert!(told("r#type: Delete") && told("mod_revision: 3"), "{:#?}", last.answer);
    }
}

/// A watch cannot start before the beginning: it is made, then canceled as compacted.
#[test]
fn negative_start_is_canceled() {
    let notes = ours("negative_start_is_canceled", &async |w: &mut Wire| {
        w.put("write", put("a", "1")).await;
        let mut watches = Watches::open(w);
        watches.create(w, "negative", since(on("a"), -1)).await;
    });
    if let Some(last) = notes.last() {
        let told = |text: &str| last.answer.iter().any(|line| line.contains(text));
        assert!(told("created: true") && told("canceled: true"), "{:#?}", last.answer);
        assert!(told("required revision has been compacted"), "{:#?}", last.answer);
    }
}

/// Tools decide by these fields what a server can do, kube-apiserver among them.
#[test]
fn status_is_that_of_etcd_36() {
    ours("status_is_that_of_etcd_36", &async |w: &mut Wire| {
        let status = w.client.maintenance().status(StatusRequest {}).await;
        let status = status.expect("it is answered").into_inner();
        assert!(status.version.starts_with("3.6."), "{status:?}");
        assert!(status.storage_version.starts_with("3.6"), "{status:?}");
        assert!(status.db_size_quota > 0 && status.db_size > 0, "{status:?}");
        assert!(status.downgrade_info.is_some_and(|info| !info.enabled));
        assert!(status.raft_applied_index <= status.raft_index);
        let alarm = w.client.maintenance().alarm(AlarmRequest::default()).await;
        assert!(alarm.expect("it is answered").into_inner().header.is_some());
    });
}

/// Progress is a statement about watches that are there; asked too early, there is no answer.
#[test]
fn progress_waits_for_a_watch() {
    let notes = ours("progress_waits_for_a_watch", &async |w: &mut Wire| {
        let mut watches = Watches::open(w);
        // Nobody watches yet, so nothing can be said about progress; etcd 3.4 answered.
        watches.ask_progress().await;
        watches.create(w, "the first answer", WatchCreateRequest { watch_id: 3, ..on("a") }).await;
        w.put("write", put("a", "1")).await;
        watches.next(w, "event").await;
        watches.ask_progress().await;
        watches.next(w, "progress").await;
    });
    if let [first, .., progress] = notes.as_slice() {
        let said = |note: &Note, text: &str| note.answer.iter().any(|line| line.contains(text));
        assert!(said(first, "watch_id: 3") && said(first, "created: true"), "{first:#?}");
        assert!(said(progress, "watch_id: -1") && said(progress, "revision: 2"), "{progress:#?}");
    }
}
