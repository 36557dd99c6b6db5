//! Room: quotas, full disks, and space that comes back.
//!
//! | room | asks |
//! |---|---|
//! | [`quota`] | what goes on under NOSPACE, and when the alarm goes by itself |
//! | [`full`] | whether a server on a full disk refuses in good order, loses nothing, and goes on |
//! | [`follower`] | whether a cluster stands that one member's disk is full |
//! | [`start`] | whether a start in need refuses from its first moment on |
//! | [`online`] | whether files shrink beside those who use them |
//!
//! The disks that are filled are small file systems of the real kernel.

mod follower;
mod full;
mod online;
mod quota;
mod start;
#[expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]
#[path = "../../../../tests/kernel/volume.rs"]
mod volume;

use std::time::{Duration, Instant};

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{AlarmMember, AlarmRequest, PutRequest};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::Status;

/// How long anything may take that must come. Generous: machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A value of `len` bytes that cannot be packed, told apart by `number`.
fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(number).fill_bytes(&mut bytes);
    bytes
}

fn key(number: u64) -> String {
    format!("k{number:06}")
}

/// Puts a value of that number, if the server takes it.
async fn try_put(client: &Client, number: u64, len: usize) -> Result<(), Status> {
    let (key, value) = (key(number).into(), noise(number, len).into());
    client.kv().put(PutRequest { key, value, ..PutRequest::default() }).await.map(drop)
}

/// The alarms that stand.
async fn alarms(client: &Client) -> Vec<AlarmMember> {
    let alarms = client.maintenance().alarm(AlarmRequest::default()).await;
    alarms.expect("alarms are listed").into_inner().alarms
}

/// Asks again and again until the answer is yes.
#[track_caller]
fn until(what: &str, mut yes: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !yes() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}
