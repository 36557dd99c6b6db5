//! What came since a revision, as a stream: for `drystone-etcd backup`.
//!
//! ```text
//!   Snapshot + metadata: what the client has ──► the same cluster? the same history? readable?
//!                                          ──► nothing new: a label and no parts
//!                                          ──► label, head, records after that revision, and all
//!                                              that is no record
//!                                          ──► it has nothing: a whole copy, with a label
//! ```
//!
//! The store keeps all history since the last compaction, so what came since can be asked of it at
//! any time: nothing is kept for backups, and the member does not know of them. Numbers alone do
//! not tell that the client's revision was one of this history: a cluster that was restored counts
//! on from where the copy was. So it shows a hash of that revision's records, too.

use std::fs::File;
use std::io::Write;

use drystone_kv::checkpoint::Content;
use drystone_kv::engine::Engine;
use drystone_kv::record::Record;
use drystone_kv::{Checkpoint, Error, Refusal};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use super::snapshot::{self, Copy, Part};
use crate::backup::label::{self, Ask, Label, OTHER_CLUSTER, OTHER_HISTORY};
use crate::error_text;
use crate::etcd_files::database_out;
use crate::member::{Member, Shared};

/// What the client has, if it says so.
///
/// # Errors
///
/// If it says something else.
pub(super) fn asked(metadata: &MetadataMap) -> Result<Option<Ask>, Status> {
    let Some(value) = metadata.get(label::METADATA) else { return Ok(None) };
    let ask = value.to_str().ok().and_then(|text| serde_json::from_str(text).ok());
    let unreadable = || {
        Status::invalid_argument("drystone-etcd: the metadata drystone-backup is not understood")
    };
    ask.ok_or_else(unreadable).map(Some)
}

/// What the client lacks.
///
/// # Errors
///
/// If what it has cannot be added to.
pub(super) async fn answer(
    member: &Shared,
    ask: Ask,
) -> Result<Response<ReceiverStream<Part>>, Status> {
    let (label, copy) = member.off_thread(move |member| make(member, &ask)).await??;
    let stream = match copy {
        Some(copy) => snapshot::stream_of(member, copy),
        None => ReceiverStream::new(tokio::sync::mpsc::channel(1).1),
    };
    let mut response = Response::new(stream);
    let json = serde_json::to_string(&label).expect("numbers and texts are JSON");
    let value = json.parse().expect("numbers, hex and times are plain text");
    response.metadata_mut().insert(label::METADATA, value);
    Ok(response)
}

fn make(member: &Member, ask: &Ask) -> Result<(Label, Option<Copy>), Status> {
    let checkpoint = member.kv.checkpoint().map_err(|error| member.failed(&error))?;
    let now = Timestamp::now().as_millisecond();
    let time = Timestamp::from_millisecond(now).expect("it is now").to_string();
    let content = checkpoint.content().map_err(|error| member.failed(&error))?;
    let cluster = member.identity.cluster.to_string();
    if ask.since > 0 {
        check(member, ask, &cluster, &content, &checkpoint)?;
    }
    let failed = |error: &anyhow::Error| {
        tracing::error!(error = format!("{error:#}"), "failed to make a part of a backup");
        Status::unavailable("drystone-etcd: the copy could not be made")
    };
    let state = database_out::hash_of_small(&content).map_err(|error| failed(&error))?;
    let mut label = Label {
        since: ask.since,
        revision: content.revision,
        compacted: content.compacted.unwrap_or(0),
        time,
        cluster,
        member: member.identity.member.to_string(),
        tail: tail(&checkpoint, content.revision).map_err(|error| member.failed(&error))?,
        state: label::hex(&state[..16]),
        unchanged: false,
    };
    if ask.since == content.revision && ask.state == label.state {
        label.unchanged = true;
        return Ok((label, None));
    }
    let written = write(member, &checkpoint, &content, &label);
    let file = written.map_err(|error| failed(&error))?;
    let header = member.header(content.revision);
    drop(checkpoint);
    let copy = Copy::of(file, header).map_err(|error| failed(&error))?;
    Ok((label, Some(copy)))
}

/// Refuses what cannot be added to what the client has.
fn check(
    member: &Member,
    ask: &Ask,
    cluster: &str,
    content: &Content,
    checkpoint: &Checkpoint<impl Engine>,
) -> Result<(), Status> {
    if ask.cluster != cluster {
        return Err(Status::failed_precondition(format!("{OTHER_CLUSTER}: {cluster}")));
    }
    let newest = content.revision;
    if ask.since > newest {
        return Err(error_text::status(&Error::Refused(Refusal::FutureRevision { newest })));
    }
    if let Some(compacted) = content.compacted.filter(|compacted| *compacted > ask.since) {
        return Err(error_text::status(&Error::Refused(Refusal::Compacted { compacted })));
    }
    let found = tail(checkpoint, ask.since).map_err(|error| member.failed(&error))?;
    if found != ask.tail {
        let text = format!("{OTHER_HISTORY}: revision {} is not what it was", ask.since);
        return Err(Status::failed_precondition(text));
    }
    Ok(())
}

/// A hash of the records of a main revision, each with all that a client can see of it. A revision
/// to which a restored cluster was bumped has none; then of those before it.
fn tail(checkpoint: &Checkpoint<impl Engine>, main: u64) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let main = checkpoint.newest_of(main)?.unwrap_or(0);
    hasher.update(main.to_be_bytes());
    for record in checkpoint.records_of(main..=main) {
        let (revision, record) = record?;
        hasher.update(revision.to_bytes());
        let bytes = match record {
            Record::Put(kv) => Record::encode_put(&kv),
            Record::Tombstone { key } => Record::encode_tombstone(&key),
        };
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    }
    Ok(label::hex(&hasher.finalize()[..16]))
}

fn write(
    member: &Member,
    checkpoint: &Checkpoint<impl Engine>,
    content: &Content,
    label: &Label,
) -> anyhow::Result<File> {
    let mut file = snapshot::nameless(&member.config.data_dir)?;
    if label.since == 0 {
        return database_out::write(checkpoint, member.term(), file);
    }
    file.write_all(&label.head())?;
    database_out::write_since(checkpoint, content, label.since, member.term(), file)
}
