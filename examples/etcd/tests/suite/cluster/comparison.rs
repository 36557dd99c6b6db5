//! Members that do not have the same, and disks that do not have what was written: whether they are
//! found, whether the right member is named, and whether nobody is named who is right.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use drystone_kv::EngineKind;
use drystone_kv::engine::{Batch, Direction, Engine, Snapshot as _, Space};
use drystone_kv::engines::{AnyEngine, EngineConfig};
use drystone_kv::record::Record;
use drystone_vfs::{OsClock, OsVfs};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use tonic::Code;

use super::fleet::{Fleet, wait};
use crate::support::calls::in_a_runtime;

/// Passes follow each other quickly, as those of a small store may.
const EAGER: [&str; 2] = ["--scrub-pause=50ms", "--scrub-percent=50"];

/// The folder of a member's engine.
fn engine_dir(fleet: &Fleet, number: usize) -> PathBuf {
    let replica = fleet.data(number).join("replica");
    let dirs = ["engine-a", "engine-b"].map(|name| replica.join(name));
    dirs.into_iter().find(|dir| dir.is_dir()).expect("a member has an engine")
}

/// Changes one byte of the value that `key` was given last, in the engine of a member that does not
/// run. All checksums are right afterwards.
fn change_a_value(fleet: &Fleet, number: usize, key: &str) {
    let config =
        EngineConfig { kind: EngineKind::Lsm, background: false, memory_bytes: None, room: None };
    let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
    let engine = AnyEngine::open(vfs, clock, &engine_dir(fleet, number), &config);
    let engine = engine.expect("the engine of a member that has stopped can be opened");
    let mut batch = Batch::new();
    for entry in engine.snapshot().range(Space::Record, &[], None, Direction::Backward) {
        let (place, bytes) = entry.expect("it can be read");
        let main = u64::from_be_bytes(*place.first_chunk().expect("a revision is longer"));
        if let Ok(Record::Put(mut kv)) = Record::decode(main, bytes)
            && kv.key == key.as_bytes()
        {
            kv.value = b"another value".as_slice().into();
            batch.put(Space::Record, &place, Record::encode_put(&kv));
            break;
        }
    }
    assert_eq!(batch.len(), 1, "the key was there");
    engine.write(batch).expect("it can be written");
    engine.persist().expect("it can be saved");
}

/// Puts some keys at a member.
fn fill(fleet: &Fleet, number: usize, count: usize) {
    in_a_runtime(async {
        let client = fleet.client(number).await;
        for at in 0..count {
            let (key, value) = (format!("k{at}").into(), format!("v{at}").repeat(20).into());
            let put = PutRequest { key, value, ..PutRequest::default() };
            client.kv().put(put).await.expect("a put is answered");
        }
    });
}

fn stop(fleet: &mut Fleet, number: usize) {
    fleet.signal(number, Signal::TERM);
    fleet.wait_for_exit(number);
}

/// Waits until the alarms are these lines.
#[track_caller]
fn await_alarms(fleet: &Fleet, number: usize, wanted: &str) {
    let mut last = String::new();
    let found = wait(|| {
        last = fleet.ctl(&[number], &["alarm", "list"]).out;
        (last == wanted).then_some(())
    });
    assert!(found.is_some(), "alarms are {last:?}, not {wanted:?}\n{}", fleet.log(number));
}

fn code_of_a_get(fleet: &Fleet, number: usize, serializable: bool) -> Code {
    in_a_runtime(async {
        let request = RangeRequest { key: "k1".into(), serializable, ..RangeRequest::default() };
        let client = fleet.client(number).await;
        client.kv().range(request).await.err().map_or(Code::Ok, |status| status.code())
    })
}

/// The case that all of this is for: one member has another value than the others, all checksums
/// are right, and nobody has read it yet.
#[test]
fn member_with_another_value_is_named_and_the_others_go_on() {
    let test = "member_with_another_value_is_named_and_the_others_go_on";
    let Some(mut fleet) = Fleet::start_with(test, 3, &EAGER) else { return };
    fill(&fleet, 0, 300);
    let odd = fleet.follower();
    let (id, sound) = (fleet.id(odd), (odd + 1) % 3);
    stop(&mut fleet, odd);
    change_a_value(&fleet, odd, "k7");
    // Asked to look before it serves, it does not start.
    fleet.launch_with(odd, &["--feature-gates=InitialCorruptCheck=true"]);
    assert_eq!(fleet.wait_for_exit(odd).code(), Some(1));
    let log = fleet.log(odd);
    assert!(log.contains("found data inconsistency with peers"), "{log}");
    // Not asked, it starts, and the leader finds it, if it has not done so meanwhile.
    fleet.launch(odd);
    fleet.wait_for(odd);
    let alarm = format!("memberID:{id} alarm:CORRUPT");
    await_alarms(&fleet, sound, &alarm);
    await_alarms(&fleet, odd, &alarm);
    // It shows nothing; the others do, and write.
    for serializable in [false, true] {
        assert_eq!(code_of_a_get(&fleet, odd, serializable), Code::DataLoss);
        assert_eq!(code_of_a_get(&fleet, sound, serializable), Code::Ok);
    }
    let refused = fleet.ctl(&[odd], &["put", "k", "v"]);
    assert!(refused.err.contains("etcdserver: corrupt cluster"), "{refused:?}");
    fleet.ctl_ok(&[sound], &["put", "k", "v"]);
    assert_eq!(fleet.http(odd, "/readyz").0, 503);
    assert_eq!(
        fleet.http(odd, "/health"),
        (503, format!("{}\n", r#"{"health":"false","reason":"ALARM CORRUPT"}"#))
    );
    assert_eq!(fleet.http(sound, "/health").0, 200);
    // If it comes to lead, it does not for long.
    let leader = fleet.leader();
    let odd_hex = format!("{id:x}");
    fleet.ctl_ok(&[leader], &["move-leader", &odd_hex]);
    let moved = wait(|| (fleet.leader() != odd).then_some(()));
    assert!(moved.is_some(), "a member under the alarm goes on leading");
    // Disarmed, and still wrong: it is found again. Taken out, the alarm is over with it.
    fleet.ctl_ok(&[sound], &["alarm", "disarm"]);
    await_alarms(&fleet, sound, &alarm);
    fleet.ctl_ok(&[sound], &["member", "remove", &odd_hex]);
    fleet.wait_for_exit(odd);
    fleet.ctl_ok(&[sound], &["alarm", "disarm"]);
    fleet.ctl_ok(&[sound], &["put", "k", "w"]);
    await_alarms(&fleet, sound, "");
}

/// The largest file of sorted records of a member, and a place in the midst of its blocks.
fn table_of(dir: &Path) -> (PathBuf, u64) {
    let files = std::fs::read_dir(dir).expect("the folder can be read");
    let sizes = files.map(|file| {
        let file = file.expect("the folder can be read");
        (file.metadata().expect("it is there").len(), file.path())
    });
    let is_table = |path: &Path| path.extension().is_some_and(|extension| extension == "table");
    let (bytes, path) = sizes.filter(|(_, path)| is_table(path)).max().expect("a table was saved");
    (path, bytes / 4)
}

/// What rots is found before it is read, and the member that has it is named: clients are better
/// served by the others.
#[test]
fn damage_at_rest_is_found_by_the_scrub() {
    let test = "damage_at_rest_is_found_by_the_scrub";
    let Some(mut fleet) = Fleet::start_with(test, 3, &EAGER) else { return };
    fill(&fleet, 0, 300);
    let odd = fleet.follower();
    let (id, sound) = (fleet.id(odd), (odd + 1) % 3);
    // A stop saves the engine, so that there is a table.
    stop(&mut fleet, odd);
    fleet.launch(odd);
    fleet.wait_for(odd);
    let (table, place) = table_of(&engine_dir(&fleet, odd));
    let file = std::fs::File::options().read(true).write(true).open(&table).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).expect("it can be read");
    file.write_all_at(&[byte[0] ^ 1], place).expect("it can be written");
    await_alarms(&fleet, sound, &format!("memberID:{id} alarm:CORRUPT"));
    let name = table.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let log = fleet.log(odd);
    let line = log.lines().find(|line| line.contains("found damage on the disk"));
    assert!(line.is_some_and(|line| line.contains(&name)), "{name} is not in {line:?}");
    assert_eq!(code_of_a_get(&fleet, sound, false), Code::Ok);
}

/// Puts at once, so that members apply them in groups, each in its own: enough to finish a block of
/// what commands have done.
async fn many_puts(fleet: &Fleet, number: usize, count: usize) {
    let client = fleet.client(number).await;
    let puts = (0..count).map(|at| {
        let (key, value) = (format!("k{}", at % 50).into(), format!("{at}").into());
        let mut kv = client.kv();
        async move { kv.put(PutRequest { key, value, ..PutRequest::default() }).await }
    });
    // Whether the leader stays is not what matters here.
    drop(futures_util::future::join_all(puts).await);
}

/// Some requests of any kind, at any member that answers; what is refused does not matter.
async fn any_requests(fleet: &Fleet, random: &mut ChaCha8Rng, count: usize) {
    use drystone_etcd_api::etcdserverpb as pb;
    let at = fleet.running()[random.random_range(0..fleet.running().len())];
    let client = fleet.client(at).await;
    let mut revision = 0;
    for _ in 0..count {
        let key: bytes::Bytes = format!("k{}", random.random_range(0..50)).into();
        let lease = random.random_range(1..6);
        match random.random_range(0..20) {
            0..10 => {
                let value = vec![b'v'; random.random_range(0..300)].into();
                let lease = if random.random_bool(0.3) { lease } else { 0 };
                let put = PutRequest { key, value, lease, ..Default::default() };
                if let Ok(put) = client.kv().put(put).await {
                    revision = put.into_inner().header.map_or(0, |header| header.revision);
                }
            }
            10..13 => {
                let delete = pb::DeleteRangeRequest { key, ..Default::default() };
                drop(client.kv().delete_range(delete).await);
            }
            13..15 => {
                let grant = pb::LeaseGrantRequest { id: lease, ttl: 2 };
                drop(client.lease().lease_grant(grant).await);
            }
            15 => {
                let revoke = pb::LeaseRevokeRequest { id: lease };
                drop(client.lease().lease_revoke(revoke).await);
            }
            16..19 if revision > 10 => {
                let behind = random.random_range(0..10);
                let compact =
                    pb::CompactionRequest { revision: revision - behind, physical: false };
                drop(client.kv().compact(compact).await);
            }
            _ => {}
        }
    }
}

/// A false alarm takes a sound member out of service. Compactions, leases that end, members that
/// die, lag and are sent whole states: none of that may look like corruption, however often it is
/// looked.
#[test]
fn nobody_is_named_while_all_is_well() {
    let test = "nobody_is_named_while_all_is_well";
    let flags = [
        "--scrub-pause=10ms",
        "--scrub-percent=50",
        "--corrupt-check-time=100ms",
        "--compact-hash-check-time=100ms",
        "--feature-gates=CompactHashCheck=true,InitialCorruptCheck=true",
        "--snapshot-catchup-entries=20",
        "--heartbeat-interval=50",
        "--election-timeout=500",
    ];
    let Some(mut fleet) = Fleet::start_with(test, 3, &flags) else { return };
    let slow = std::env::var_os("SLOW").is_some();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(if slow { 120 } else { 3 });
    while Instant::now() < end {
        let leader = fleet.leader();
        in_a_runtime(many_puts(&fleet, leader, 300));
        in_a_runtime(any_requests(&fleet, &mut random, 60));
        let victim = random.random_range(0..3);
        fleet.kill(victim);
        in_a_runtime(any_requests(&fleet, &mut random, 60));
        fleet.launch(victim);
        fleet.wait_for_all();
    }
    assert_eq!(fleet.ctl_ok(&[0], &["alarm", "list"]), "");
    let mut checked = 0;
    for number in 0..3 {
        let log = fleet.log(number);
        assert!(!log.contains("found data inconsistency"), "{log}");
        assert!(!log.contains("found damage"), "{log}");
        checked += log.matches("finished compaction hash check").count();
    }
    assert!(checked > 0, "somebody has compared something");
}
