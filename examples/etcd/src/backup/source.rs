//! The cluster that a backup is of: members, tried in turn.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use drystone_etcd_api::etcdserverpb as pb;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};

use super::label::{self, Ask, Label, OTHER_CLUSTER, OTHER_HISTORY};
use super::say;
use crate::error_text;
use crate::remote::{Reach, Remote};

const HASH_BYTES: usize = 32;

/// Members that can be asked.
pub(super) struct Source {
    reach: Reach,
    /// The member that answered last is asked first.
    first: usize,
}

/// What a member sent.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) label: Label,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Why there is nothing that could be added to what is there.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It would have to begin at a revision that is compacted.
    Compacted,
    /// It has not come as far as what is there.
    WentBack,
    /// It is another cluster.
    OtherCluster,
    /// The revision that it would begin at is another one.
    OtherHistory,
    /// A file could not be written.
    Disk(anyhow::Error),
    /// No member did it.
    Failed(anyhow::Error),
}

impl Refusal {
    /// Why a whole copy is made, for people; `None` if one would not help.
    pub(super) fn why_whole(&self) -> Option<&'static str> {
        match self {
            Refusal::Compacted => Some("what came since the last one was compacted"),
            Refusal::WentBack => Some("the cluster has gone back in its revisions"),
            Refusal::OtherCluster => Some("it is another cluster"),
            Refusal::OtherHistory => Some("the cluster has gone back, and on differently"),
            Refusal::Disk(_) | Refusal::Failed(_) => None,
        }
    }
}

impl Source {
    /// The members that the flags name.
    ///
    /// # Errors
    ///
    /// If the files of certificates cannot be used.
    pub(super) fn new(reach: Reach) -> Result<Source> {
        reach.check()?;
        Ok(Source { reach, first: 0 })
    }

    /// Has a member send what `ask` lacks, into a new file at `part`, which is synced; nothing is
    /// written if nothing has changed.
    ///
    /// A member that a quorum confirms is preferred: another one may have been cut off, and would
    /// say for ever that nothing is new. Where there is none, what there is has to do, and that is
    /// said.
    ///
    /// # Errors
    ///
    /// Why there is nothing to add.
    pub(super) async fn fetch(&mut self, ask: &Ask, part: &Path) -> Result<Fetched, Refusal> {
        let count = self.reach.endpoints.len();
        let (mut failures, mut unconfirmed) = (Vec::new(), Vec::new());
        for at in (0..count).map(|at| (self.first + at) % count) {
            let url = self.reach.endpoints[at].clone();
            let member = match self.connect(&url).await {
                Ok(member) => member,
                Err(error) => {
                    failures.push(format!("{url}: {error:#}"));
                    continue;
                }
            };
            if let Err(error) = member.catch_up().await {
                unconfirmed.push((url, member, error));
                continue;
            }
            match member.fetch(ask, part).await {
                Err(Refusal::Failed(error)) => failures.push(format!("{url}: {error:#}")),
                other => {
                    self.first = at;
                    return other;
                }
            }
        }
        for (url, member, why) in unconfirmed {
            match member.fetch(ask, part).await {
                Err(Refusal::Failed(error)) => failures.push(format!("{url}: {error:#}")),
                Err(Refusal::WentBack) => {
                    failures.push(format!("{url}: it is behind what is there already ({why:#})"));
                }
                other => {
                    say(&format!("{url} may lack what is newest: no quorum confirms it: {why:#}"));
                    return other;
                }
            }
        }
        Err(Refusal::Failed(anyhow!(failures.join("; "))))
    }

    async fn connect(&self, url: &str) -> Result<Asked> {
        let remote = self.reach.connect(url).await?;
        Ok(Asked { remote, limit: self.reach.dial_timeout })
    }
}

/// A connection to a member.
struct Asked {
    remote: Remote,
    limit: Duration,
}

impl Asked {
    /// Waits until the member has all that a quorum has.
    async fn catch_up(&self) -> Result<()> {
        let nothing = pb::RangeRequest { key: "\0".into(), count_only: true, ..Default::default() };
        let answer = timeout(self.limit, self.remote.kv().range(nothing)).await;
        let answer = answer.context("it did not answer in time")?;
        answer.map_err(|status| anyhow!("{}", status.message().to_owned()))?;
        Ok(())
    }

    /// What it has that `ask` lacks, in a file.
    async fn fetch(&self, ask: &Ask, part: &Path) -> Result<Fetched, Refusal> {
        let (label, parts) = self.snapshot(ask).await.map_err(|status| refusal(&status))?;
        if label.unchanged {
            return Ok(Fetched { label, bytes: 0, sha256: String::new() });
        }
        let (bytes, sha256) = receive(parts, part).await?;
        let found = Label::of(part).map_err(Refusal::Disk)?;
        let expected = (label.since > 0).then_some(&label);
        if label.since != ask.since || found.as_ref() != expected {
            let odd = anyhow!("what it sent is not what it said that it would send");
            return Err(Refusal::Failed(odd));
        }
        Ok(Fetched { label, bytes, sha256 })
    }

    async fn snapshot(
        &self,
        ask: &Ask,
    ) -> Result<(Label, Streaming<pb::SnapshotResponse>), Status> {
        let mut request = Request::new(pb::SnapshotRequest {});
        let json = serde_json::to_string(ask).expect("numbers and texts are JSON");
        let value = json.parse().expect("numbers and hex are plain text");
        request.metadata_mut().insert(label::METADATA, value);
        // A large copy takes long before its first byte; pings notice a member that is gone.
        let response = self.remote.maintenance().snapshot(request).await?;
        let label = response.metadata().get(label::METADATA);
        let label = label.and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
        let no_label = || {
            Status::unimplemented(
                "it does not say what its copy is of: it is no drystone-etcd, or an old one; \
                 `etcdctl snapshot save` copies it",
            )
        };
        Ok((label.ok_or_else(no_label)?, response.into_inner()))
    }
}

fn is_compacted(status: &Status) -> bool {
    status.message() == error_text::COMPACTED
}

fn refusal(status: &Status) -> Refusal {
    match status.code() {
        Code::OutOfRange if is_compacted(status) => Refusal::Compacted,
        Code::OutOfRange => Refusal::WentBack,
        _ if status.message().starts_with(OTHER_CLUSTER) => Refusal::OtherCluster,
        _ if status.message().starts_with(OTHER_HISTORY) => Refusal::OtherHistory,
        _ => Refusal::Failed(anyhow!("{}", status.message().to_owned())),
    }
}

/// Writes what comes to `path`, and checks that it is whole; how many bytes, and their hash.
async fn receive(
    mut parts: Streaming<pb::SnapshotResponse>,
    path: &Path,
) -> Result<(u64, String), Refusal> {
    let disk = |error: io::Error| {
        Refusal::Disk(anyhow!(error).context(format!("cannot write {}", path.display())))
    };
    let broken = |what: String| Refusal::Failed(anyhow!("the copy broke off: {what}"));
    let mut file = File::create(path).map_err(disk)?;
    let (mut content, mut whole, mut bytes) = (Sha256::new(), Sha256::new(), 0);
    loop {
        let part = parts.message().await.map_err(|status| broken(status.message().to_owned()))?;
        let part = part.ok_or_else(|| broken("the end is missing".to_owned()))?;
        file.write_all(&part.blob).map_err(disk)?;
        whole.update(&part.blob);
        bytes += part.blob.len() as u64;
        if part.remaining_bytes > 0 {
            content.update(&part.blob);
            continue;
        }
        if part.blob.len() != HASH_BYTES || part.blob[..] != content.finalize()[..] {
            return Err(broken("it does not have the hash that it should have".to_owned()));
        }
        file.sync_all().map_err(disk)?;
        return Ok((bytes, label::hex(&whole.finalize())));
    }
}
