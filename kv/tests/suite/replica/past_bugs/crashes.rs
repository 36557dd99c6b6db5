//! Power cuts at every call to the disk that matters.

use drystone_kv::Store;
use drystone_kv::command::{
    AlarmChange, AlarmKind, Compact, Compare, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke,
    Relation, Txn, TxnOp,
};
use drystone_kv::engine::Progress;
use drystone_kv::engines::{AnyEngine, EngineConfig};
use drystone_kv::types::LeaseId;

use super::*;

/// More calls than any of these lives makes.
const CALLS_MAX: u64 = 2_000;

fn delete(key: &str) -> Command {
    let range = KeyRange::single(key.to_owned());
    Command::DeleteRange(DeleteRange { range, prev_kv: false })
}

/// A put of the number after `count`, if the key still holds `count`.
fn count_on(count: u64) -> Command {
    let target = CompareTarget::Value(count.to_string().into());
    let range = KeyRange::single("count");
    let put = Put::new("count", (count + 1).to_string());
    Command::Txn(Txn {
        compares: vec![Compare { range, target, relation: Relation::Equal }],
        success: vec![TxnOp::Put(put.clone())],
        failure: vec![TxnOp::Put(Put::new("missed", put.value.expect("it has one")))],
    })
}

/// etcd's issue 14370: with one member, a write was answered when it was handed to the log, before
/// the log was synced; a crash in between lost it. Here the power goes at every call to the disk
/// while writes are answered one after the other, and what the disk holds by then is opened again.
/// Were a write answered before its sync, the cut at that sync would leave less than was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sole_member_answers_nothing_that_a_power_cut_takes() {
    const WRITES: u64 = 8;
    for cut in 0..CALLS_MAX {
        let disk = SimVfs::new(cut);
        let party = alone(&disk, ALONE[0]).await;
        let one = party.at(1);
        disk.power_cut_after(cut);
        let mut answered = 0;
        while answered < WRITES && one.propose(put("k", &answered.to_string())).await.is_ok() {
            answered += 1;
        }
        party.kill(1).await;
        let party = alone(&disk.crash(), ALONE[0]).await;
        let stands = get(&party.at(1), "k").map_or(0, |value| value.parse::<u64>().unwrap() + 1);
        assert!(stands >= answered, "cut {cut}: {answered} were answered, {stands} are there");
        if answered == WRITES {
            assert!(cut >= WRITES, "each write was cut at least once");
            return;
        }
    }
    panic!("the life never comes to its end");
}

/// etcd's issue 14571: enabling authentication changed no key, and the position that was saved with
/// it was that of an older entry; after a restart the entry was done again, on that member alone.
/// Here commands of every kind that change no key, or are refused, are followed by a save and a
/// power cut. Were the position saved only with keys, the engine would stand before the command,
/// and do it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_change_no_key_move_the_position_too() {
    let lease = LeaseId(7);
    let alarm = |raise| AlarmChange { member: 1, kind: AlarmKind::NoSpace, raise };
    let commands = [
        Command::LeaseGrant(LeaseGrant { id: lease, ttl: 100 }),
        Command::LeaseGrant(LeaseGrant { id: lease, ttl: 100 }),
        Command::Alarm(alarm(true)),
        put("k", "there is no space for it"),
        Command::Alarm(alarm(false)),
        delete("nothing is there"),
        Command::Put(Put { lease: Some(LeaseId(8)), ..Put::new("k", "there is no such lease") }),
        Command::Txn(Txn::default()),
        Command::MemberPublish { id: 1, name: "one".to_owned(), client_urls: Vec::new() },
        Command::LeaseRevoke(LeaseRevoke { id: lease }),
        Command::LeaseRevoke(LeaseRevoke { id: lease }),
        Command::Compact(Compact { revision: 1 }),
        Command::Compact(Compact { revision: 1 }),
    ];
    for (tune, kind) in ALONE.into_iter().zip(EngineKind::ALL) {
        let disk = SimVfs::new(1);
        let party = alone(&disk, tune).await;
        let one = party.at(1);
        for (at, command) in commands.iter().enumerate() {
            let before = one.status();
            // Whether it is refused does not matter.
            let outcome = one.propose(command.clone()).await;
            let after = one.status();
            assert!(after.applied > before.applied, "{command:?} is {outcome:?}");
            assert_eq!(after.revision, before.revision, "no key changes");
            one.defragment().expect("the disk is sound");
            let left = position_on(&disk.crash_copy(at as u64), kind);
            assert_eq!(left, after.applied, "{kind}: {command:?}");
        }
        party.kill(1).await;
    }
}

/// Where the engine on this disk stands, before the log is looked at.
fn position_on(disk: &SimVfs, kind: EngineKind) -> u64 {
    let config = EngineConfig { kind, background: false, memory_bytes: None, room: None };
    let (vfs, clock) = (Arc::new(disk.clone()), Arc::new(OsClock::new()));
    let engine = AnyEngine::open(vfs, clock, Path::new("data/engine-a"), &config);
    Store::open(engine.expect("it is sound")).expect("it is sound").status().applied
}

/// etcd's issue 14685: a defragmentation wrote what was applied without the position of the last
/// entry in it; after a crash these entries were done a second time, and revisions differed from
/// those of other members. Here the power goes at every call to the disk of a defragmentation.
/// Were an entry done twice, the revision would be too high, and the condition on the counter
/// would fail the second time and leave its mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_twice_after_a_crash_in_a_defragmentation() {
    const COUNTS: u64 = 5;
    let live = async |one: &Replica| {
        set(one, "count", "0").await;
        for count in 0..COUNTS {
            one.propose(count_on(count)).await.expect("it is sound");
        }
    };
    let check = async |one: &Replica, cut: &str| {
        assert_eq!(get(one, "count"), Some(COUNTS.to_string()), "{cut}");
        assert_eq!(get(one, "missed"), None, "{cut}");
    };
    cut_everywhere(live, Replica::defragment, check).await;
}

/// Lives a life, and cuts the power in its `end`, once at each call to the disk and on each engine,
/// until the end is lived to the last. Each time the revision must be on the disk, and what `check`
/// asks for; it is told which cut it was.
async fn cut_everywhere(
    live: impl AsyncFn(&Replica),
    end: fn(&Replica) -> Result<(), Error>,
    check: impl AsyncFn(&Replica, &str),
) {
    for (tune, kind) in ALONE.into_iter().zip(EngineKind::ALL) {
        let mut ended = false;
        for cut in 0..CALLS_MAX {
            let disk = SimVfs::new(cut);
            let party = alone(&disk, tune).await;
            let one = party.at(1);
            live(&one).await;
            let revision = one.revision();
            disk.power_cut_after(cut);
            ended = end(&one).is_ok();
            party.kill(1).await;
            let party = alone(&disk.crash(), tune).await;
            let (one, cut) = (party.at(1), format!("{kind}: cut {cut}"));
            assert_eq!(one.revision(), revision, "{cut}");
            check(&one, &cut).await;
            party.kill(1).await;
            if ended {
                break;
            }
        }
        assert!(ended, "{kind}: it never comes to its end");
    }
}

/// etcd's issue 17780: the newest revision was read off the newest record. When that was a deletion
/// and a compaction had removed it, a crash before the next write made revisions go back, and be
/// given out a second time. Here the newest change is a deletion, all is compacted, and the power
/// goes at every call to the disk while garbage is swept and the engine saved. Were the revision
/// read off the records, it would be lower after that, and the next write would come too early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revision_never_goes_back_after_a_crash_in_a_compaction() {
    let live = async |one: &Replica| {
        set(one, "stays", "1").await;
        set(one, "goes", "1").await;
        one.propose(delete("goes")).await.expect("it is sound");
        let revision = one.revision();
        one.propose(Command::Compact(Compact { revision })).await.expect("it is sound");
    };
    let check = async |one: &Replica, cut: &str| {
        let revision = one.revision();
        assert_eq!(set(one, "next", "1").await, revision + 1, "{cut}");
    };
    cut_everywhere(live, sweep_and_save, check).await;
}

fn sweep_and_save(replica: &Replica) -> Result<(), Error> {
    replica.defragment()?;
    while replica.sweep_step()? == Progress::More {}
    replica.defragment()
}
