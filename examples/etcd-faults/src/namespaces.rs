//! A room with a network of its own for every member, and a bridge that joins them.
//!
//! ```text
//!        host side   clients, doors
//!   ─────────────────────┬──────────────────────── bridge, 10.x.y.1
//!        │ veth          │ veth          │ veth    doors of members: 10.x.y.100, .101, .102
//!   ┌────┴─────┐    ┌────┴─────┐    ┌────┴─────┐
//!   │ 10.x.y.10│    │ 10.x.y.11│    │ 10.x.y.12│   network namespaces, one process each
//!   └──────────┘    └──────────┘    └──────────┘
//! ```
//!
//! To all others a member *is* its door: they connect to it, and what it sends comes from it. So
//! whatever member `a` sends to `b`, be it a question or an answer, leaves `a` for the door of `b`,
//! and one rule of the packet filter in the room of `a` cuts that direction: packets vanish without
//! a word, as on a broken line.
//!
//! Names carry the number of this process. Everything is taken down when this is dropped; what a
//! killed run leaves, the next one finds by these names and removes ([`sweep`]).

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::command::{exists, run};

const PREFIX: &str = "etcd-faults-";
const BRIDGE: &str = "efb";

/// The rooms of one run.
#[derive(Debug)]
pub(crate) struct Namespaces {
    bridge: String,
    names: Vec<String>,
    /// The first three bytes of all addresses.
    net: [u8; 3],
}

impl Namespaces {
    /// Makes rooms for so many members.
    ///
    /// # Errors
    /// Without root, without the programs, or where the kernel refuses.
    pub(crate) fn new(count: usize) -> Result<Namespaces> {
        if !geteuid().is_root() {
            bail!("only root can make network namespaces");
        }
        for program in ["ip", "nft"] {
            if !exists(program) {
                bail!("there is no program `{program}`");
            }
        }
        let pid = std::process::id();
        let [.., high, low] = pid.to_be_bytes();
        let rooms = Namespaces {
            bridge: format!("{BRIDGE}{pid}"),
            names: (0..count).map(|slot| format!("{PREFIX}{pid}-{slot}")).collect(),
            net: [10, 100 + high % 64, low],
        };
        rooms.build().context("cannot make network namespaces")?;
        Ok(rooms)
    }

    fn build(&self) -> Result<()> {
        let bridge = &self.bridge;
        run(&format!("ip link add {bridge} type bridge"))?;
        run(&format!("ip addr add {}/24 dev {bridge}", self.host(1)))?;
        for slot in 0..self.names.len() {
            run(&format!("ip addr add {}/24 dev {bridge}", self.door(slot)))?;
        }
        run(&format!("ip link set {bridge} up"))?;
        for (slot, name) in self.names.iter().enumerate() {
            let veth = self.veth(slot);
            run(&format!("ip netns add {name}"))?;
            run(&format!("ip link add {veth} type veth peer name eth0 netns {name}"))?;
            run(&format!("ip link set {veth} master {bridge} up"))?;
            run(&format!("ip -n {name} addr add {}/24 dev eth0", self.inside(slot)))?;
            run(&format!("ip -n {name} link set eth0 up"))?;
            run(&format!("ip -n {name} link set lo up"))?;
            let filter = format!("ip netns exec {name} nft");
            run(&format!("{filter} add table ip faults"))?;
            run(&format!("{filter} add set ip faults cut {{ type ipv4_addr ; }}"))?;
            let hook = "{ type filter hook output priority 0 ; }";
            run(&format!("{filter} add chain ip faults out {hook}"))?;
            run(&format!("{filter} add rule ip faults out ip daddr @cut drop"))?;
        }
        Ok(())
    }

    /// The end of a member's line on the side of the host.
    pub(crate) fn veth(&self, slot: usize) -> String {
        format!("efv{}-{slot}", std::process::id())
    }

    fn host(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, last).into()
    }

    /// Where a member is.
    pub(crate) fn inside(&self, slot: usize) -> IpAddr {
        self.host(10 + u8::try_from(slot).expect("a handful of members"))
    }

    /// Where the other members find it.
    pub(crate) fn door(&self, slot: usize) -> IpAddr {
        self.host(100 + u8::try_from(slot).expect("a handful of members"))
    }

    /// The room of a member.
    pub(crate) fn name(&self, slot: usize) -> &str {
        &self.names[slot]
    }

    /// Lets nothing through any more that one member sends to another.
    pub(crate) fn cut(&self, from: usize, to: usize) -> Result<()> {
        let (name, door) = (&self.names[from], self.door(to));
        run(&format!("ip netns exec {name} nft add element ip faults cut {{ {door} }}"))?;
        Ok(())
    }

    /// Lets everything through again.
    pub(crate) fn heal(&self) -> Result<()> {
        for name in &self.names {
            run(&format!("ip netns exec {name} nft flush set ip faults cut"))?;
        }
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            remove(name);
        }
        // It may never have been made.
        let _ = run(&format!("ip link del {}", self.bridge));
    }
}

/// Removes a namespace and whoever still lives in it.
fn remove(name: &str) {
    let pids = run(&format!("ip netns pids {name}")).unwrap_or_default();
    for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = run(&format!("ip netns del {name}"));
}

/// The name of a file system that this run mounts.
pub(crate) fn mount_name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Removes what dead runs left: namespaces with their processes, bridges, mounted disks. What
/// belongs to a number that some process has now is left alone.
pub(crate) fn sweep() {
    if !geteuid().is_root() || !exists("ip") {
        return;
    }
    // Of one that has ended and is not yet waited for there is a number, and no program.
    let runs = |pid: &str| std::fs::read_link(Path::new("/proc").join(pid).join("exe")).is_ok();
    let dead = |pid: &str| !pid.is_empty() && !runs(pid);
    for line in run("ip netns list").unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(dead) {
            remove(name);
        }
    }
    for line in run("ip -o link show type bridge").unwrap_or_default().lines() {
        let name = line.split(':').nth(1).unwrap_or_default().trim();
        if name.strip_prefix(BRIDGE).is_some_and(dead) {
            let _ = run(&format!("ip link del {name}"));
        }
    }
    for line in std::fs::read_to_string("/proc/mounts").unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(folder)) = (words.next(), words.next()) else { continue };
        if name.strip_prefix(PREFIX).is_some_and(dead) {
            let _ = unmount(folder, UnmountFlags::DETACH);
        }
    }
}
