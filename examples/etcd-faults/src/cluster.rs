//! The members: their processes, their disks, and what can be done to them.
//!
//! ```text
//!            start        SIGSTOP
//!   absent ────────► runs ◄─────► paused          replace: remove, forget the data, add, join
//!      ▲              │ SIGCONT
//!      └──────────────┘ kill -9, SIGTERM, a full disk
//! ```
//!
//! A slot is a place in the cluster with its addresses, and stays. Who sits there may be replaced
//! by a new member with another name, another number and no data.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::StatusRequest;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::disk::Disk;
use crate::lives::Lives;
use crate::network::Network;
use crate::process::Process;
use crate::server::Server;

mod replacement;

/// How long a call of ours may take.
const ANSWER: Duration = Duration::from_secs(4);
/// Milliseconds without a leader until another is elected.
pub(crate) const ELECTION_MS: u64 = 1_000;

/// One place in the cluster.
#[derive(Debug)]
struct Member {
    /// Changes with each replacement.
    name: String,
    folder: PathBuf,
    /// What it must be told about the others when it starts without data.
    joins: String,
    existing: bool,
    process: Option<Process>,
    disk: Option<Disk>,
    /// Its disk is full, or was until just now: a server may end of that.
    full: bool,
    replacements: u32,
}

/// All members.
#[derive(Debug)]
pub(crate) struct Cluster {
    server: Server,
    folder: PathBuf,
    // Before the network, whose end would take them along.
    members: Vec<Member>,
    network: Network,
    lives: Arc<Lives>,
    /// Servers that ended though nobody ended them, and for no reason that was given to them.
    ended: Vec<String>,
}

impl Cluster {
    /// Prepares so many members with their data below a folder, and starts none.
    ///
    /// # Errors
    /// If disks were asked for and cannot be mounted.
    pub(crate) fn new(
        server: Server,
        network: Network,
        folder: &Path,
        count: usize,
        disks: bool,
    ) -> Result<Cluster> {
        let name = |slot: usize| format!("m{slot}");
        let url = |slot: usize| format!("{}=http://{}", name(slot), network.place(slot).door);
        let all: Vec<String> = (0..count).map(url).collect();
        let members = (0..count).map(|slot| {
            let folder = folder.join(name(slot));
            std::fs::create_dir_all(&folder)?;
            let disk = disks.then(|| Disk::new(&folder)).transpose()?;
            let (name, joins) = (name(slot), all.join(","));
            let (existing, process, full, replacements) = (false, None, false, 0);
            Ok(Member { name, folder, joins, existing, process, disk, full, replacements })
        });
        let members = members.collect::<Result<_>>()?;
        let lives = Arc::new(Lives::new(count));
        let (folder, ended) = (folder.to_owned(), Vec::new());
        Ok(Cluster { server, folder, members, network, lives, ended })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// The links among them.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Which processes run.
    pub(crate) fn lives(&self) -> Arc<Lives> {
        Arc::clone(&self.lives)
    }

    /// Where clients find the members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let url = |slot| format!("http://{}", self.network.place(slot).client);
        (0..self.count()).map(url).collect()
    }

    /// What the server of a slot has said, for the report.
    pub(crate) fn log(&self, slot: usize) -> PathBuf {
        self.folder.join(format!("m{slot}.log"))
    }

    /// Starts the server of a slot, on the data that is there.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn start(&mut self, slot: usize) -> Result<()> {
        let log = self.log(slot);
        let (place, member) = (self.network.place(slot), &mut self.members[slot]);
        if member.process.is_some() {
            return Ok(());
        }
        let state = if member.existing { "existing" } else { "new" };
        let (client, peer) = (place.client, place.peer);
        let mut flags: Vec<String> = Vec::new();
        let mut flag = |name: &str, value: String| flags.push(format!("--{name}={value}"));
        flag("name", member.name.clone());
        flag("data-dir", member.folder.join("data").display().to_string());
        flag("listen-client-urls", format!("http://{client}"));
        flag("advertise-client-urls", format!("http://{client}"));
        flag("listen-peer-urls", format!("http://{peer}"));
        flag("initial-advertise-peer-urls", format!("http://{}", place.door));
        flag("initial-cluster", member.joins.clone());
        flag("initial-cluster-state", state.to_owned());
        flag("initial-cluster-token", format!("faults-{}", std::process::id()));
        flag("heartbeat-interval", (ELECTION_MS / 10).to_string());
        flag("election-timeout", ELECTION_MS.to_string());
        flag("snapshot-count", "2000".to_owned());
        flags.extend(self.server.flags.iter().cloned());
        let room = self.network.room(slot);
        let process = Process::start(&self.server.program, &flags, room, &log)?;
        self.network.set_pid(slot, process.pid());
        member.process = Some(process);
        self.lives.set(slot, true);
        Ok(())
    }

    /// Ends the server of a slot where it stands.
    pub(crate) fn kill(&mut self, slot: usize) {
        if let Some(process) = self.members[slot].process.take() {
            process.kill();
        }
        self.gone(slot);
    }

    /// Asks the server of a slot to end, and waits.
    pub(crate) async fn terminate(&mut self, slot: usize) {
        if let Some(process) = self.members[slot].process.take() {
            process.terminate().await;
        }
        self.gone(slot);
    }

    fn gone(&self, slot: usize) {
        self.network.set_pid(slot, 0);
        self.lives.set(slot, false);
    }

    /// Stops the server of a slot in mid-air, or lets it go on.
    pub(crate) fn pause(&self, slot: usize, paused: bool) {
        if let Some(process) = &self.members[slot].process {
            process.signal(if paused { Signal::STOP } else { Signal::CONT });
        }
    }

    /// Leaves no room on the disk of a slot.
    ///
    /// # Errors
    /// If it has no disk of its own.
    pub(crate) fn fill_disk(&mut self, slot: usize) -> Result<()> {
        self.members[slot].full = true;
        self.members[slot].disk.as_ref().context("no disk of its own")?.fill()
    }

    /// Takes every fault away, and starts whoever has ended.
    ///
    /// # Errors
    /// If the network cannot be healed, or a program cannot be started.
    pub(crate) fn heal(&mut self) -> Result<()> {
        self.network.heal()?;
        for slot in 0..self.count() {
            let member = &self.members[slot];
            if let Some(disk) = &member.disk {
                disk.free();
            }
            self.pause(slot, false);
            if self.bury(slot) {
                self.start(slot)?;
            }
            self.members[slot].full = false;
        }
        Ok(())
    }

    /// Whether nobody runs in this slot. Who has ended by himself is remembered.
    fn bury(&mut self, slot: usize) -> bool {
        let member = &mut self.members[slot];
        if let Some(status) = member.process.as_mut().and_then(Process::ended) {
            if !member.full {
                let log = self.folder.join(format!("m{slot}.log"));
                let log = log.display();
                self.ended.push(format!("m{slot} ended by itself, {status}; see {log}"));
            }
            member.process = None;
            self.gone(slot);
        }
        self.members[slot].process.is_none()
    }

    /// Servers that ended by themselves so far.
    pub(crate) fn ended(&self) -> &[String] {
        &self.ended
    }

    /// A new connection to a member.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn client(&self, slot: usize) -> Result<Client> {
        let place = self.network.place(slot).client.to_string();
        let config = Config { connect_timeout: Duration::from_secs(1), ..Config::default() };
        Ok(connect(&place, &config).await?)
    }

    /// The slot that leads, as far as the members know.
    pub(crate) async fn leader(&self) -> Option<usize> {
        for slot in 0..self.count() {
            if self.leads(slot).await.is_ok_and(|leads| leads) {
                return Some(slot);
            }
        }
        None
    }

    async fn leads(&self, slot: usize) -> Result<bool> {
        let asked = async {
            let client = self.client(slot).await?;
            anyhow::Ok(client.maintenance().status(StatusRequest::default()).await?.into_inner())
        };
        let status = timeout(Duration::from_secs(1), asked).await??;
        Ok(status.leader != 0 && status.header.is_some_and(|me| me.member_id == status.leader))
    }

    /// Waits until every member knows a leader, and starts again whoever ends meanwhile.
    ///
    /// # Errors
    /// If that takes longer than it may.
    pub(crate) async fn wait_until_well(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let mut ill = None;
            for slot in 0..self.count() {
                if let Err(error) = self.is_well(slot).await {
                    ill = Some((slot, error));
                }
            }
            let Some((slot, error)) = ill else { return Ok(()) };
            if Instant::now() >= deadline {
                bail!("m{slot} is not well again: {error:#}; see {}", self.log(slot).display());
            }
            sleep(Duration::from_millis(300)).await;
            self.heal()?;
        }
    }

    /// A member is well if it reads what the majority has.
    async fn is_well(&self, slot: usize) -> Result<()> {
        use drystone_etcd_api::etcdserverpb::RangeRequest;
        let asked = async {
            let client = self.client(slot).await?;
            let request = RangeRequest { key: "none".into(), ..RangeRequest::default() };
            anyhow::Ok(client.kv().range(request).await?)
        };
        timeout(ANSWER, asked).await.context("no answer")??;
        Ok(())
    }
}
