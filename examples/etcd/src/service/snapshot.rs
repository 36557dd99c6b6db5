//! A copy of all data, as a stream: what `etcdctl snapshot save` writes to a file.
//!
//! ```text
//!   state ──► a file without a name ──► parts of 32 KiB ──► client
//!
//!   the stream = a database of etcd's ([`crate::etcd_files`]), whose length is a multiple of 512,
//!                SHA-256 of everything before, 32 bytes
//! ```
//!
//! The client is told with each part how many bytes follow, and takes a file for whole if its
//! length is a multiple of 512 and 32 more. The state is written beside the data first: it is
//! frozen for as long as that takes, and not for as long as a slow client reads. Writes go on. The
//! file takes the room of all records once more, until the client has it or is gone; the log says
//! how much.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::error_text;
use crate::etcd_files::database_out;
use crate::member::{Member, Shared};
use crate::version;

/// Bytes of one part.
const PART_BYTES: usize = 32 << 10;
/// Parts on their way to the client.
const PARTS_MAX: usize = 8;
/// Parts that are read at once.
const TURN_PARTS: usize = 8;
/// What the length of the copy is a multiple of, without its hash.
const BLOCK_BYTES: u64 = 512;
const HASH_BYTES: usize = 32;

pub(super) type Part = Result<pb::SnapshotResponse, Status>;

/// The parts of a copy of what this member holds.
pub(super) fn stream(member: &Shared) -> ReceiverStream<Part> {
    let (parts, stream) = mpsc::channel(PARTS_MAX);
    let member = member.clone();
    tokio::spawn(async move {
        if let Err(error) = send(&member, &parts).await {
            tracing::error!(error = format!("{error:#}"), "failed to send a database snapshot");
            let told = Status::unavailable("drystone-etcd: the snapshot could not be made");
            // Whoever went away does not want to know.
            let _ = parts.send(Err(told)).await;
        }
    });
    ReceiverStream::new(stream)
}

/// The parts of a copy that has been made.
pub(super) fn stream_of(member: &Shared, copy: Copy) -> ReceiverStream<Part> {
    let (parts, stream) = mpsc::channel(PARTS_MAX);
    let (member, began) = (member.clone(), Instant::now());
    tokio::spawn(async move {
        if let Err(error) = deliver(&member, copy, &parts, began).await {
            tracing::error!(error = format!("{error:#}"), "failed to send a part of a backup");
            // Whoever went away does not want to know.
            let _ = parts.send(Err(Status::unavailable("drystone-etcd: the copy broke off"))).await;
        }
    });
    ReceiverStream::new(stream)
}

/// Writes the copy, and sends it at the client's pace. A client's pace may be none at all: nothing
/// waits for it that others need, such as one of the few blocking threads.
async fn send(member: &Shared, parts: &mpsc::Sender<Part>) -> anyhow::Result<()> {
    let began = Instant::now();
    let writing = member.clone();
    let copy = tokio::task::spawn_blocking(move || Copy::write(&writing)).await??;
    deliver(member, copy, parts, began).await
}

async fn deliver(
    member: &Shared,
    mut copy: Copy,
    parts: &mpsc::Sender<Part>,
    began: Instant,
) -> anyhow::Result<()> {
    let bytes = copy.left;
    tracing::info!(bytes, "sending database snapshot to client");
    while copy.left > 0 {
        let (rest, turn) = tokio::task::spawn_blocking(move || copy.turn()).await??;
        copy = rest;
        for part in turn {
            if parts.send(Ok(part)).await.is_err() {
                return Ok(());
            }
        }
    }
    if parts.send(Ok(copy.end())).await.is_ok() {
        member.metrics.backups.observe(began.elapsed());
        tracing::info!(bytes, "successfully sent database snapshot to client");
    }
    Ok(())
}

/// A copy on its way to a client.
pub(super) struct Copy {
    file: File,
    /// Bytes of the file that are still to be sent.
    left: u64,
    hasher: Sha256,
    /// Until it was sent, which is once.
    header: Option<pb::ResponseHeader>,
}

impl Copy {
    /// Makes one of what `member` holds.
    fn write(member: &Member) -> anyhow::Result<Copy> {
        let checkpoint = member.kv.checkpoint().map_err(|error| anyhow::anyhow!(error))?;
        let header = member.header(checkpoint.revision());
        let file = nameless(&member.config.data_dir)?;
        let file = database_out::write(&checkpoint, member.term(), file)?;
        drop(checkpoint);
        Copy::of(file, header)
    }

    /// What `file` holds, from its beginning.
    pub(super) fn of(mut file: File, header: pb::ResponseHeader) -> anyhow::Result<Copy> {
        let header = Some(header);
        let left = file.seek(SeekFrom::End(0))?;
        anyhow::ensure!(left.is_multiple_of(BLOCK_BYTES), "pages are blocks");
        file.seek(SeekFrom::Start(0))?;
        Ok(Copy { file, left, hasher: Sha256::new(), header })
    }

    /// The next parts of the file.
    fn turn(mut self) -> io::Result<(Copy, Vec<pb::SnapshotResponse>)> {
        let mut turn = Vec::with_capacity(TURN_PARTS);
        while self.left > 0 && turn.len() < TURN_PARTS {
            let mut blob =
                vec![0; PART_BYTES.min(usize::try_from(self.left).unwrap_or(PART_BYTES))];
            self.file.read_exact(&mut blob)?;
            self.hasher.update(&blob);
            self.left -= blob.len() as u64;
            let part = self.part(blob.into(), self.left + HASH_BYTES as u64);
            turn.push(part);
        }
        Ok((self, turn))
    }

    /// What follows the file.
    fn end(mut self) -> pb::SnapshotResponse {
        let hash = Bytes::copy_from_slice(&std::mem::take(&mut self.hasher).finalize());
        self.part(hash, 0)
    }

    fn part(&mut self, blob: Bytes, remaining_bytes: u64) -> pb::SnapshotResponse {
        let version = version::STORAGE.to_owned();
        pb::SnapshotResponse { header: self.header.take(), remaining_bytes, blob, version }
    }
}

/// A file in `dir` that is gone when it is closed.
pub(super) fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("snapshot-{}.tmp", rand::random::<u64>()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// How many bytes of a copy are state, once its hash is found to be right, unless that is not to be
/// looked at.
///
/// # Errors
///
/// If the file cannot be read, or is not what was sent.
pub(crate) fn check(path: &Path, skip_hash_check: bool) -> io::Result<u64> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let has_hash = length % BLOCK_BYTES == HASH_BYTES as u64;
    if !has_hash && !skip_hash_check {
        return Err(invalid("snapshot missing hash but --skip-hash-check=false".to_owned()));
    }
    let bytes = if has_hash { length - HASH_BYTES as u64 } else { length };
    if has_hash && !skip_hash_check {
        let found = hash(&mut (&mut file).take(bytes))?;
        let mut expected = [0; HASH_BYTES];
        file.read_exact(&mut expected)?;
        if found != expected {
            let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let (expected, found) = (hex(&expected), hex(&found));
            return Err(invalid(format!("expected sha256 [{expected}], got [{found}]")));
        }
    }
    Ok(bytes)
}

fn hash(from: &mut impl Read) -> io::Result<[u8; HASH_BYTES]> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

impl Shared {
    /// Refuses a copy of what may be half of a change.
    pub(super) fn check_sound(&self) -> Result<(), Status> {
        if self.is_broken() { Err(error_text::stopped()) } else { Ok(()) }
    }
}
