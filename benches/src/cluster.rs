//! The members of one cluster: where they sit, and what they cost together.
//!
//! A [`Plan`] outlives the processes: a cluster that is started again must find its members at the
//! ports they had, for those stand in its data.
//!
//! Ports are taken below those that the kernel gives to connections. A thousand clients would
//! otherwise sit, sooner or later, on a port that a member wants back.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use drystone_etcd_api::{
    client::{self, Client},
    etcdserverpb::StatusRequest,
};
use tokio::time::{Instant, sleep};

use crate::{
    proc,
    server::{Seat, Server},
};

/// Ports are looked for from here on: the kernel's own begin at 32768 unless somebody moved them.
const PORT_MIN: u16 = 20_000;

/// And up to here, then from the beginning again.
const PORT_MAX: u16 = 32_000;

/// How long members that answer may take to agree on a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// Pause between questions for the leader.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Who takes part in a cluster, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    folder: PathBuf,
    seats: Vec<Seat>,
}

impl Plan {
    /// A cluster of `members` that all run `program` with `flags`, with their data in `folder`,
    /// which is made.
    ///
    /// # Errors
    /// If the folder cannot be made or no ports are free.
    pub fn new(program: &Path, flags: &[String], folder: &Path, members: usize) -> Result<Plan> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let ports = free_ports(2 * members)?;
        let names: Vec<String> = (1..=members).map(|number| format!("m{number}")).collect();
        let seats = names.iter().zip(ports.chunks_exact(2)).map(|(name, ports)| Seat {
            program: program.to_owned(),
            flags: flags.to_vec(),
            name: name.clone(),
            data_dir: folder.join(name),
            client_port: ports[0],
            peer_port: ports[1],
            initial_cluster: String::new(),
        });
        let mut seats: Vec<Seat> = seats.collect();
        let all: Vec<String> =
            seats.iter().map(|seat| format!("{}={}", seat.name, seat.peer_url())).collect();
        for seat in &mut seats {
            seat.initial_cluster = all.join(",");
        }
        Ok(Plan { folder: folder.to_owned(), seats })
    }

    /// Where the data is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts all members.
    ///
    /// # Errors
    /// If one of them cannot be started.
    pub fn spawn(&self) -> Result<Cluster> {
        let servers = self.seats.iter().map(Server::spawn).collect::<Result<Vec<_>>>()?;
        Ok(Cluster { servers: servers.into_iter().map(Some).collect(), leader: 0 })
    }

    /// Starts all members and waits until they are ready.
    ///
    /// # Errors
    /// As [`Plan::spawn`] and [`Cluster::ready`].
    pub async fn start(&self) -> Result<Cluster> {
        let mut cluster = self.spawn()?;
        cluster.ready().await?;
        Ok(cluster)
    }
}

/// A running cluster; some members may have been killed.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Option<Server>>,
    leader: usize,
}

impl Cluster {
    /// Waits until each member has answered and they agree on a leader.
    ///
    /// # Errors
    /// If one of them ends early, or never answers.
    pub async fn ready(&mut self) -> Result<()> {
        for server in self.servers.iter_mut().flatten() {
            server.ready().await?;
        }
        self.find_leader().await
    }

    /// The members that run, the leader first.
    fn running(&self) -> impl Iterator<Item = &Server> {
        let order = (0..self.servers.len()).map(|turn| (self.leader + turn) % self.servers.len());
        order.filter_map(|number| self.servers[number].as_ref())
    }

    /// Where clients reach the members that run, the leader first: a lone client talks to it.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.running().map(|server| server.seat.endpoint()).collect()
    }

    /// What the members call their version.
    #[must_use]
    pub fn version(&self) -> String {
        self.running().next().map(|server| server.version.clone()).unwrap_or_default()
    }

    /// Processes of the members.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.running().map(|server| server.pid).collect()
    }

    /// How long the slowest member took from its start to its first answer.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.running().map(|server| server.ready_after).max().unwrap_or_default()
    }

    /// CPU time that all members have used so far.
    ///
    /// # Errors
    /// If one has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.running().map(|server| proc::cpu_time(server.pid)).sum()
    }

    /// Sum over the members of the memory each has now.
    ///
    /// # Errors
    /// If one has ended.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.running().map(|server| proc::rss_bytes(server.pid)).sum()
    }

    /// Sum over the members of the most memory each has had since its start or the last
    /// [`Cluster::forget_peak`].
    ///
    /// # Errors
    /// If one has ended.
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        self.running().map(|server| proc::peak_rss_bytes(server.pid)).sum()
    }

    /// Lets the peak of memory begin anew at what there is now.
    ///
    /// # Errors
    /// If a member has ended, or the kernel does not allow it.
    pub fn forget_peak(&self) -> Result<()> {
        self.running().try_for_each(|server| proc::forget_peak(server.pid))
    }

    /// What all members have written to the disk so far.
    ///
    /// # Errors
    /// If one has ended.
    pub fn written_bytes(&self) -> Result<u64> {
        self.running().map(|server| proc::written_bytes(server.pid)).sum()
    }

    /// A client of the leader, as it was when the cluster started or was last asked.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn client(&self) -> Result<Client> {
        let endpoint = self.endpoints().into_iter().next().context("no member runs")?;
        Ok(client::connect(&endpoint, &client::Config::default()).await?)
    }

    /// Asks the members until one says that it leads.
    ///
    /// # Errors
    /// If none does for a long time.
    pub async fn find_leader(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            for number in 0..self.servers.len() {
                let Some(server) = &self.servers[number] else { continue };
                if leads(&server.seat.endpoint()).await.unwrap_or(false) {
                    self.leader = number;
                    return Ok(());
                }
            }
            ensure!(begin.elapsed() < LEADER_WITHIN, "the members agree on no leader");
            sleep(ASK_EVERY).await;
        }
    }

    /// Kills the leader, and returns its seat for [`Cluster::revive`].
    ///
    /// # Errors
    /// If it has been killed before.
    pub async fn kill_leader(&mut self) -> Result<Seat> {
        let server = self.servers[self.leader].take().context("the leader is dead already")?;
        let seat = server.seat.clone();
        server.kill().await?;
        Ok(seat)
    }

    /// Starts a killed member again and waits until it answers.
    ///
    /// # Errors
    /// If it does not, or is not of this cluster.
    pub async fn revive(&mut self, seat: &Seat) -> Result<()> {
        let place = self.servers.iter_mut().find(|server| server.is_none());
        let place = place.context("all members run")?;
        let server = place.insert(Server::spawn(seat)?);
        server.ready().await?;
        self.find_leader().await
    }

    /// Kills all members.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn kill(self) -> Result<()> {
        for server in self.servers.into_iter().flatten() {
            server.kill().await?;
        }
        Ok(())
    }

    /// Asks all members to end, one after the other.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn stop(self) -> Result<()> {
        for server in self.servers.into_iter().flatten() {
            server.stop().await?;
        }
        Ok(())
    }
}

async fn leads(endpoint: &str) -> Result<bool> {
    let client = client::connect(endpoint, &client::Config::default()).await?;
    let status = client.maintenance().status(StatusRequest {}).await?.into_inner();
    let id = status.header.context("a status has a header")?.member_id;
    Ok(status.leader == id)
}

/// Ports that nobody listens on and that this process has given to nobody.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    const WIDTH: u16 = PORT_MAX - PORT_MIN;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Two processes that measure at once begin at different places.
    let offset = (std::process::id().wrapping_mul(61) % u32::from(WIDTH)) as u16;
    let mut ports = Vec::new();
    for _ in 0..WIDTH {
        if ports.len() == count {
            break;
        }
        let place = (u32::from(TAKEN.fetch_add(1, Relaxed)) + u32::from(offset)) % u32::from(WIDTH);
        let port = PORT_MIN + place as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    ensure!(ports.len() == count, "no free ports between {PORT_MIN} and {PORT_MAX}");
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two members at one port, or a later cluster at the port of one that will be started again.
    #[test]
    fn no_port_is_given_twice() {
        let mut ports: Vec<u16> = (0..10).flat_map(|_| free_ports(6).unwrap()).collect();
        assert!(ports.iter().all(|port| (PORT_MIN..PORT_MAX).contains(port)), "{ports:?}");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 60);
    }

    /// A member that is not told of the others would be a cluster of its own.
    #[test]
    fn every_member_knows_all() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan::new(Path::new("etcd"), &[], &dir.path().join("x"), 3).unwrap();
        let [one, two, three] = &plan.seats[..] else { panic!("three members") };
        for seat in [one, two, three] {
            for other in [one, two, three] {
                let entry = format!("{}={}", other.name, other.peer_url());
                assert!(seat.initial_cluster.split(',').any(|found| found == entry));
            }
        }
        assert_ne!(one.data_dir, two.data_dir);
        assert!(plan.folder().is_dir());
    }
}
