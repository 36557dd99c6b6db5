//! Members that run, on real sockets of this machine.

mod beginnings;
mod clusters;
mod strangers;

use std::net::SocketAddr;
use std::time::Duration;

use drystone_membership::runtime::{Builder, Membership, Watch};
use drystone_membership::{Config, Event};
use tokio::time::timeout;

/// Longer than anything takes that comes to an end, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

fn here() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A member of a cluster on this machine.
fn member(name: &str) -> Builder {
    Membership::bind(here()).name(name).config(Config::local()).patience(PATIENCE)
}

/// Waits for an event that is wanted.
async fn wait(watch: &mut Watch, what: &str, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = watch.next().await.expect("the member runs").expect("nothing is missed");
            if wanted(&event) {
                return event;
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never seen: {what}"))
}

/// Waits until something holds, and looks whenever others have had their turn.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let held = async {
        while !holds() {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("never true: {what}"));
}
