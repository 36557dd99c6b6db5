//! Doors between processes, at which packets are lost and groups cut off.
//!
//! ```text
//!                  door of 1            door of 2
//!     process 1 ───────────────────────► UDP ─╳ lost, cut?
//!         ▲                                 │
//!         │            UDP ◄────────────────┘ out at the sender's own door:
//!         │             └──────────────────────► process 2 sees who it is from
//!     process 1 ══════════ TCP: known by the address that it comes from ══► process 2
//! ```
//!
//! Each process listens at an address of the loopback of its own, and tells the others that of its
//! door. So a datagram is known by where it comes from, and passes the door of its receiver and
//! that of its sender, as through two routers that translate addresses. A stream is known by its
//! IP address alone; one that is cut is closed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A hundred cards, from which one is drawn for each datagram, and when all are, anew: what is lost
/// is chance, and how much is not.
struct Deck {
    rng: ChaCha8Rng,
    cards: Vec<u32>,
}

impl Deck {
    fn new(seed: u64) -> Deck {
        Deck { rng: ChaCha8Rng::seed_from_u64(seed), cards: Vec::new() }
    }

    fn draw(&mut self) -> u32 {
        if self.cards.is_empty() {
            self.cards.extend(0..100);
        }
        let place = self.rng.next_u32() as usize % self.cards.len();
        self.cards.swap_remove(place)
    }
}

/// One door.
struct Door {
    udp: UdpSocket,
    tcp: TcpListener,
    /// Where its process listens.
    local: OnceLock<SocketAddr>,
    ip: IpAddr,
}

struct Shared {
    doors: Vec<Door>,
    by_ip: BTreeMap<IpAddr, usize>,
    /// Of a hundred datagrams.
    lost: AtomicU32,
    /// Who has a lower number than this is cut off from those who have not. 0 cuts nobody off.
    cut_at: AtomicU32,
    chance: Mutex<Deck>,
    /// Datagrams that came, and that were lost by chance.
    came: AtomicU32,
    gone: AtomicU32,
    /// Both ends of each stream.
    streams: Mutex<Vec<(usize, usize, TcpStream, TcpStream)>>,
}

/// All doors of a cluster.
pub(crate) struct Doors {
    shared: Arc<Shared>,
}

impl Doors {
    /// Makes a door for each process that will have one of these addresses.
    pub(crate) fn new(ips: &[IpAddr], seed: u64) -> Doors {
        let doors = ips.iter().map(|ip| {
            let (udp, tcp) = loop {
                let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
                if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                    break (udp, tcp);
                }
            };
            Door { udp, tcp, local: OnceLock::new(), ip: *ip }
        });
        let doors: Vec<Door> = doors.collect();
        let by_ip = doors.iter().enumerate().map(|(number, door)| (door.ip, number)).collect();
        let shared = Arc::new(Shared {
            doors,
            by_ip,
            lost: AtomicU32::new(0),
            cut_at: AtomicU32::new(0),
            chance: Mutex::new(Deck::new(seed)),
            came: AtomicU32::new(0),
            gone: AtomicU32::new(0),
            streams: Mutex::default(),
        });
        for number in 0..ips.len() {
            let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
            std::thread::spawn(move || one.carry_datagrams(number));
            std::thread::spawn(move || other.carry_streams(number));
        }
        Doors { shared }
    }

    /// Where the others find a process.
    pub(crate) fn addr(&self, number: usize) -> SocketAddr {
        self.shared.doors[number].tcp.local_addr().unwrap()
    }

    /// Where a process is found to listen.
    pub(crate) fn open(&self, number: usize, local: SocketAddr) {
        self.shared.doors[number].local.set(local).unwrap();
    }

    /// Loses so many of a hundred datagrams from now on. Says how many came since this was said
    /// last, and how many of them were lost.
    pub(crate) fn lose(&self, percent: u32) -> (u32, u32) {
        self.shared.lost.store(percent, Ordering::SeqCst);
        let since = |counter: &AtomicU32| counter.swap(0, Ordering::SeqCst);
        (since(&self.shared.came), since(&self.shared.gone))
    }

    /// Cuts the processes below this number off from the others.
    pub(crate) fn cut_at(&self, number: usize) {
        self.shared.cut_at.store(number as u32, Ordering::SeqCst);
        let mut streams = self.shared.streams.lock().unwrap();
        streams.retain(|(from, to, one, other)| {
            let cut = self.shared.cut(*from, *to);
            if cut {
                // It may be closed already.
                drop(one.shutdown(Shutdown::Both));
                drop(other.shutdown(Shutdown::Both));
            }
            !cut
        });
    }

    /// Lets everything through.
    pub(crate) fn heal(&self) {
        self.shared.cut_at.store(0, Ordering::SeqCst);
    }
}

impl Shared {
    fn cut(&self, from: usize, to: usize) -> bool {
        let at = self.cut_at.load(Ordering::SeqCst) as usize;
        (from < at) != (to < at)
    }

    fn loses(&self) -> bool {
        let lost = self.lost.load(Ordering::SeqCst);
        let loses = lost > 0 && self.chance.lock().unwrap().draw() < lost;
        self.came.fetch_add(1, Ordering::SeqCst);
        self.gone.fetch_add(u32::from(loses), Ordering::SeqCst);
        loses
    }

    fn carry_datagrams(&self, to: usize) {
        let mut buf = vec![0; 65_535];
        while let Ok((len, from)) = self.doors[to].udp.recv_from(&mut buf) {
            let Some(from) = self.by_ip.get(&from.ip()).copied() else { continue };
            let Some(local) = self.doors[to].local.get() else { continue };
            if !self.cut(from, to) && !self.loses() {
                // What a socket does not take is lost, as datagrams are.
                drop(self.doors[from].udp.send_to(&buf[..len], local));
            }
        }
    }

    fn carry_streams(self: Arc<Shared>, to: usize) {
        while let Ok((stream, from)) = self.doors[to].tcp.accept() {
            let Some(from) = self.by_ip.get(&from.ip()).copied() else { continue };
            let Some(local) = self.doors[to].local.get().filter(|_| !self.cut(from, to)) else {
                continue;
            };
            let Ok(behind) = TcpStream::connect(local) else { continue };
            let pair = || Some((stream.try_clone().ok()?, behind.try_clone().ok()?));
            let Some((one, other)) = pair() else { continue };
            let mut streams = self.streams.lock().unwrap();
            streams.retain(|(_, _, one, _)| one.peer_addr().is_ok());
            streams.push((from, to, one, other));
            drop(streams);
            let Some((one, other)) = pair() else { continue };
            std::thread::spawn(move || pass(&one, &other));
            std::thread::spawn(move || pass(&behind, &stream));
        }
    }
}

/// Passes on what one end says until it is closed, and closes the other.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buf = vec![0; 1 << 16];
    while let Ok(len) = from.read(&mut buf)
        && len > 0
        && to.write_all(&buf[..len]).is_ok()
    {}
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
