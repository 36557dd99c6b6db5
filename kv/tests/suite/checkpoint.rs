//! A state on its way from one store to another: what arrives is what was frozen, whichever engines
//! the two have and whatever was written meanwhile; and what does not arrive whole is no state.

use std::io;
use std::path::Path;
use std::sync::Arc;

use drystone_kv::checkpoint::{Damaged, load};
use drystone_kv::command::{Command, Put};
use drystone_kv::engine::Engine as _;
use drystone_kv::engines::{AnyEngine, EngineConfig};
use drystone_kv::limits::Limits;
use drystone_kv::mem::Mem;
use drystone_kv::{EngineKind, Store};
use drystone_vfs::{MemVfs, SimClock, SimVfs, Vfs};
use rand::RngExt as _;

use crate::common::{Bench, delete, dump, each_seed, grant, put, put_on, read_at};
use crate::requests::Requests;
use drystone_kv_model::Model;

const DIR: &str = "engine";
/// Bytes of a stream before its first frame, and of a frame before its payload.
const HEADER_BYTES: usize = 40;
const FRAME_HEAD_BYTES: usize = 12;

/// A disk with an engine of some kind on it.
pub(crate) struct Home {
    kind: EngineKind,
    vfs: Arc<dyn Vfs>,
}

impl Home {
    pub(crate) fn new(kind: EngineKind) -> Home {
        Home { kind, vfs: Arc::new(MemVfs::new()) }
    }

    pub(crate) fn open(&self) -> AnyEngine {
        let config =
            EngineConfig { kind: self.kind, background: false, memory_bytes: None, room: None };
        let clock = Arc::new(SimClock::new());
        AnyEngine::open(self.vfs.clone(), clock, Path::new(DIR), &config).expect("in order")
    }
}

/// The bytes of a store's state as of now.
pub(crate) fn stream_of<E: drystone_kv::engine::Engine>(store: &Store<E>) -> Vec<u8> {
    let mut stream = Vec::new();
    let checkpoint = store.checkpoint().expect("the engine is in order");
    checkpoint.write(&mut stream).expect("memory takes everything");
    stream
}

/// Asserts that a store stands where the model does, at every readable revision, and has the hashes
/// given.
fn assert_stands<E: drystone_kv::engine::Engine>(
    store: &Store<E>,
    oracle: &Model,
    applied: u64,
    hashes: &[u32],
) {
    let status = store.status();
    assert_eq!((status.revision, status.compacted), (oracle.revision, oracle.compacted));
    assert_eq!((status.applied, status.leases), (applied, oracle.leases.len()));
    assert_eq!(status.alarms, oracle.alarms.iter().copied().collect::<Vec<_>>());
    assert_eq!(*store.cluster(), oracle.cluster);
    for (&id, &ttl) in &oracle.leases {
        let lease = store.lease(id).expect("the lease stands");
        assert_eq!(lease.ttl, ttl);
        assert!(lease.keys.iter().eq(&oracle.keys_of(id)));
    }
    for at in oracle.compacted.unwrap_or(0)..=oracle.revision {
        let all = read_at("\0", "\0", at);
        assert_eq!(crate::common::refusal(store.range(&all)), oracle.range(&all), "at {at}");
    }
    assert_eq!(self::hashes(store, oracle), hashes);
}

/// The hash of every readable revision.
fn hashes<E: drystone_kv::engine::Engine>(store: &Store<E>, oracle: &Model) -> Vec<u32> {
    let readable = oracle.compacted.unwrap_or(0)..=oracle.revision;
    readable.map(|at| store.hash(Some(at)).expect("the revision is readable").hash).collect()
}

// A follower on any engine is brought up by a leader on any other, which goes on writing, sweeping
// and compacting while the state is read. What arrives is the instant that was frozen; from there
// on the follower goes on as if it had been there all the time, and over a restart.
#[test]
fn what_arrives_is_what_was_frozen() {
    each_seed("what_arrives_is_what_was_frozen", 12, 400, |seed| {
        let mut requests = Requests::new(seed);
        let from = EngineKind::ALL[(seed % 3) as usize];
        let home = Home::new(from);
        let leader = Bench::over(home.open());
        let mut oracle = Model::new();
        let step = |requests: &mut Requests, oracle: &mut Model| {
            let command = requests.command(oracle);
            if Limits::default().check(&command).is_err() {
                return None;
            }
            let outcome = oracle.apply(&command);
            assert_eq!(leader.apply(&command), outcome, "{command:?}");
            if requests.percent(30) {
                leader.store.sweep_step().expect("the disk is in order");
            }
            Some((command, outcome))
        };
        for _ in 0..requests.random.random_range(0..250) {
            step(&mut requests, &mut oracle);
        }
        let frozen = oracle.clone();
        let applied = leader.store.status().applied;
        let expected = hashes(&leader.store, &oracle);
        let checkpoint = leader.store.checkpoint().expect("the disk is in order");
        assert_eq!((checkpoint.applied(), checkpoint.revision()), (applied, frozen.revision));

        let later: Vec<_> = (0..100).filter_map(|_| step(&mut requests, &mut oracle)).collect();
        leader.sweep();
        leader.store.persist().expect("the disk is in order");
        let mut stream = Vec::new();
        checkpoint.write(&mut stream).expect("memory takes everything");
        let mut again = Vec::new();
        checkpoint.write(&mut again).expect("memory takes everything");
        assert_eq!(stream, again, "a frozen state does not change");

        for to in EngineKind::ALL {
            let home = Home::new(to);
            let engine = home.open();
            assert_eq!(load(&engine, &mut &stream[..]).expect("a whole stream"), applied);
            drop(engine);
            let follower = Bench::over(home.open());
            assert_stands(&follower.store, &frozen, applied, &expected);
            assert_eq!(stream_of(&follower.store), stream, "the same state is the same stream");
            for (command, outcome) in &later {
                assert_eq!(follower.apply(command), *outcome, "{from} to {to}: {command:?}");
            }
            follower.sweep();
            assert_eq!(dump(&*follower.store.engine()), dump(&*leader.store.engine()));
        }
    });
}

// A state is read on a thread of its own, while the store is written to; it is never a bit of one
// batch and a bit of the next.
#[test]
fn a_state_is_frozen_between_two_batches() {
    for kind in EngineKind::ALL {
        let home = Home::new(kind);
        let leader = Bench::over(home.open());
        let store = &leader.store;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..300_u64 {
                    // All of a group says the same, so that half of it would show.
                    let key = |i| format!("k{i}");
                    let puts = (0..20).map(|i| Command::Put(Put::new(key(i), n.to_string())));
                    leader_apply(store, n * 20, &puts.collect::<Vec<_>>());
                }
            });
            while !writer.is_finished() {
                let checkpoint = store.checkpoint().expect("the disk is in order");
                let applied = checkpoint.applied();
                assert_eq!((applied % 20, checkpoint.revision()), (0, applied + 1));
                let stream = scope.spawn(move || {
                    let mut stream = Vec::new();
                    checkpoint.write(&mut stream).expect("memory takes everything");
                    stream
                });
                let engine = Mem::volatile();
                let stream = stream.join().expect("nothing panics");
                assert_eq!(load(&engine, &mut &stream[..]).expect("whole"), applied);
                let follower = Store::open(engine).expect("a state");
                assert_eq!(follower.revision(), applied + 1);
                let all = follower.range(&read_at("k", "l", applied + 1)).expect("readable");
                let said = (applied / 20).wrapping_sub(1).to_string();
                assert!(all.kvs.iter().all(|kv| kv.value == said), "{kind} at {applied}");
            }
            writer.join().expect("nothing panics");
        });
    }
}

fn leader_apply<E: drystone_kv::engine::Engine>(store: &Store<E>, after: u64, all: &[Command]) {
    let numbered = (after + 1..).zip(all);
    store.apply(numbered).expect("the disk is in order");
}

// Whoever streams a state does not keep its store from being closed.
#[test]
fn a_checkpoint_outlives_its_store() {
    for kind in EngineKind::ALL {
        let home = Home::new(kind);
        let bench = Bench::over(home.open());
        bench.ok(&put("k", "v"));
        let expected = stream_of(&bench.store);
        let checkpoint = bench.store.checkpoint().expect("the disk is in order");
        bench.ok(&put("k", "w"));
        drop(bench);
        let mut stream = Vec::new();
        checkpoint.write(&mut stream).expect("memory takes everything");
        assert!(stream == expected, "{kind}");
    }
}

/// A stream of a few frames.
fn sample() -> Vec<u8> {
    let bench = Bench::new();
    bench.ok(&grant(7));
    for n in 0..6_u8 {
        bench.ok(&Command::Put(Put::new(vec![b'a' + n], vec![n; 30_000])));
    }
    bench.ok(&put_on("leased", "", 7));
    stream_of(&bench.store)
}

/// Where each frame of a stream begins, and where the last one ends.
fn boundaries(stream: &[u8]) -> Vec<usize> {
    let mut at = HEADER_BYTES;
    let mut boundaries = vec![at];
    while at < stream.len() {
        let len = u32::from_le_bytes(stream[at + 4..at + 8].try_into().expect("four bytes"));
        at += FRAME_HEAD_BYTES + len as usize;
        boundaries.push(at);
    }
    boundaries
}

/// Asserts that a stream is refused as damaged, and leaves nothing that could be taken for a store,
/// not even over a restart.
#[track_caller]
fn assert_refused(stream: &[u8], what: &str) {
    for kind in EngineKind::ALL {
        let home = Home::new(kind);
        let engine = home.open();
        let error = load(&engine, &mut &stream[..]).expect_err(what);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
        let inside = error.get_ref().expect("it says what and where");
        let damaged = inside.downcast_ref::<Damaged>().expect("as a type");
        assert!(damaged.offset <= stream.len() as u64);
        // The worst: all that was written is durable.
        engine.persist().expect("the disk is in order");
        drop(engine);
        let engine = home.open();
        assert!(Store::open(engine).is_err(), "{what}: half a state opens on {kind}");
    }
}

// A connection breaks anywhere.
#[test]
fn a_stream_that_is_cut_is_refused_wherever_it_was_cut() {
    let stream = sample();
    let boundaries = boundaries(&stream);
    assert!(boundaries.len() >= 7, "{boundaries:?}");
    assert_eq!(boundaries.last(), Some(&stream.len()));
    for &at in &boundaries {
        for at in [at - 1, at, at + 1, at + FRAME_HEAD_BYTES] {
            if at < stream.len() {
                assert_refused(&stream[..at], &format!("cut at {at}"));
            }
        }
    }
    for at in 0..HEADER_BYTES {
        assert_refused(&stream[..at], &format!("cut at {at}"));
    }
    // What comes behind is somebody else's, and is left to be read.
    let more = [&stream[..], b"more"].concat();
    let mut rest = &more[..];
    load(&Mem::volatile(), &mut rest).expect("the stream is whole");
    assert_eq!(rest, b"more");
}

// Frames are not only sound, they are all there, once, in their places, and of one stream.
#[test]
fn frames_that_are_lost_moved_or_strange_are_refused() {
    let stream = sample();
    let cuts = boundaries(&stream);
    let frame = |n: usize| &stream[cuts[n]..cuts[n + 1]];
    let frames = cuts.len() - 1;
    for lost in 0..frames {
        let kept = (0..frames).filter(|n| *n != lost).flat_map(frame);
        let kept: Vec<u8> = stream[..HEADER_BYTES].iter().chain(kept).copied().collect();
        assert_refused(&kept, &format!("without frame {lost}"));
        if lost + 1 < frames {
            let twice = [&stream[..cuts[lost + 1]], &stream[cuts[lost]..]].concat();
            assert_refused(&twice, &format!("frame {lost} twice"));
        }
    }
    for n in 0..frames - 1 {
        let swapped = [&stream[..cuts[n]], frame(n + 1), frame(n), &stream[cuts[n + 2]..]].concat();
        assert_refused(&swapped, &format!("frame {n} behind the next"));
    }
    let bench = Bench::new();
    bench.ok(&put("k", "v"));
    let other = stream_of(&bench.store);
    let grafted = [&other[..HEADER_BYTES], &stream[HEADER_BYTES..]].concat();
    assert_refused(&grafted, "the frames of another stream");
}

// Bits rot, and hostile bytes come in; each is found.
#[test]
fn damage_is_found_wherever_it_is() {
    let bench = Bench::new();
    for command in [grant(7), put("k", "v"), put_on("l", "w", 7)] {
        bench.ok(&command);
    }
    let stream = stream_of(&bench.store);
    for at in 0..stream.len() {
        let mut damaged = stream.clone();
        damaged[at] ^= 1 << (at % 8);
        assert_refused(&damaged, &format!("byte {at} of {}", stream.len()));
    }
    each_seed("damage_is_found_wherever_it_is", 20, 2000, |seed| {
        let mut requests = Requests::new(seed);
        let mut noise = requests.bytes(400);
        assert_refused(&noise, "noise");
        // With a header, so that there is something to believe.
        noise.splice(..0, stream[..HEADER_BYTES].iter().copied());
        assert_refused(&noise, "noise behind a header");
    });
}

/// Fails once so much was read or written.
struct Failing {
    left: usize,
    stream: Vec<u8>,
}

impl Failing {
    fn take(&mut self, len: usize) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the peer is gone"));
        }
        // Small pieces, as a connection gives them.
        let len = len.min(self.left).min(1000);
        self.left -= len;
        Ok(len)
    }
}

impl io::Read for Failing {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let len = self.take(room.len())?;
        room[..len].copy_from_slice(&self.stream[..len]);
        self.stream.drain(..len);
        Ok(len)
    }
}

impl io::Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.take(bytes.len())?;
        self.stream.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// A broken connection is no damaged state: the caller tries again for the one, not the other.
#[test]
fn what_the_connection_says_is_passed_on() {
    let bench = Bench::new();
    for n in 0..6_u8 {
        bench.ok(&Command::Put(Put::new(vec![b'a' + n], vec![n; 30_000])));
    }
    let stream = stream_of(&bench.store);
    for left in [0, 20, 40, 45, 70_000, stream.len() - 1] {
        let mut reader = Failing { left, stream: stream.clone() };
        let error = load(&Mem::volatile(), &mut reader).expect_err("the peer is gone");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut writer = Failing { left, stream: Vec::new() };
        let checkpoint = bench.store.checkpoint().expect("memory does not fail");
        let error = checkpoint.write(&mut writer).expect_err("the peer is gone");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(writer.stream, stream[..left]);
    }
    let mut pieces = Failing { left: stream.len(), stream };
    load(&Mem::volatile(), &mut pieces).expect("the stream came in pieces, and whole");
}

// The power goes while a state comes in, or right after. What is in the folder then is all of it,
// or nothing, or something that says that it is not all.
#[test]
fn a_crash_leaves_a_whole_state_or_none() {
    let stream = sample();
    let applied = load(&Mem::volatile(), &mut &stream[..]).expect("the stream is whole");
    for kind in EngineKind::ALL {
        for seed in 0..10 {
            for left in [0, 50, 40_000, 100_000, stream.len() - 1, stream.len()] {
                let disk = SimVfs::new(seed);
                let home = Home { kind, vfs: Arc::new(disk.clone()) };
                let engine = home.open();
                let loaded = load(&engine, &mut Failing { left, stream: stream.clone() });
                assert_eq!(loaded.is_ok(), left == stream.len());
                let crashed = Home { kind, vfs: Arc::new(disk.crash()) };
                drop(engine);
                let engine = crashed.open();
                let is_empty = dump(&engine).is_empty();
                match Store::open(engine) {
                    Ok(store) if loaded.is_ok() => assert_eq!(store.status().applied, applied),
                    Ok(_) => assert!(is_empty, "{kind}: a part of a state, cut at {left}"),
                    Err(error) => assert!(loaded.is_err(), "{kind}: {error}"),
                }
            }
        }
    }
}

// What is in an engine already would be a part of the state.
#[test]
fn only_an_empty_engine_is_filled() {
    let bench = Bench::new();
    bench.ok(&put("k", "v"));
    let stream = stream_of(&bench.store);
    let engine = Mem::volatile();
    load(&engine, &mut &stream[..]).expect("the stream is whole");
    let before = dump(&engine);
    let error = load(&engine, &mut &stream[..]).expect_err("there is a state in it");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(dump(&engine), before);
    // A fresh store has a state, too: an empty one.
    let fresh = stream_of(&Bench::new().store);
    let engine = Mem::volatile();
    assert_eq!(load(&engine, &mut &fresh[..]).expect("the stream is whole"), 0);
    assert_eq!(Store::open(engine).expect("fresh").revision(), 1);
}

// Who asks for what came since a revision must get all of it, and nothing before; and find the
// newest record although the newest revision has none.
#[test]
fn records_of_some_revisions_are_all_there_and_no_others() {
    for kind in EngineKind::ALL {
        let home = Home::new(kind);
        let bench = Bench::over(home.open());
        let empty = bench.store.checkpoint().expect("the engine is in order");
        assert_eq!(empty.newest_of(u64::MAX).expect("it can be read"), None);
        bench.ok(&put("a", "1"));
        bench.ok(&put("b", "1"));
        bench.ok(&delete("a", "z"));
        bench.ok(&put("a", "2"));
        let checkpoint = bench.store.checkpoint().expect("the engine is in order");
        let of = |mains| {
            let records = checkpoint.records_of(mains).map(|record| record.expect("it is sound").0);
            records.map(|revision| (revision.main, revision.sub)).collect::<Vec<_>>()
        };
        assert_eq!(of(3..=4), [(3, 0), (4, 0), (4, 1)], "{kind}");
        assert_eq!(of(5..=u64::MAX), [(5, 0)], "{kind}");
        assert!(of(6..=9).is_empty(), "{kind}");
        #[expect(clippy::reversed_empty_ranges, reason = "what came since the newest is nothing")]
        let nothing = of(6..=5);
        assert!(nothing.is_empty(), "{kind}");
        assert_eq!(of(0..=9).len(), checkpoint.records().count(), "{kind}");
        for (main_max, newest) in [(9, Some(5)), (5, Some(5)), (4, Some(4)), (1, None)] {
            let found = checkpoint.newest_of(main_max).expect("it can be read");
            assert_eq!(found, newest, "{kind}: up to {main_max}");
        }
    }
}
