//! A copy of all data, as a stream: what `etcdctl snapshot save` writes to a file.
//!
//! ```text
//!   state ──► a file without a name ──► parts of 32 KiB ──► client
//!
//!   the stream = a checkpoint (drystone_kv::checkpoint), zeros up to a multiple of 512 bytes,
//!                SHA-256 of everything before, 32 bytes
//! ```
//!
//! The client is told with each part how many bytes follow, and takes a file for whole if its
//! length is a multiple of 512 and 32 more. The state is written beside the data first: it is
//! frozen for as long as that takes, and not for as long as a slow client reads. Writes go on.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::error_text;
use crate::member::{Member, Shared};
use crate::version;

/// Bytes of one part.
const PART_BYTES: usize = 32 << 10;
/// Parts on their way to the client.
const PARTS_MAX: usize = 8;
/// What the length of the copy is a multiple of, without its hash.
const BLOCK_BYTES: u64 = 512;
const HASH_BYTES: usize = 32;

type Part = Result<pb::SnapshotResponse, Status>;

/// The parts of a copy of what this member holds.
pub(super) fn stream(member: &Shared) -> ReceiverStream<Part> {
    let (parts, stream) = mpsc::channel(PARTS_MAX);
    let member = member.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(&member, &parts) {
            tracing::error!(error = format!("{error:#}"), "failed to send a database snapshot");
            let told = Status::unavailable("drystone-etcd: the snapshot could not be made");
            // Whoever went away does not want to know.
            let _ = parts.blocking_send(Err(told));
        }
    });
    ReceiverStream::new(stream)
}

fn send(member: &Member, parts: &mpsc::Sender<Part>) -> anyhow::Result<()> {
    let began = Instant::now();
    let checkpoint = member.kv.checkpoint().map_err(|error| anyhow::anyhow!(error))?;
    let header = member.header(checkpoint.revision());
    let mut file = nameless(&member.config.data_dir)?;
    let mut out = BufWriter::with_capacity(1 << 20, &mut file);
    checkpoint.write(&mut out)?;
    drop(checkpoint);
    out.flush()?;
    drop(out);
    let bytes = file.seek(SeekFrom::End(0))?.next_multiple_of(BLOCK_BYTES);
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    tracing::info!(bytes, "sending database snapshot to client");
    let mut hasher = Sha256::new();
    let (mut left, mut header) = (bytes, Some(header));
    while left > 0 {
        let mut part = vec![0; PART_BYTES.min(usize::try_from(left).unwrap_or(PART_BYTES))];
        file.read_exact(&mut part)?;
        hasher.update(&part);
        left -= part.len() as u64;
        let remaining = left + HASH_BYTES as u64;
        if !put(parts, header.take(), part.into(), remaining) {
            return Ok(());
        }
    }
    let hash = Bytes::copy_from_slice(&hasher.finalize());
    if put(parts, header, hash, 0) {
        member.metrics.backups.observe(began.elapsed());
        tracing::info!(bytes, "successfully sent database snapshot to client");
    }
    Ok(())
}

/// Sends a part; says whether anybody still wants it.
fn put(
    parts: &mpsc::Sender<Part>,
    header: Option<pb::ResponseHeader>,
    blob: Bytes,
    remaining_bytes: u64,
) -> bool {
    let version = version::STORAGE.to_owned();
    let part = pb::SnapshotResponse { header, remaining_bytes, blob, version };
    parts.blocking_send(Ok(part)).is_ok()
}

/// A file in `dir` that is gone when it is closed.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("snapshot-{}.tmp", rand::random::<u64>()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The state in a copy, once its hash is found to be right, unless that is not to be looked at.
///
/// # Errors
///
/// If the file cannot be read, or is not what was sent.
pub(crate) fn open(path: &Path, skip_hash_check: bool) -> io::Result<impl Read + use<>> {
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
        file.seek(SeekFrom::Start(0))?;
    }
    Ok(io::BufReader::with_capacity(1 << 20, file.take(bytes)))
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
