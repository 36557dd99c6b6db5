//! What comes from those who are no members: it must cost nothing, and change nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use drystone_membership::Key;
use drystone_membership::runtime::{Error, FRAME_BYTES_MAX, GUESTS_MAX, Membership};
use tokio::task::spawn_blocking;

use super::{PATIENCE, member, until};

/// Sends bytes by stream, and waits until the member hangs up.
async fn send_and_be_shown_out(to: &Membership, bytes: Vec<u8>) {
    let addr = to.addr();
    let shown = spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&bytes).unwrap();
        match stream.read(&mut [0]) {
            Ok(len) => len == 0,
            // So is a connection ended that has bytes which nobody has read.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    });
    assert!(shown.await.unwrap(), "the member hangs up");
}

// A length of four gigabytes is four bytes of anybody's time, and must be no more of ours.
#[tokio::test]
async fn giant_and_senseless_frames_end_their_connection_alone() {
    let a = member("a").start().await.unwrap();
    let too_long = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes().to_vec();
    send_and_be_shown_out(&a, vec![0xff; 4]).await;
    send_and_be_shown_out(&a, too_long).await;
    send_and_be_shown_out(&a, vec![0; 4]).await;
    until("three are shown out", || a.metrics().guests_shown_out == 3).await;
    assert_eq!((a.metrics().frames_in, a.metrics().frames_refused), (0, 0));
    // A frame like any other, with nothing of ours in it. A second one is not read.
    let garbage = [&100_u32.to_le_bytes()[..], &[7; 100]].concat();
    send_and_be_shown_out(&a, garbage).await;
    until("the garbage is refused", || a.metrics().frames_refused == 1).await;
    // One that announces much and sends little holds nobody up.
    let mut slow = TcpStream::connect(a.addr()).unwrap();
    slow.write_all(&(FRAME_BYTES_MAX as u32).to_le_bytes()).unwrap();
    slow.write_all(&[0; 1000]).unwrap();
    let b = member("b").join([a.addr()]).await.unwrap();
    assert_eq!(b.members().len(), 2);
}

// Connections that say nothing are cheap to make by the thousand: they displace each other.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let a = member("a").start().await.unwrap();
    let crowd = GUESTS_MAX + 40;
    let addr = a.addr();
    let connect = move || (0..crowd).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let crowd_there: Vec<TcpStream> = spawn_blocking(connect).await.unwrap();
    until("all were taken", || a.metrics().guests >= crowd as u64).await;
    assert!(a.metrics().guests_displaced >= 40);
    let b = member("b").join([a.addr()]).await.unwrap();
    until("both are there", || a.members().len() == 2).await;
    assert_eq!(b.members().len(), 2);
    drop(crowd_there);
}

// Any port of the internet gets garbage. It is counted, and no more.
#[tokio::test]
async fn datagrams_of_garbage_are_counted() {
    let a = member("a").start().await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for len in 0..200_usize {
        let bytes: Vec<u8> = (0..len * 7).map(|place| (place * len) as u8).collect();
        socket.send_to(&bytes, a.addr()).unwrap();
    }
    until("all are refused", || a.metrics().datagrams_refused == 200).await;
    let b = member("b").join([a.addr()]).await.unwrap();
    until("both are there", || a.members().len() == 2).await;
    assert_eq!(a.metrics().datagrams_refused, 200);
    drop(b);
}

// Keys keep out who has none, and who has others; nothing of the cluster is told to either.
#[tokio::test]
async fn an_encrypted_cluster_refuses_strangers() {
    let (ours, theirs) = (Key::new([1; 32]), Key::new([2; 32]));
    let a = member("a").keys([ours.clone()]).start().await.unwrap();
    let patience = Duration::from_secs(2);
    for stranger in [member("x"), member("y").keys([theirs])] {
        let refused = stranger.patience(patience).join([a.addr()]).await;
        let Err(Error::NotAdmitted { seeds, after }) = refused else { panic!("it was let in") };
        assert_eq!((seeds, after), (vec![a.addr()], patience));
    }
    assert!(a.metrics().frames_refused >= 2);
    let b = member("b").keys([ours]).join([a.addr()]).await.unwrap();
    assert_eq!(b.members().len(), 2, "and nobody else");
}

// Two clusters on one network, one of which was given a seed of the other by mistake.
#[tokio::test]
async fn a_cluster_of_another_label_is_not_ours() {
    let config = |label: &str| {
        let label = label.to_owned();
        drystone_membership::Config { label, ..drystone_membership::Config::local() }
    };
    let a = member("a").config(config("test")).start().await.unwrap();
    let other = member("b").config(config("live")).patience(Duration::from_secs(1));
    assert!(matches!(other.join([a.addr()]).await, Err(Error::NotAdmitted { .. })));
    assert_eq!(a.members().len(), 1);
}
