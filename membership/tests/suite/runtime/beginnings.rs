//! How members begin, and how they are refused to.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use drystone_membership::runtime::{Error, Membership};
use drystone_membership::{Config, NodeId, Swim};

use super::{PATIENCE, here, member, until};

// After a power cut of the whole room there is nobody to ask: each has to remember the others.
#[tokio::test]
async fn a_total_outage_is_survived_without_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let a = member("a").snapshot(path("a")).start().await.unwrap();
    let b = member("b").snapshot(path("b")).join([a.addr()]).await.unwrap();
    let c = member("c").snapshot(path("c")).join([a.addr()]).await.unwrap();
    let all = [a, b, c];
    until("all know all", || all.iter().all(|it| it.members().len() == 3)).await;
    let mut addrs = Vec::new();
    for member in &all {
        addrs.push((member.me().name, member.addr(), member.look(Swim::incarnation)));
        member.stop().await.unwrap();
        assert!(member.metrics().snapshots >= 2, "when the others came, and at the stop");
    }
    let mut again = Vec::new();
    for (name, addr, before) in addrs {
        let builder = Membership::bind(addr).name(&name).config(Config::local());
        let member = builder.snapshot(path(&name)).start().await.unwrap();
        assert!(member.look(Swim::incarnation) > before, "a new life of the old name");
        again.push(member);
    }
    until("all are back", || again.iter().all(|it| it.members().len() == 3)).await;
}

// A damaged file must be named with its place, and not be taken for an empty cluster.
#[tokio::test]
async fn a_snapshot_that_is_damaged_or_foreign_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members");
    let a = member("a").snapshot(&path).start().await.unwrap();
    a.stop().await.unwrap();
    let refused = member("b").snapshot(&path).start().await.unwrap_err();
    assert!(matches!(refused, Error::Foreign { of, .. } if of == NodeId::named("a")));
    let unnamed = Membership::bind(here()).snapshot(&path).start().await.unwrap();
    assert_eq!(unnamed.id(), NodeId::named("a"), "who has no name is who it was");
    unnamed.stop().await.unwrap();
    let mut bytes = read(&path);
    *bytes.last_mut().unwrap() ^= 1;
    write(&path, &bytes);
    let refused = member("a").snapshot(&path).start().await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("members is unusable at byte 17: damaged"), "{said}");
    assert_eq!(read(&path), bytes, "it is left as it is");
}

#[expect(clippy::disallowed_methods, reason = "the test looks at the file that was written")]
fn read(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test damages the file that was written")]
fn write(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

// A member needs one number for both protocols; who has half of it must hear which half.
#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let tcp = TcpListener::bind(here()).unwrap();
    let udp = loop {
        let udp = UdpSocket::bind(here()).unwrap();
        if udp.local_addr().unwrap() != tcp.local_addr().unwrap() {
            break udp;
        }
    };
    let taken: [(&str, SocketAddr); 2] =
        [("tcp", tcp.local_addr().unwrap()), ("udp", udp.local_addr().unwrap())];
    for (protocol, addr) in taken {
        let refused = Membership::bind(addr).name("a").start().await.unwrap_err();
        assert_eq!(refused.to_string(), format!("cannot bind {protocol} {addr}"));
    }
}

// Who listens everywhere has not said where it is; others would be told 0.0.0.0.
#[tokio::test]
async fn an_address_that_nobody_can_reach_is_refused() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = Membership::bind(everywhere).name("a").start().await.unwrap_err();
    assert!(matches!(refused, Error::NoAddress(_)));
    let told = Membership::bind(everywhere).name("a").config(Config::local());
    let a = told.advertise(here()).patience(PATIENCE).start().await.unwrap();
    assert_eq!(a.addr().port(), a.local_addr().port(), "the port is the one that was found");
    let b = member("b").join([a.addr()]).await.unwrap();
    assert_eq!(b.members().len(), 2);
}

// All addresses of IPv6 are all of IPv4 too, and whoever comes by IPv4 must be known by that.
#[tokio::test]
async fn one_who_listens_by_ipv6_speaks_ipv4() {
    let Ok(everywhere) = TcpListener::bind("[::]:0") else { return };
    drop(everywhere);
    let a = Membership::bind("[::]:0".parse().unwrap()).name("a").config(Config::local());
    let a = a.advertise(here()).start().await.unwrap();
    let b = member("b").join([a.addr()]).await.unwrap();
    b.set_meta("k", Some("v".into())).await.unwrap();
    until("both are there", || a.meta(b.id(), "k").is_some()).await;
    until("datagrams go both ways", || {
        let (a, b) = (a.metrics(), b.metrics());
        a.datagrams_in > 0 && b.datagrams_in > 0 && a.datagrams_unsent == 0
    })
    .await;
}
