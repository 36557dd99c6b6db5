//! Looks beside a server that is busy.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use drystone_kv::EngineKind;

use super::look::told;
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

/// How often it is looked, at least.
const LOOKS: usize = 15;
/// Puts that must have been acknowledged in the end, so that there was something to be seen.
const PUTS: usize = 200;
/// The engine is saved after so many puts, by request: otherwise a test is too short for it.
const SAVED_EVERY: usize = 40;

fn key(number: usize) -> String {
    format!("load/{number}")
}

/// A value that is not the same twice, and longer now and then.
fn value(number: usize) -> String {
    format!("{number}/{}", "v".repeat(number * 37 % 3000))
}

/// Has the writer end, whether the looks were good or not.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What was acknowledged before a look began is in what it shows, in order, and is known to be
/// committed; and neither side notices the other.
fn acknowledged_puts_are_found_beside_the_writer(kind: EngineKind) {
    let mut server = Server::start(&programs::ours(), programs::flags_of(kind));
    let data = server.data_dir();
    let (acknowledged, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (writing, counted, ended) = (&server, &acknowledged, &stop);
        let writer = scope.spawn(move || {
            in_a_runtime(async {
                let client = client_of(writing).await;
                for number in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    calls::put(&client, &key(number), value(number), 0).await;
                    counted.store(number + 1, Ordering::Release);
                    if number % SAVED_EVERY == 0 {
                        calls::save(&client).await;
                    }
                }
            });
        });
        let stopping = Stop(&stop);
        let mut looks = 0;
        while looks < LOOKS || acknowledged.load(Ordering::Acquire) < PUTS {
            assert!(!writer.is_finished(), "the server takes puts\n{}", server.log());
            let before = acknowledged.load(Ordering::Acquire);
            let told = told(&data, &[]);
            assert_eq!(told.code, Some(0), "look {looks}: {}", told.end);
            told.check_order();
            let puts = told.puts();
            assert!(puts.len() >= before, "{} of {before} acknowledged puts", puts.len());
            for (number, put) in puts.iter().enumerate() {
                let expected = (key(number), value(number), true);
                assert_eq!(*put, expected, "a member that votes alone has nothing in doubt");
            }
            let holder = &told.summary["holder"];
            assert_eq!(
                (&holder["state"], &holder["pid"]),
                (&"process".into(), &server.pid().into())
            );
            let engine = &told.summary["engine"];
            if engine.is_null() {
                // Nothing was saved yet.
                continue;
            }
            assert_eq!(engine["kind"], kind.name());
            let (keys, revision) = (engine["keys"].as_u64(), engine["revision"].as_u64());
            assert_eq!(keys.map(|keys| keys + 1), revision, "every put makes a key: {engine}");
            looks += 1;
        }
        drop(stopping);
    });
    let saved = told(&data, &["engine"]).summary["engine"]["keys"].as_u64();
    assert!(saved > Some(0), "the engine was saved meanwhile");
    assert!(server.is_running(), "{}", server.log());
    assert!(server.terminate().code().is_none_or(|code| code == 0), "{}", server.log());
}

#[test]
fn acknowledged_puts_are_found_beside_a_writer_of_memory() {
    acknowledged_puts_are_found_beside_the_writer(EngineKind::Memory);
}

#[test]
fn acknowledged_puts_are_found_beside_a_writer_of_btree() {
    acknowledged_puts_are_found_beside_the_writer(EngineKind::Btree);
}

#[test]
fn acknowledged_puts_are_found_beside_a_writer_of_lsm() {
    acknowledged_puts_are_found_beside_the_writer(EngineKind::Lsm);
}
