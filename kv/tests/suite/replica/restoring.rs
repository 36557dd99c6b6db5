//! New groups from a copy of an old one's state.

use drystone_kv::command::LeaseGrant;
use drystone_kv::runtime::restore;
use drystone_kv::types::LeaseId;

use super::*;

/// The state of a member with the default engine, whatever reads it.
async fn saved() -> (Vec<u8>, u64, u32) {
    let party = Party::new(1, |_| {}).await;
    let one = party.at(1);
    for i in 0..100 {
        set(&one, &format!("k{}", i % 10), &i.to_string()).await;
    }
    let grant = Command::LeaseGrant(LeaseGrant { id: LeaseId(5), ttl: 1000 });
    one.propose(grant).await.expect("it is granted");
    let mut bytes = Vec::new();
    one.checkpoint().expect("it runs").write(&mut bytes).expect("memory takes all");
    let hash = one.hash(None).expect("it is sound");
    (bytes, hash.revision, hash.hash)
}

/// Everything that was is there, revisions go on, and the members are new ones: a copy of a group
/// of one makes a group of three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_of_one_makes_a_group_of_three() {
    for engine in EngineKind::ALL {
        let (bytes, revision, hash) = saved().await;
        let mut party = Party::new(0, |_| {}).await;
        party.founders = [11, 12, 13].map(member).into();
        for id in [11, 12, 13] {
            let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
            let options = drystone_kv::Options { engine: Some(engine), ..Default::default() };
            let (dir, clock) = (Path::new("data"), Arc::new(OsClock::new()));
            let restored = restore(disk.clone(), clock, dir, &options, &mut &bytes[..]);
            assert_eq!(restored.expect("it is whole"), revision);
            party.disks.insert(id, disk);
        }
        for id in [11, 12, 13] {
            party.start(id).await;
        }
        let any = party.at(12);
        any.linearize().await.expect("they agree");
        let now = any.hash(None).expect("it is sound");
        assert_eq!((now.revision, now.hash), (revision, hash), "{engine}");
        assert_eq!(set(&any, "more", "1").await, revision + 1);
        assert_eq!(any.leases().await.expect("somebody leads"), [LeaseId(5)]);
        party.agree().await;
        let ids: Vec<_> = any.cluster().members.iter().map(|member| member.id).collect();
        assert_eq!(ids, [11, 12, 13]);
    }
}

/// A copy that is cut short or changed makes nothing, and a folder that holds something keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_copies_and_full_folders_are_refused() {
    let (bytes, ..) = saved().await;
    let options = drystone_kv::Options::default();
    let clock = Arc::new(OsClock::new());
    let dir = Path::new("data");
    let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    let cut = &bytes[..bytes.len() / 2];
    let failed = restore(disk, clock.clone(), dir, &options, &mut &cut[..]);
    assert!(matches!(failed, Err(Error::Restore(_))), "{failed:?}");
    let party = Party::new(1, |_| {}).await;
    let full = party.disks[&1].clone();
    let failed = restore(full, clock, dir, &options, &mut &bytes[..]);
    assert!(matches!(failed, Err(Error::Foreign { .. })), "{failed:?}");
}
