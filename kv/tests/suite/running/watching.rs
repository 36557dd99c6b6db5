//! Watches over a real store: its journal, its sweeps, its restarts.
//!
//! What a watch promises in itself is tested beside the watch, over a history that obeys; here the
//! history is the store's.

mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use drystone_kv::command::{Command, DeleteRange, Put, Txn, TxnOp};
use drystone_kv::types::{KeyValue, LeaseId};
use drystone_kv::watch::{
    CancelReason, Event, EventKind, StreamOptions, WatchId, WatchMessage, WatchRequest, WatchStream,
};

use crate::common::{compact, delete, grant, put, put_on, range, revoke};
use crate::running::{Machine, ok, sweep};

pub(crate) use model::stream_options;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Flag>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Everything that a stream has to say for now; the flag says whether it has ended.
fn drain(stream: &mut WatchStream) -> (Vec<WatchMessage>, bool) {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut messages = Vec::new();
    loop {
        flag.0.store(false, Ordering::Relaxed);
        match stream.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(message)) => messages.push(message.expect("history is readable")),
            Poll::Ready(None) => return (messages, true),
            // It may only have paused for others.
            Poll::Pending if flag.0.load(Ordering::Relaxed) => {}
            Poll::Pending => return (messages, false),
        }
    }
}

pub(crate) fn said(stream: &mut WatchStream) -> Vec<WatchMessage> {
    drain(stream).0
}

/// The events of all messages, as `+key=value@revision` and `-key@revision`.
pub(crate) fn events(messages: &[WatchMessage]) -> Vec<String> {
    let mut told = Vec::new();
    for message in messages {
        let WatchMessage::Events { events, .. } = message else { continue };
        for Event { kind, kv, .. } in events {
            let [key, value] = [&kv.key, &kv.value].map(|bytes| String::from_utf8_lossy(bytes));
            told.push(match kind {
                EventKind::Put => format!("+{key}={value}@{}", kv.mod_revision),
                EventKind::Delete => format!("-{key}@{}", kv.mod_revision),
            });
        }
    }
    told
}

fn everything(start: Option<u64>) -> WatchRequest {
    WatchRequest { start, ..WatchRequest::new(range("\0", "\0")) }
}

// Trap 17. One revision, one message, in the order of the changes, as soon as the writer is
// answered.
#[test]
fn an_answered_write_has_reached_the_watchers() {
    let kv = Machine::new(1).open();
    let mut stream = kv.watch(StreamOptions::default());
    let id = stream.control().create(everything(None)).unwrap();
    assert_eq!(said(&mut stream), [WatchMessage::Created { id, revision: 1 }]);
    ok(&kv, put("a", "1"));
    let messages = said(&mut stream);
    assert!(matches!(messages[..], [WatchMessage::Events { revision: 2, .. }]), "{messages:?}");
    let ops = vec![
        TxnOp::Put(Put::new("c", "2")),
        TxnOp::DeleteRange(DeleteRange { range: range("a", ""), prev_kv: false }),
        TxnOp::Put(Put::new("b", "3")),
    ];
    ok(&kv, Command::Txn(Txn { success: ops, ..Txn::default() }));
    let messages = said(&mut stream);
    assert!(
        matches!(messages[..], [WatchMessage::Events { revision: 3, more_fragments: false, .. }]),
        "{messages:?}"
    );
    assert_eq!(events(&messages), ["+c=2@3", "-a@3", "+b=3@3"]);
    ok(&kv, delete("x", ""));
    assert_eq!(said(&mut stream), [], "nothing happened");
}

// Trap 13, 17. The end of a lease is one message, in key order.
#[test]
fn a_revocation_reaches_watchers_whole_and_in_key_order() {
    let kv = Machine::new(2).open();
    let mut stream = kv.watch(StreamOptions::default());
    stream.control().create(everything(None)).unwrap();
    ok(&kv, grant(7));
    for key in ["b", "c", "a"] {
        ok(&kv, put_on(key, "", 7));
    }
    said(&mut stream);
    ok(&kv, revoke(7));
    let messages = said(&mut stream);
    assert_eq!(
        (messages.len(), events(&messages)),
        (1, vec!["-a@5".into(), "-b@5".into(), "-c@5".into()])
    );
}

// Trap 17. Of a delete, nothing but the key and the revision; what was there, if asked for.
#[test]
fn a_delete_tells_the_key_and_what_was_there() {
    let kv = Machine::new(3).open();
    let mut stream = kv.watch(StreamOptions::default());
    let request = WatchRequest { prev_kv: true, ..everything(None) };
    stream.control().create(request).unwrap();
    ok(&kv, grant(7));
    ok(&kv, put_on("k", "v", 7));
    ok(&kv, put("k", "w"));
    ok(&kv, delete("k", ""));
    let messages = said(&mut stream);
    let events: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            WatchMessage::Events { events, .. } => Some(events[0].clone()),
            _ => None,
        })
        .collect();
    let stood = |value: &'static str, modified, version, lease| KeyValue {
        key: "k".into(),
        value: value.into(),
        create_revision: 2,
        mod_revision: modified,
        version,
        lease: LeaseId(lease),
    };
    let (first, second) = (stood("v", 2, 1, 7), stood("w", 3, 2, 0));
    let gone = KeyValue { key: "k".into(), mod_revision: 4, ..KeyValue::default() };
    let expected = [
        Event { kind: EventKind::Put, kv: first.clone(), prev: None },
        Event { kind: EventKind::Put, kv: second.clone(), prev: Some(first) },
        Event { kind: EventKind::Delete, kv: gone, prev: Some(second) },
    ];
    assert_eq!(events, expected);
}

// Trap 17. A revision too large for one message comes in fragments, all but the last marked.
#[test]
fn a_large_revision_comes_in_marked_fragments() {
    let kv = Machine::new(4).open();
    let options = StreamOptions { fragment_bytes_max: 3000, ..StreamOptions::default() };
    let mut stream = kv.watch(options);
    for fragment in [true, false] {
        stream.control().create(WatchRequest { fragment, ..everything(None) }).unwrap();
    }
    said(&mut stream);
    let op = |n| TxnOp::Put(Put::new(format!("k{n}"), vec![b'v'; 900]));
    ok(&kv, Command::Txn(Txn { success: (0..9).map(op).collect(), ..Txn::default() }));
    let mut marks = [vec![], vec![]];
    for message in said(&mut stream) {
        let WatchMessage::Events { id, events, more_fragments, revision: 2 } = message else {
            panic!("{message:?}")
        };
        marks[id.0 as usize].push((events.len(), more_fragments));
    }
    assert_eq!(marks, [vec![(3, true), (3, true), (3, false)], vec![(9, false)]]);
}

// Trap 18. Progress is told of the whole stream, when all of it is up to date, and then it is true.
#[test]
fn progress_is_told_when_all_watchers_are_up_to_date() {
    let kv = Machine::new(5).open();
    ok(&kv, put("a", "1"));
    let mut stream = kv.watch(StreamOptions::default());
    assert!(!stream.control().request_progress(), "there is no watcher");
    stream.control().create(everything(Some(2))).unwrap();
    assert!(!stream.control().request_progress(), "it has yet to see revision 2");
    assert_eq!(events(&said(&mut stream)), ["+a=1@2"]);
    assert!(stream.control().request_progress());
    assert_eq!(said(&mut stream), [WatchMessage::Progress { id: None, revision: 2 }]);
    ok(&kv, put("a", "2"));
    assert!(stream.control().request_progress());
    let messages = said(&mut stream);
    assert_eq!(events(&messages), ["+a=2@3"]);
    assert_eq!(messages.last(), Some(&WatchMessage::Progress { id: None, revision: 3 }));
    stream.control().create(everything(Some(9))).unwrap();
    assert!(!stream.control().request_progress(), "one waits for the future");
}

// Trap 19. Created first, then canceled with what is still readable, whether it was swept or not.
#[test]
fn a_watch_of_what_is_compacted_is_created_and_canceled() {
    let kv = Machine::new(6).open();
    for value in ["1", "2", "3"] {
        ok(&kv, put("k", value));
    }
    ok(&kv, compact(3));
    let reason = CancelReason::Compacted { compacted: 3 };
    for _ in 0..2 {
        let mut stream = kv.watch(StreamOptions::default());
        let id = stream.control().create(everything(Some(2))).unwrap();
        let expected = [
            WatchMessage::Created { id, revision: 4 },
            WatchMessage::Canceled { id, revision: 4, reason },
        ];
        assert_eq!(said(&mut stream), expected);
        sweep(&kv);
    }
}

// Trap 20. A watch of the future waits for it, on this store and on the same one after a restart.
#[test]
fn a_watch_of_the_future_does_not_fire_early() {
    let machine = Machine::new(7);
    let mut kv = machine.open();
    for restart in [false, true] {
        if restart {
            kv.persist().unwrap();
            drop(kv);
            kv = machine.open();
        }
        let now = kv.revision();
        let mut stream = kv.watch(StreamOptions::default());
        stream.control().create(everything(Some(now + 3))).unwrap();
        said(&mut stream);
        ok(&kv, put("k", "early"));
        ok(&kv, put("k", "early"));
        assert_eq!(said(&mut stream), []);
        ok(&kv, put("k", "due"));
        assert_eq!(events(&said(&mut stream)), [format!("+k=due@{}", now + 3)]);
    }
}

// Trap 21. etcd lost the delete at the compacted revision twice: to the compaction, and to a
// restart after it.
#[test]
fn a_watch_from_the_compacted_revision_sees_its_delete() {
    let machine = Machine::new(8);
    let mut kv = machine.open();
    ok(&kv, put("k", "v"));
    ok(&kv, put("l", "v"));
    ok(&kv, delete("k", ""));
    ok(&kv, compact(4));
    for stage in ["compacted", "swept", "started again", "persisted and started again"] {
        match stage {
            "swept" => sweep(&kv),
            "started again" => {
                drop(kv);
                kv = machine.open();
            }
            "persisted and started again" => {
                sweep(&kv);
                kv.persist().unwrap();
                drop(kv);
                kv = machine.open();
            }
            _ => {}
        }
        for request in
            [everything(Some(4)), WatchRequest { range: range("k", ""), ..everything(Some(4)) }]
        {
            let mut stream = kv.watch(StreamOptions::default());
            stream.control().create(request.clone()).unwrap();
            assert_eq!(events(&said(&mut stream)), ["-k@4"], "{stage}: {request:?}");
        }
    }
}

// Trap 21, and further than etcd goes: what the compacted revision did to one key more than once is
// all there for the watch that starts at it, swept or not.
#[test]
fn a_watch_from_the_compacted_revision_sees_all_of_it() {
    let machine = Machine::new(11);
    let mut kv = machine.open();
    ok(&kv, put("k", "old"));
    let all = DeleteRange { range: range("\0", "\0"), prev_kv: false };
    let ops = vec![TxnOp::DeleteRange(all), TxnOp::Put(Put::new("k", "new"))];
    ok(&kv, Command::Txn(Txn { success: ops, ..Txn::default() }));
    ok(&kv, compact(3));
    for _ in 0..3 {
        for request in [everything(Some(3)), WatchRequest::new(range("k", ""))] {
            let mut stream = kv.watch(StreamOptions::default());
            stream.control().create(WatchRequest { start: Some(3), ..request }).unwrap();
            assert_eq!(events(&said(&mut stream)), ["-k@3", "+k=new@3"]);
        }
        sweep(&kv);
        kv.persist().unwrap();
        drop(kv);
        kv = machine.open();
    }
    ok(&kv, put("l", ""));
    ok(&kv, compact(4));
    sweep(&kv);
    assert_eq!(kv.status().engine.records[1], 2, "a later compaction takes the delete");
}

// Catching up reads the store's records; a restart in between leaves them the same.
#[test]
fn a_watch_catches_up_from_a_store_that_was_opened_again() {
    let machine = Machine::new(9);
    let kv = machine.open();
    for n in 0..50 {
        ok(&kv, Command::Put(Put::new(format!("k{}", n % 5), format!("{n}"))));
    }
    kv.persist().unwrap();
    for n in 50..60 {
        ok(&kv, Command::Put(Put::new(format!("k{}", n % 5), format!("{n}"))));
    }
    drop(kv);
    let kv = machine.open();
    let mut stream = kv.watch(StreamOptions::default());
    stream.control().create(everything(Some(2))).unwrap();
    let expected: Vec<_> = (0..60).map(|n| format!("+k{}={n}@{}", n % 5, n + 2)).collect();
    assert_eq!(events(&said(&mut stream)), expected);
    let single = WatchRequest { range: range("k3", ""), ..everything(Some(2)) };
    let id = stream.control().create(single).unwrap();
    assert_eq!(id, WatchId(1));
    let of_one: Vec<_> = expected.into_iter().filter(|event| event.starts_with("+k3=")).collect();
    assert_eq!(events(&said(&mut stream)), of_one);
}

// Nobody waits on a store that is no more.
#[test]
fn a_shutdown_ends_the_streams_after_what_they_have_to_say() {
    let kv = Machine::new(10).open();
    let mut stream = kv.watch(StreamOptions::default());
    stream.control().create(everything(None)).unwrap();
    ok(&kv, put("k", "v"));
    kv.shutdown();
    let (messages, ended) = drain(&mut stream);
    assert_eq!((events(&messages), ended), (vec!["+k=v@2".to_owned()], true));
}
