//! Where members listen, how they reach each other, and how to come between them.
//!
//! As root every member has a network namespace of its own, and a cut drops packets. Otherwise all
//! are on loopback, and a cut holds bytes in the door of a member (`proxy.rs`). Either way members
//! know each other by the addresses of their doors, so links can be slow. Where the kernel has
//! `netem`, it makes lines bad, which is more than slow (`netem.rs`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::link::Links;
use crate::namespaces::Namespaces;
use crate::netem::{Netem, Quality};
use crate::proxy::{Proxy, Who};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// The addresses of one member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Where clients connect.
    pub(crate) client: SocketAddr,
    /// Where it listens for members.
    pub(crate) peer: SocketAddr,
    /// Where members connect.
    pub(crate) door: SocketAddr,
}

/// The network among the members.
#[derive(Debug)]
pub(crate) struct Network {
    places: Vec<Place>,
    links: Arc<Links>,
    rooms: Option<Namespaces>,
    /// Where there are rooms and the kernel has it.
    netem: Option<Netem>,
    /// The processes of the members, 0 where there is none.
    pids: Arc<Vec<AtomicU32>>,
}

impl Network {
    /// A network for so many members, and what it lacks of the best that there is, and why.
    ///
    /// # Errors
    /// If there are no free addresses.
    pub(crate) fn new(count: usize) -> Result<(Network, Vec<String>)> {
        let mut lacks = Vec::new();
        let rooms = Namespaces::new(count).map_err(|why| {
            let how = "members are on loopback, and a cut holds bytes instead of dropping packets";
            lacks.push(format!("network namespaces: {why:#}; {how}"));
        });
        let rooms = rooms.ok();
        // Without rooms that has been said already.
        let netem = rooms.as_ref().and_then(|rooms| {
            let netem = Netem::new(rooms.name(0)).map_err(|why| {
                let how = "links are slow by late bytes, and no packet is lost or out of order";
                lacks.push(format!("netem: {why:#}; {how}"));
            });
            netem.ok()
        });
        let places = (0..count).map(|slot| match &rooms {
            Some(rooms) => {
                let inside = rooms.inside(slot);
                let client = SocketAddr::new(inside, CLIENT_PORT);
                let peer = SocketAddr::new(inside, PEER_PORT);
                let door = SocketAddr::new(rooms.door(slot), PEER_PORT);
                Ok(Place { client, peer, door })
            }
            None => Ok(Place { client: free()?, peer: free()?, door: free()? }),
        });
        let network = Network {
            places: places.collect::<Result<_>>()?,
            links: Arc::new(Links::new(count)),
            rooms,
            netem,
            pids: Arc::new((0..count).map(|_| AtomicU32::new(0)).collect()),
        };
        network.open_doors()?;
        Ok((network, lacks))
    }

    fn open_doors(&self) -> Result<()> {
        let doors: Vec<SocketAddr> = self.places.iter().map(|place| place.door).collect();
        for (slot, place) in self.places.iter().enumerate() {
            let listener = TcpListener::bind(place.door).context("cannot open a door")?;
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let faces = self.rooms.is_some().then(|| doors.clone());
            let links = Arc::clone(&self.links);
            let proxy = Proxy { slot, behind: place.peer, faces, who: self.who(), links };
            tokio::spawn(proxy.serve(listener));
        }
        Ok(())
    }

    /// In a namespace a member is known by its address; on loopback by the process that holds the
    /// other end of the connection.
    fn who(&self) -> Who {
        let inside: Vec<IpAddr> = self.places.iter().map(|place| place.client.ip()).collect();
        if self.rooms.is_some() {
            return Arc::new(move |from| inside.iter().position(|ip| *ip == from.ip()));
        }
        let pids = Arc::clone(&self.pids);
        Arc::new(move |from| {
            let inode = inode(from.port())?;
            let holds = |pid: &AtomicU32| holds(pid.load(Ordering::Acquire), &inode);
            pids.iter().position(holds)
        })
    }

    /// The addresses of a member.
    pub(crate) fn place(&self, slot: usize) -> Place {
        self.places[slot]
    }

    /// The namespace that a member must be started in.
    pub(crate) fn room(&self, slot: usize) -> Option<&str> {
        self.rooms.as_ref().map(|rooms| rooms.name(slot))
    }

    /// Says which process a member is now, 0 for none.
    pub(crate) fn set_pid(&self, slot: usize, pid: u32) {
        self.pids[slot].store(pid, Ordering::Release);
    }

    /// Lets nothing through any more that one member sends to another.
    ///
    /// # Errors
    /// If the packet filter refuses.
    pub(crate) fn cut(&self, from: usize, to: usize) -> Result<()> {
        match &self.rooms {
            Some(rooms) => rooms.cut(from, to),
            None => {
                let link = self.links.between(Some(from), Some(to));
                link.expect("both are members").hold(true);
                Ok(())
            }
        }
    }

    /// Makes all links of these members bad: by `netem`, or slow at least.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn worsen(&self, slots: &[usize], quality: Quality) -> Result<()> {
        if let (Some(rooms), Some(netem)) = (&self.rooms, &self.netem) {
            let worsen =
                |slot: &usize| netem.worsen(rooms.name(*slot), &rooms.veth(*slot), quality);
            return slots.iter().try_for_each(worsen);
        }
        let others = |one: usize| (0..self.places.len()).filter(move |other| *other != one);
        for (one, other) in slots.iter().flat_map(|one| others(*one).map(|other| (*one, other))) {
            for (from, to) in [(one, other), (other, one)] {
                let link = self.links.between(Some(from), Some(to));
                let link = link.expect("both are members");
                // The doors know no "less": they are late by up to twice the jitter.
                link.slow(quality.delay_ms, quality.jitter_ms * 2);
            }
        }
        Ok(())
    }

    /// Makes all links good.
    ///
    /// # Errors
    /// If the packet filter or the kernel refuses.
    pub(crate) fn heal(&self) -> Result<()> {
        self.links.heal();
        self.netem.as_ref().map_or(Ok(()), Netem::heal)?;
        self.rooms.as_ref().map_or(Ok(()), Namespaces::heal)
    }
}

/// An address on loopback where nobody listens, below the ports that the kernel gives to outgoing
/// connections, and never the same twice in a process.
fn free() -> Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let spread = std::process::id() % 120 * 100;
    for _ in 0..12_000 {
        let offset = (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(offset).expect("below 12,000");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port is free")
}

/// The socket on loopback with this port, as the kernel numbers it.
fn inode(port: u16) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let address = format!("0100007F:{port:04X}");
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&address))?;
    line.split_whitespace().nth(9).map(str::to_owned)
}

/// Whether a process has this socket open.
fn holds(pid: u32, inode: &str) -> bool {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let wanted = format!("socket:[{inode}]");
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let mut links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.any(|link| link.as_os_str() == wanted.as_str())
}
