//! A member that is gone for good, and a new one in its place.
//!
//! The others are told that the old one is gone, its data are forgotten, they are told of the new
//! one, and it starts with nothing and joins. Each step may fail or be of unknown outcome, so the
//! next one is chosen by what the list of members says, not by what was tried.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberRemoveRequest, MemberRemoveResponse,
};
use tokio::time::{Instant, sleep, timeout};

use super::{ANSWER, Cluster};

const PATIENCE: Duration = Duration::from_secs(60);

/// How far a replacement has come.
enum Stage {
    /// The old member is still on the list.
    Remove,
    /// Nobody is.
    Add,
    /// The new member is.
    Join,
}

impl Cluster {
    /// Replaces the member of a slot by a new one without data. The others must be well.
    ///
    /// # Errors
    /// If the others do not agree to it in time.
    pub(crate) async fn replace(&mut self, slot: usize) -> Result<()> {
        let through = (slot + 1) % self.count();
        let old = self.id_at(through, slot).await?.context("the member is not on the list")?;
        self.kill(slot);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.advance(slot, old).await {
                Ok(Stage::Join) => break,
                Ok(Stage::Remove | Stage::Add) => {}
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(500)).await,
            }
        }
        let member = &mut self.members[slot];
        // It was given no data to be sorry for: the new one must not find them.
        if let Err(error) = std::fs::remove_dir_all(member.folder.join("data")) {
            bail!("cannot forget the data of m{slot}: {error}");
        }
        member.replacements += 1;
        member.name = format!("m{slot}r{}", member.replacements);
        member.existing = true;
        let url = |slot: usize| {
            let (name, door) = (&self.members[slot].name, self.network.place(slot).door);
            format!("{name}=http://{door}")
        };
        let all: Vec<String> = (0..self.count()).map(url).collect();
        self.members[slot].joins = all.join(",");
        self.start(slot)
    }

    /// Takes the next step, whichever that is.
    async fn advance(&self, slot: usize, old: u64) -> Result<Stage> {
        let mut result = Err(anyhow::anyhow!("there is no other member"));
        for through in (0..self.count()).filter(|other| *other != slot) {
            result = self.advance_through(through, slot, old).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn advance_through(&self, through: usize, slot: usize, old: u64) -> Result<Stage> {
        let listed = self.id_at(through, slot).await?;
        let client = self.client(through).await?;
        match listed {
            Some(id) if id == old => {
                remove(&client, id).await?;
                Ok(Stage::Remove)
            }
            None => {
                let url = format!("http://{}", self.network.place(slot).door);
                let request = MemberAddRequest { peer_ur_ls: vec![url], is_learner: false };
                timeout(ANSWER * 2, client.cluster().member_add(request)).await??;
                Ok(Stage::Add)
            }
            Some(_) => Ok(Stage::Join),
        }
    }

    /// The number of the member with the addresses of `slot`, as a member knows it.
    async fn id_at(&self, through: usize, slot: usize) -> Result<Option<u64>> {
        let client = self.client(through).await?;
        let request = MemberListRequest { linearizable: true };
        let list = timeout(ANSWER, client.cluster().member_list(request)).await??.into_inner();
        let url = format!("http://{}", self.network.place(slot).door);
        let found = list.members.iter().find(|member| member.peer_ur_ls.contains(&url));
        Ok(found.map(|member| member.id))
    }
}

async fn remove(client: &Client, id: u64) -> Result<MemberRemoveResponse> {
    let request = MemberRemoveRequest { id };
    Ok(timeout(ANSWER * 2, client.cluster().member_remove(request)).await??.into_inner())
}
