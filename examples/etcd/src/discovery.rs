//! Finding the other founders through another etcd: `--discovery-token`, `--discovery-endpoints`.
//!
//! **The problem.** `--initial-cluster` has to name all founders before the first of them starts,
//! and where addresses are dealt out at the start, nobody can.
//!
//! **The idea.** Another etcd, which anybody can reach, has a folder for the cluster that is to
//! be. Whoever sets the cluster up writes how many founders there will be; each of them writes
//! where it is, and waits until there are enough:
//!
//! ```text
//!   /_etcd/registry/TOKEN/_config/size        3
//!   /_etcd/registry/TOKEN/members/8e9e05c5    a=http://10.0.0.7:2380
//!   /_etcd/registry/TOKEN/members/…           the first `size` of them found the cluster
//! ```
//!
//! All of them take the first so many by the revision that each was written at, and so agree. The
//! token also tells the cluster from others, as `--initial-cluster-token` does otherwise. Members
//! of real etcd and of this server can read each other here.
//!
//! **Promises.** What cannot be reached is tried again, ever more seldom, for as long as it takes;
//! what stands there and is wrong ends the start, with the words of etcd. A member that has data
//! does not ask.
//!
//! **Left out.** The older discovery over version 2 of the interface (`--discovery`). The records
//! of a domain are another way ([`crate::srv`]).

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb::KeyValue;
use pb::watch_request::RequestUnion;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt as _;

use crate::config::{Founder, founders_in};
use crate::identity::MemberId;
use crate::remote::{Reach, Remote};

const REGISTRY: &str = "/_etcd/registry";
/// Between two attempts, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Where the founders of which cluster meet.
#[derive(Clone, Debug)]
pub(crate) struct Discovery {
    /// The cluster that is to be.
    pub(crate) token: String,
    /// The etcd that has its folder.
    pub(crate) reach: Reach,
    /// How long it may take to answer.
    pub(crate) request_timeout: Duration,
}

/// What the folder says.
struct Folder {
    size: usize,
    /// By the revision that they were written at first.
    members: Vec<KeyValue>,
    /// When it said so.
    revision: i64,
}

/// Why there are no founders.
enum Failure {
    /// It may be otherwise the next time.
    Passing(anyhow::Error),
    Lasting(anyhow::Error),
}

impl Discovery {
    /// Writes down where `own` is, waits until there are as many as there should be, and tells who
    /// they are.
    ///
    /// # Errors
    ///
    /// If what stands in the folder is wrong, or others were faster.
    pub(crate) async fn founders(&self, own: &Founder) -> Result<Vec<Founder>> {
        let id = MemberId::of_founder(&own.peer_urls, &self.token);
        let mut pause = PAUSE;
        loop {
            let why = match self.attempt(own, id).await {
                Ok(founders) => return Ok(founders),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(why)) => why,
            };
            tracing::warn!(
                endpoints = self.reach.endpoints.join(","),
                reason = format!("{why:#}"),
                pause = format!("{pause:?}"),
                "retry connecting to discovery service"
            );
            sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, own: &Founder, id: MemberId) -> Result<Vec<Founder>, Failure> {
        let remote = self.reach.connect_any().await.map_err(Failure::Passing)?;
        let key = format!("{REGISTRY}/{}/members/{:x}", self.token, id.0);
        let mut folder = self.look(&remote).await?;
        if folder.founders().all(|member| member.key != key) {
            if folder.members.len() >= folder.size {
                return Err(Failure::Lasting(anyhow!("discovery: cluster is full")));
            }
            let urls: Vec<String> =
                own.peer_urls.iter().map(|url| format!("{}={url}", own.name)).collect();
            self.register(&remote, &key, urls.join(",")).await?;
            folder = self.look(&remote).await?;
        }
        while folder.members.len() < folder.size {
            tracing::info!(
                found = folder.members.len(),
                size = folder.size,
                "waiting for peers from discovery service"
            );
            self.wait(&remote, folder.revision + 1).await.map_err(Failure::Passing)?;
            folder = self.look(&remote).await?;
        }
        if folder.founders().all(|member| member.key != key) {
            return Err(Failure::Lasting(anyhow!("discovery: cluster is full")));
        }
        folder.read().map_err(Failure::Lasting)
    }

    async fn look(&self, remote: &Remote) -> Result<Folder, Failure> {
        let folder = format!("{REGISTRY}/{}/", self.token);
        let size = self.read(remote, format!("{folder}_config/size"), "").await;
        let size = size.map_err(Failure::Passing)?;
        let Some(size) = size.kvs.first() else {
            return Err(Failure::Lasting(anyhow!("discovery: size key not found")));
        };
        let size = std::str::from_utf8(&size.value).ok().and_then(|text| text.parse().ok());
        let Some(size) = size.filter(|size| *size > 0) else {
            return Err(Failure::Lasting(anyhow!("discovery: size key is bad")));
        };
        // The character behind the slash ends what begins with it.
        let end = format!("{folder}members0");
        let members = self.read(remote, format!("{folder}members/"), &end).await;
        let mut members = members.map_err(Failure::Passing)?;
        members.kvs.sort_by_key(|member| member.create_revision);
        let revision = members.header.map_or(0, |header| header.revision);
        Ok(Folder { size, members: members.kvs, revision })
    }

    async fn read(&self, remote: &Remote, key: String, end: &str) -> Result<pb::RangeResponse> {
        let range = pb::RangeRequest {
            key: key.into_bytes().into(),
            range_end: end.to_owned().into_bytes().into(),
            ..Default::default()
        };
        let answer = timeout(self.request_timeout, remote.kv().range(range)).await;
        let answer = answer.context("no answer in time")?;
        Ok(answer.map_err(|status| anyhow!("{}", status.message().to_owned()))?.into_inner())
    }

    async fn register(&self, remote: &Remote, key: &str, urls: String) -> Result<(), Failure> {
        let put = pb::PutRequest {
            key: key.to_owned().into_bytes().into(),
            value: urls.into_bytes().into(),
            ..Default::default()
        };
        let answer = timeout(self.request_timeout, remote.kv().put(put)).await;
        let answer = answer.map_err(|_| Failure::Passing(anyhow!("no answer in time")))?;
        let failed = |status: tonic::Status| anyhow!("{}", status.message().to_owned());
        answer.map_err(failed).map_err(Failure::Passing)?;
        tracing::info!(key, "registered with the discovery service");
        Ok(())
    }

    /// Waits until a member is written from `revision` on.
    async fn wait(&self, remote: &Remote, revision: i64) -> Result<()> {
        let folder = format!("{REGISTRY}/{}/members", self.token);
        let create = pb::WatchCreateRequest {
            key: format!("{folder}/").into_bytes().into(),
            range_end: format!("{folder}0").into_bytes().into(),
            start_revision: revision,
            ..Default::default()
        };
        let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // The stream of requests stays open: its end would end the watch.
        let requests = tokio_stream::once(create).chain(tokio_stream::pending());
        let failed = |status: tonic::Status| anyhow!("{}", status.message().to_owned());
        let mut answers = remote.watch().watch(requests).await.map_err(failed)?.into_inner();
        loop {
            let answer = answers.message().await.map_err(failed)?;
            let answer = answer.context("the watch ended")?;
            // What it missed by a compaction is there to be read.
            if answer.canceled || !answer.events.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Folder {
    /// Those who found the cluster, of those who would.
    fn founders(&self) -> impl Iterator<Item = &KeyValue> {
        self.members.iter().take(self.size)
    }

    fn read(&self) -> Result<Vec<Founder>> {
        let texts = self.founders().map(|member| {
            std::str::from_utf8(&member.value).context("discovery: invalid peer URL")
        });
        let texts = texts.collect::<Result<Vec<&str>>>()?;
        let founders = founders_in(&texts.join(","));
        let founders = founders.map_err(|error| anyhow!("discovery: invalid peer URL: {error}"))?;
        if founders.len() != self.size {
            bail!("discovery: two founders have the same name");
        }
        Ok(founders)
    }
}
