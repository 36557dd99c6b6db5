//! What a member keeps of the others.

use std::net::SocketAddr;
use std::time::Duration;

use allocation_counter::measure;
use drystone_membership::{Boot, Config, Node, NodeId, Swim};

/// The promise of the front page.
const PEER_BYTES_MAX: u64 = 256;

fn node(number: u32) -> Node {
    let ip = std::net::Ipv4Addr::from_bits((10 << 24) + number);
    Node::new(NodeId(u64::from(number)), SocketAddr::from((ip, 7946)))
}

fn member() -> Swim {
    let boot = Boot::new(node(1), 1, 7);
    Swim::new(boot, Config::lan(), Duration::ZERO).expect("the configuration holds")
}

// Ten thousand members that each know ten thousand are a hundred million of these.
#[test]
fn a_peer_takes_less_than_256_bytes() {
    for members in [1_000_u32, 10_000, 50_000] {
        let mut swim = member();
        let used = measure(|| swim.assume((2..=members).map(|number| (node(number), 1))));
        let bytes = u64::try_from(used.bytes_current).unwrap() / u64::from(members);
        println!("{members} members: {bytes} bytes each, by its own count {}", {
            swim.memory() / members as usize
        });
        assert!(bytes <= PEER_BYTES_MAX, "{bytes} bytes a peer at {members}");
        assert_eq!(swim.members_count(), members as usize);
        let own_count = swim.memory() as u64 / u64::from(members);
        assert!(own_count.abs_diff(bytes) <= 8, "it counts {own_count} itself");
    }
}

// Whoever can send packets must not be able to make a member keep whatever it likes.
#[test]
fn members_beyond_the_limit_are_not_kept() {
    let boot = Boot::new(node(1), 1, 7);
    let config = Config { members_max: 100, ..Config::lan() };
    let mut limited = Swim::new(boot, config, Duration::ZERO).unwrap();
    let mut effects = Vec::new();
    // What others say arrives as their packets: let them be made by themselves.
    for number in 2..300 {
        let boot = Boot::new(node(number), 1, u64::from(number));
        let mut other = Swim::new(boot, Config::lan(), Duration::ZERO).unwrap();
        let join = drystone_membership::Input::Join(vec![node(1).addr]);
        let mut sent = Vec::new();
        other.handle(Duration::ZERO, join, &mut sent).unwrap();
        for effect in sent {
            if let drystone_membership::Effect::Stream { bytes, .. } = effect {
                let input = drystone_membership::Input::Stream { bytes: &bytes };
                limited.handle(Duration::ZERO, input, &mut effects).unwrap();
            }
        }
    }
    assert_eq!(limited.members_count(), 100);
    limited.check();
}
