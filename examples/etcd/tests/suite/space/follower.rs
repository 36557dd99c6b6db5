//! A cluster of three, of which one member's disk is small, and fills up.
//!
//! ```text
//!   m0, m1   a large disk ──► lead, and go on                       the same leader, all along
//!   m2       a small disk ──► full: raises NOSPACE, for all ──► SIGKILL, a new start in need
//!                                     ▲                                    │
//!                                     └───── room: the alarm goes ◄────────┘
//! ```

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::AlarmType;
use tonic::Code;

use super::full::{Acknowledged, VALUE_BYTES, assert_holds, delete, fill};
use super::volume::{Volume, on_each};
use super::{alarms, try_put, until};
use crate::cluster::fleet::Fleet;
use crate::support::calls::{compact, grant, lease, revision, revoke, runtime};
use crate::support::programs::{is_ours, ours};

const VOLUME_BYTES: u64 = 64 << 20;
/// The member with the small disk.
const SMALL: usize = 2;
const LEASE: i64 = 7;

fn launch(fleet: &mut Fleet, volume: &Volume) {
    let data = format!("--data-dir={}", volume.place("data").display());
    fleet.launch_with(SMALL, &[&data]);
}

/// A cluster of three with a small disk, which a member with a large one leads.
fn start(test: &str, volume: &Volume) -> Option<Fleet> {
    let mut fleet = Fleet::without_members(test, &ours())?;
    let numbers = [fleet.newcomer(), fleet.newcomer(), fleet.newcomer()];
    let all = fleet.initial_cluster();
    for number in numbers {
        fleet.set_cluster(number, &all, "new");
        if number == SMALL {
            launch(&mut fleet, volume);
        } else {
            fleet.launch(number);
        }
    }
    fleet.wait_for_all();
    if fleet.leader() == SMALL {
        let heir = format!("{:x}", fleet.id(0));
        fleet.ctl_ok(&[SMALL], &["move-leader", &heir]);
    }
    Some(fleet)
}

/// What makes room, and what lives on time, by a member: none of it is held up by a full disk.
async fn make_room(client: &Client, from: u64, all: &mut Acknowledged) {
    let keys: Vec<String> = all.keys().filter(|key| all[*key] % 4 == from).cloned().collect();
    assert!(!keys.is_empty());
    for key in keys {
        delete(client, &key).await;
        all.remove(&key);
    }
    compact(client, revision(client).await).await;
    assert!(lease(client, LEASE).await.ttl > 0, "it lives");
}

/// Whether a put is refused; if so, in etcd's words.
async fn is_refused(client: &Client, number: u64) -> bool {
    match try_put(client, number, VALUE_BYTES).await {
        Ok(()) => false,
        Err(status) => {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            assert_eq!(status.message(), "etcdserver: mvcc: database space exceeded");
            true
        }
    }
}

// One full disk of three stops what grows, as a full store does, and nothing else: a follower that
// could not write its log would be a member less, and its restart would not help.
#[test]
fn a_follower_with_a_full_disk_raises_the_alarm_and_stays() {
    if !is_ours() {
        return;
    }
    let test = "space::follower::a_follower_with_a_full_disk_raises_the_alarm_and_stays";
    on_each(test, VOLUME_BYTES, VOLUME_BYTES + (16 << 20), |volume| {
        let Some(mut fleet) = start(test, volume) else { return };
        let (runtime, leader) = (runtime(), fleet.leader());
        let other = 1 - leader;
        let client = runtime.block_on(fleet.client(leader));
        let mut all = Acknowledged::new();
        runtime.block_on(grant(&client, LEASE, 3600));
        runtime.block_on(fill(&client, 0, 80, &mut all));
        let led = fleet.wait_for(leader);

        volume.fill(0);
        until("the small member says so", || runtime.block_on(alarms(&client)).len() == 1);
        let alarm = runtime.block_on(alarms(&client))[0];
        assert_eq!((alarm.member_id, alarm.alarm()), (fleet.id(SMALL), AlarmType::Nospace));
        for number in [leader, other, SMALL] {
            let refuses = async { is_refused(&fleet.client(number).await, 1_000).await };
            assert!(runtime.block_on(refuses), "m{number} takes what cannot be kept everywhere");
        }
        runtime.block_on(make_room(&client, 1, &mut all));
        let small = runtime.block_on(fleet.client(SMALL));
        runtime.block_on(make_room(&small, 2, &mut all));

        // It dies, and starts in need.
        fleet.kill(SMALL);
        runtime.block_on(make_room(&client, 3, &mut all));
        launch(&mut fleet, volume);
        fleet.wait_for(SMALL);
        let small = runtime.block_on(fleet.client(SMALL));
        runtime.block_on(assert_holds(&small, &all));

        volume.drain();
        until("the alarm goes", || runtime.block_on(alarms(&client)).is_empty());
        let mut number = 2_000;
        for member in [leader, other, SMALL] {
            let client = runtime.block_on(fleet.client(member));
            number += 8;
            let refused = runtime.block_on(fill(&client, number, 8, &mut all));
            assert!(!refused, "m{member} has room\n{}", fleet.log(SMALL));
        }
        runtime.block_on(revoke(&client, LEASE));
        runtime.block_on(assert_holds(&small, &all));
        let leads = fleet.wait_for(leader);
        assert_eq!((leads.leader, leads.raft_term), (led.leader, led.raft_term), "nobody else led");
    });
}
