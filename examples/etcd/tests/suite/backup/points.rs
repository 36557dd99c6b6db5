//! Every revision that a folder has, beside a model that was there.

use std::collections::BTreeMap;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::{etcdserverpb as pb, mvccpb};
use pb::request_op::Request;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{add, restored};
use crate::migration::picture::{all_keys, hash};
use crate::support::calls::{client_of, compact, grant, in_a_runtime, lease, put, revoke};
use crate::support::programs::ours;
use crate::support::server::Server;

const STEPS: usize = 260;
const KEYS: u32 = 25;
const POINTS: usize = 5;

type Keys = BTreeMap<String, mvccpb::KeyValue>;

/// All keys, at every revision.
struct Model {
    past: Vec<Keys>,
    leases: Vec<i64>,
    next_lease: i64,
}

impl Model {
    fn newest(&self) -> i64 {
        i64::try_from(self.past.len()).expect("revisions are small") - 1
    }

    fn at(&self, revision: i64) -> Vec<mvccpb::KeyValue> {
        self.past[usize::try_from(revision).expect("revisions are small")]
            .values()
            .cloned()
            .collect()
    }

    /// Makes the changes of one revision.
    fn change(&mut self, change: impl FnOnce(&mut Keys, i64)) {
        let revision = self.newest() + 1;
        let mut keys = self.past.last().expect("there is a past").clone();
        change(&mut keys, revision);
        self.past.push(keys);
    }
}

fn set(keys: &mut Keys, at: i64, key: &str, value: &str, lease: i64) {
    let before = keys.get(key);
    let kv = mvccpb::KeyValue {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        create_revision: before.map_or(at, |kv| kv.create_revision),
        mod_revision: at,
        version: before.map_or(1, |kv| kv.version + 1),
        lease,
    };
    keys.insert(key.to_owned(), kv);
}

/// Does something, to the server and the model alike.
async fn step(client: &Client, model: &mut Model, rng: &mut ChaCha8Rng) {
    let key = format!("key/{:02}", rng.random_range(0..KEYS));
    let value = format!("{}", rng.random::<u32>());
    match rng.random_range(0..20) {
        0..9 => {
            let leased = rng.random_bool(0.4) && !model.leases.is_empty();
            let number = leased.then(|| model.leases[rng.random_range(0..model.leases.len())]);
            let number = number.unwrap_or(0);
            put(client, &key, value.clone(), number).await;
            model.change(|keys, at| set(keys, at, &key, &value, number));
        }
        9..12 => {
            let end = format!("key/{:02}", rng.random_range(0..KEYS));
            let (key, range_end) = (key.clone().into(), end.clone().into());
            let request = pb::DeleteRangeRequest { key, range_end, ..Default::default() };
            let deleted = client
                .kv()
                .delete_range(request.clone())
                .await
                .expect("the call is answered")
                .into_inner();
            if deleted.deleted > 0 {
                let start = String::from_utf8(request.key.to_vec()).expect("keys are text");
                model.change(|keys, _| keys.retain(|key, _| *key < start || *key >= end));
            }
        }
        12..15 => {
            let number = model.next_lease;
            model.next_lease += 1;
            grant(client, number, 3600 + number).await;
            model.leases.push(number);
        }
        15..17 if !model.leases.is_empty() => {
            let number = model.leases.swap_remove(rng.random_range(0..model.leases.len()));
            revoke(client, number).await;
            if model.past.last().expect("there is a past").values().any(|kv| kv.lease == number) {
                model.change(|keys, _| keys.retain(|_, kv| kv.lease != number));
            }
        }
        _ => {
            // Several changes in one revision, a key among them that goes and comes in the same.
            let other = format!("other/{}", rng.random_range(0..5));
            let delete = pb::DeleteRangeRequest { key: key.clone().into(), ..Default::default() };
            let put = |key: &str| pb::PutRequest {
                key: key.to_owned().into(),
                value: value.clone().into(),
                ..Default::default()
            };
            let success = [
                Request::RequestDeleteRange(delete),
                Request::RequestPut(put(&other)),
                Request::RequestPut(put("both")),
            ];
            let success = success.map(|request| pb::RequestOp { request: Some(request) }).into();
            let request = pb::TxnRequest { success, ..Default::default() };
            client.kv().txn(request).await.expect("the call is answered");
            model.change(|keys, at| {
                keys.remove(&key);
                set(keys, at, &other, &value, 0);
                set(keys, at, "both", &value, 0);
            });
        }
    }
}

/// The point is as the model has it, and so is what lies before it.
async fn check_point(client: &Client, model: &Model, point: i64, compacted: i64) {
    for at in [point, (compacted + point) / 2, compacted] {
        assert_eq!(all_keys(client, at).await, model.at(at), "as of {at}, restored at {point}");
    }
    for kv in model.at(point).iter().filter(|kv| kv.lease != 0) {
        let told = lease(client, kv.lease).await;
        assert!(told.ttl > 0 && told.keys.contains(&kv.key), "{kv:?} hangs on {told:?}");
    }
    // It goes on from there.
    assert_eq!(put(client, "more", "v", 0).await, point + 1);
}

// What comes back must be what was there at that moment, with the numbers by which clients tell
// whether they have missed something.
#[test]
fn every_revision_comes_back_as_it_was() {
    let test = "backup::points::every_revision_comes_back_as_it_was";
    let mut rng = ChaCha8Rng::seed_from_u64(crate::support::seed(test));
    let server = Server::start(&ours(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let runtime = crate::support::calls::runtime();
    let client = runtime.block_on(client_of(&server));
    let past = vec![Keys::new(), Keys::new()];
    let mut model = Model { past, leases: Vec::new(), next_lease: 100 };
    let mut compacted = 1;
    // Revisions that were the newest of a backup.
    let mut backed = Vec::new();
    for number in 0..STEPS {
        runtime.block_on(step(&client, &mut model, &mut rng));
        if number % 37 == 20 || number + 1 == STEPS {
            add(&server, dir);
            backed.push(model.newest());
        }
        if number == 150 {
            // Not beyond the newest backup: what follows it can still be asked for.
            compacted = backed[backed.len() - 2];
            runtime.block_on(compact(&client, compacted));
        }
    }
    assert_eq!(super::files(dir, "-base.db").len(), 1, "the rest are increments");
    let whole = restored(dir, &["--no-bump"]);
    assert_eq!(hash(&whole), hash(&server), "all that is readable of history");
    in_a_runtime(async {
        let client = client_of(&whole).await;
        check_point(&client, &model, model.newest(), compacted).await;
    });
    let mut points = vec![backed[0], backed[2] - 1];
    while points.len() < POINTS {
        points.push(rng.random_range(2..model.newest()));
    }
    for point in points {
        let server = restored(dir, &["--no-bump", &format!("--to-revision={point}")]);
        in_a_runtime(async {
            let client = client_of(&server).await;
            // Unless it was compacted when the file before the point was made.
            let oldest = if is_readable(&client, 2).await { 2 } else { compacted };
            check_point(&client, &model, point, oldest.min(point)).await;
        });
    }
}

async fn is_readable(client: &Client, revision: i64) -> bool {
    let request = pb::RangeRequest { key: "k".into(), revision, ..Default::default() };
    client.kv().range(request).await.is_ok()
}
