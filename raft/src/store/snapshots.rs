//! Snapshots of state machines, as files beside the log.
//!
//! ```text
//!     ┌──────────┬────────────┬──────┬───────┬───────────────────────────────┬─────┬─────────┐
//!     │ DRYSNAP1 │ meta len 4 │ meta │ crc 4 │ len 4 │ crc 4 │ bytes of len  │ ... │ 0 │ crc │
//!     └──────────┴────────────┴──────┴───────┴───────────────────────────────┴─────┴─────────┘
//! ```
//!
//! Each checksum begins with the one before it, so that frames cannot change places, and an end is
//! an end. A snapshot has its name only when all of it is durable. What travels to another node is
//! the file as it is: who fetches it goes on where it stopped, and checks all of it at the end.
//!
//! ```text
//!     group-index-term.snap       was taken here: the log held this position
//!     group-index-term.fetched    came from a peer: the log may hold another there, until the
//!                                 write that puts the snapshot in the log's place is durable
//! ```

use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use drystone_vfs::{File, OpenMode, Vfs};

use crate::boot::SnapshotMeta;
use crate::store::error::{Error, Result};
use crate::store::record::{GroupId, put_meta, read_meta};
use crate::types::{Index, Position, Term};

const MAGIC: &[u8; 8] = b"DRYSNAP1";
/// The version of the format of snapshots that this build writes, and the only one it reads.
pub const SNAPSHOT_FORMAT: u32 = 1;
const _: () = assert!(MAGIC[7] == b'0' + SNAPSHOT_FORMAT as u8, "the magic ends with it");
const FRAME_BYTES: usize = 256 << 10;
const META_BYTES_MAX: usize = 16 << 20;

const TAKEN: &str = "snap";
const FETCHED: &str = "fetched";

/// The snapshots of a node's groups. Clones are the same.
#[derive(Debug, Clone)]
pub struct Snapshots {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
}

/// A file beside the log, as it was found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is, by its name.
    pub group: GroupId,
    /// The last entry that it holds, by its name.
    pub position: Position,
    /// Its length.
    pub bytes: u64,
    /// Whether all of it is there.
    pub state: SnapshotState,
}

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotState {
    /// Taken here, and sound to its end.
    Taken,
    /// Come from another node, and sound to its end.
    Fetched,
    /// Being written, or left behind by whoever was writing it.
    Unfinished,
    /// It has its name, and is not what was written.
    Damaged,
}

/// Takes in a snapshot's bytes. Dropped unfinished, it leaves nothing that counts.
#[derive(Debug)]
pub struct SnapshotWriter {
    snapshots: Snapshots,
    group: GroupId,
    position: Position,
    file: Arc<dyn File>,
    at: u64,
    crc: u32,
    frame: Vec<u8>,
    /// The bytes are those of a file, frames and all.
    raw: bool,
}

/// Gives a snapshot's bytes, and checks them.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Arc<dyn File>,
    path: PathBuf,
    meta: SnapshotMeta,
    at: u64,
    crc: u32,
    frame: Vec<u8>,
    used: usize,
    ended: bool,
}

impl Snapshots {
    pub(crate) fn open(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Snapshots> {
        vfs.create_dir_all(dir).map_err(|e| Error::io("make", dir, e))?;
        for name in vfs.list(dir).map_err(|e| Error::io("list", dir, e))? {
            // What was under way when the last process ended.
            let path = dir.join(name);
            if path.extension().is_some_and(|ending| ending == "tmp" || ending == "part") {
                vfs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        Ok(Snapshots { vfs, dir: dir.to_path_buf() })
    }

    /// Every snapshot in `dir`, by name, each read to its end. Changes nothing; one that goes
    /// meanwhile is left out.
    pub(crate) fn survey(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Vec<SnapshotFile>> {
        let names = match vfs.list(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|e| Error::io("list", dir, e))?,
        };
        let mut found = Vec::new();
        for name in names {
            let Some((group, position, ending)) = name.to_str().and_then(parse) else { continue };
            let path = dir.join(&name);
            let state = match ending {
                TAKEN | FETCHED => match is_sound(&**vfs, &path, position) {
                    Ok(true) if ending == TAKEN => SnapshotState::Taken,
                    Ok(true) => SnapshotState::Fetched,
                    Ok(false) | Err(Error::Corrupt { .. }) => SnapshotState::Damaged,
                    Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                _ => SnapshotState::Unfinished,
            };
            let Ok(bytes) = vfs.open(&path, OpenMode::Read).and_then(|file| file.len()) else {
                continue;
            };
            found.push(SnapshotFile { path, group, position, bytes, state });
        }
        Ok(found)
    }

    pub(crate) fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::clone(&self.vfs)
    }

    fn path(&self, group: GroupId, position: Position, ending: &str) -> PathBuf {
        let Position { term, index } = position;
        self.dir.join(format!("{:016x}-{:016x}-{:016x}.{ending}", group.0, index.0, term.0))
    }

    /// Where a group's snapshots end, the newest first, and whether each was taken here.
    pub(crate) fn positions(&self, group: GroupId) -> Result<Vec<(Position, bool)>> {
        let names = self.vfs.list(&self.dir).map_err(|e| Error::io("list", &self.dir, e))?;
        let ours = |name: &str| {
            let (of, position, ending) = parse(name)?;
            let taken = ending == TAKEN;
            (of == group && (taken || ending == FETCHED)).then_some((position, taken))
        };
        let mut found: Vec<_> = names.iter().filter_map(|name| ours(name.to_str()?)).collect();
        found.sort_unstable_by_key(|(position, taken)| (position.index, position.term, *taken));
        found.reverse();
        found.dedup_by_key(|(position, _)| *position);
        Ok(found)
    }

    /// What the newest snapshot of a group holds, among those whose heads are sound.
    pub fn newest(&self, group: GroupId) -> Result<Option<SnapshotMeta>> {
        self.newest_where(group, |_, _| true)
    }

    /// The same, among those that end where `suits` says. It is told, too, whether a snapshot was
    /// taken here.
    pub(crate) fn newest_where(
        &self,
        group: GroupId,
        suits: impl Fn(Position, bool) -> bool,
    ) -> Result<Option<SnapshotMeta>> {
        for (position, taken) in self.positions(group)? {
            if !suits(position, taken) {
                continue;
            }
            match self.read(group, position) {
                Ok(reader) => return Ok(Some(reader.meta)),
                Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Begins a snapshot that is taken here.
    pub fn write(&self, group: GroupId, meta: &SnapshotMeta) -> Result<SnapshotWriter> {
        let mut head = MAGIC.to_vec();
        let mut bytes = Vec::new();
        put_meta(&mut bytes, meta);
        head.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        head.extend_from_slice(&bytes);
        let crc = crc32fast::hash(&head);
        head.extend_from_slice(&crc.to_le_bytes());
        let mut writer = self.writer(group, meta.last, false)?;
        writer.crc = crc;
        let path = self.path(group, meta.last, "tmp");
        writer.put(&head).map_err(|e| Error::io("write", &path, e))?;
        Ok(writer)
    }

    /// Begins a snapshot that comes from another node.
    pub fn receive(&self, group: GroupId, position: Position) -> Result<SnapshotWriter> {
        self.writer(group, position, true)
    }

    fn writer(&self, group: GroupId, position: Position, raw: bool) -> Result<SnapshotWriter> {
        let path = self.path(group, position, if raw { "part" } else { "tmp" });
        let file = self.vfs.open(&path, OpenMode::Create);
        let file = file.and_then(|file| file.set_len(0).map(|()| file));
        let file = file.map_err(|e| Error::io("make", &path, e))?;
        let (snapshots, frame) = (self.clone(), Vec::new());
        Ok(SnapshotWriter { snapshots, group, position, file, at: 0, crc: 0, frame, raw })
    }

    /// Opens a snapshot for reading.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there; [`Error::Corrupt`] if its head is not sound. What follows
    /// is checked as it is read.
    pub fn read(&self, group: GroupId, position: Position) -> Result<SnapshotReader> {
        SnapshotReader::open(&*self.vfs, self.place(group, position), position)
    }

    /// Where a snapshot is; if it was taken and came as well, the one that was taken.
    fn place(&self, group: GroupId, position: Position) -> PathBuf {
        let taken = self.path(group, position, TAKEN);
        let is_there = self.vfs.open(&taken, OpenMode::Read).is_ok();
        if is_there { taken } else { self.path(group, position, FETCHED) }
    }

    /// Reads a snapshot to its end, and says whether it is sound.
    pub fn verify(&self, group: GroupId, position: Position) -> Result<bool> {
        match is_sound(&*self.vfs, &self.place(group, position), position) {
            Err(Error::Corrupt { .. }) => Ok(false),
            sound => sound,
        }
    }

    /// Part of a snapshot's file, as it travels: empty at its end.
    pub fn part(&self, group: GroupId, position: Position, offset: u64) -> io::Result<Vec<u8>> {
        let file = self.vfs.open(&self.place(group, position), OpenMode::Read)?;
        let mut bytes = vec![0; FRAME_BYTES];
        let count = file.read_at(&mut bytes, offset)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Removes a group's snapshots that end before `index`.
    pub fn remove_before(&self, group: GroupId, index: Index) -> Result<()> {
        loop {
            // One that was taken may hide one that came.
            let old = self.positions(group)?.into_iter().filter(|(at, _)| at.index < index);
            let paths: Vec<_> = old.map(|(position, _)| self.place(group, position)).collect();
            if paths.is_empty() {
                return Ok(());
            }
            for path in paths {
                self.vfs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
    }
}

/// Whose snapshot a name is, where it ends, and the name's ending.
fn parse(name: &str) -> Option<(GroupId, Position, &str)> {
    let (place, ending) = name.split_once('.')?;
    let mut parts = place.splitn(3, '-');
    let mut part = || u64::from_str_radix(parts.next()?, 16).ok();
    let (of, index, term) = (part()?, part()?, part()?);
    Some((GroupId(of), Position::new(Term(term), Index(index)), ending))
}

/// Reads a snapshot to its end, and says whether it is sound.
fn is_sound(vfs: &dyn Vfs, path: &Path, position: Position) -> Result<bool> {
    let mut reader = SnapshotReader::open(vfs, path.to_path_buf(), position)?;
    reader.exhaust().map_err(|e| Error::io("read", path, e))
}

impl SnapshotWriter {
    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Makes the snapshot durable, and gives it its name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it came from another node and is not what it should be;
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<SnapshotMeta> {
        let SnapshotWriter { snapshots, group, position, .. } = &self;
        let (snapshots, group, position) = (snapshots.clone(), *group, *position);
        let temporary = snapshots.path(group, position, if self.raw { "part" } else { "tmp" });
        let failed = |e| Error::io("write", &temporary, e);
        if !self.raw {
            self.flush().map_err(failed)?;
            self.frame(&[]).map_err(failed)?;
        }
        self.file.sync_data().map_err(failed)?;
        let mut reader = SnapshotReader::open(&*snapshots.vfs, temporary.clone(), position)?;
        if self.raw && !reader.exhaust().map_err(failed)? {
            return Err(Error::corrupt(&temporary, reader.at, "a snapshot that is damaged"));
        }
        let path = if self.raw {
            snapshots.place(group, position)
        } else {
            snapshots.path(group, position, TAKEN)
        };
        let vfs = &snapshots.vfs;
        let named = vfs.rename(&temporary, &path).and_then(|()| vfs.sync_dir(&snapshots.dir));
        named.map_err(|e| Error::io("name", &path, e))?;
        Ok(reader.meta)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(&[IoSlice::new(bytes)], self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = frame_crc(self.crc, bytes);
        let mut head = [0; 8];
        head[..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&self.crc.to_le_bytes());
        self.file.write_at(&[IoSlice::new(&head), IoSlice::new(bytes)], self.at)?;
        self.at += 8 + bytes.len() as u64;
        Ok(())
    }
}

fn frame_crc(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(before);
    hasher.update(&(bytes.len() as u32).to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.raw {
            self.put(bytes)?;
            return Ok(bytes.len());
        }
        let count = bytes.len().min(FRAME_BYTES - self.frame.len());
        self.frame.extend_from_slice(&bytes[..count]);
        if self.frame.len() == FRAME_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            self.frame(&frame)?;
            self.frame = frame;
            self.frame.clear();
        }
        Ok(())
    }
}

impl SnapshotReader {
    fn open(vfs: &dyn Vfs, path: PathBuf, position: Position) -> Result<SnapshotReader> {
        let failed = |e| Error::io("read", &path, e);
        let wrong = |offset, what| Err(Error::corrupt(&path, offset, what));
        let file = vfs.open(&path, OpenMode::Read).map_err(failed)?;
        let length = file.len().map_err(failed)?;
        let mut head = [0; 12];
        if length < 12 || file.read_at(&mut head, 0).map_err(failed)? < 12 {
            return wrong(0, "a snapshot that ends early");
        }
        let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if &head[..8] != MAGIC || len > META_BYTES_MAX || len as u64 + 16 > length {
            return wrong(0, "no snapshot of this version");
        }
        let mut bytes = vec![0; len + 4];
        file.read_exact_at(&mut bytes, 12).map_err(failed)?;
        let (meta, crc) = bytes.split_at(len);
        let mut hasher = Hasher::new();
        hasher.update(&head);
        hasher.update(meta);
        let found = hasher.finalize();
        if found.to_le_bytes() != crc {
            return wrong(12, "a snapshot whose head is damaged");
        }
        let meta = read_meta(meta).map_err(|what| Error::corrupt(&path, 12, what))?;
        if meta.last != position {
            return wrong(12, "a snapshot under another's name");
        }
        let at = 16 + len as u64;
        Ok(SnapshotReader {
            file,
            path,
            meta,
            at,
            crc: found,
            frame: vec![],
            used: 0,
            ended: false,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Reads to the end. Says whether all was sound.
    fn exhaust(&mut self) -> io::Result<bool> {
        loop {
            match self.next_frame() {
                Ok(()) if self.ended => return Ok(self.file.len()? == self.at),
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(false),
                Err(e) => return Err(e),
            }
        }
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the snapshot is damaged");
        let mut head = [0; 8];
        if self.file.read_at(&mut head, self.at)? < 8 {
            return Err(damaged());
        }
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if len > FRAME_BYTES {
            return Err(damaged());
        }
        self.frame.resize(len, 0);
        self.used = 0;
        if self.file.read_at(&mut self.frame, self.at + 8)? < len {
            return Err(damaged());
        }
        self.crc = frame_crc(self.crc, &self.frame);
        if self.crc.to_le_bytes() != head[4..] {
            return Err(damaged());
        }
        self.at += 8 + len as u64;
        self.ended = len == 0;
        Ok(())
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.frame.len() && !self.ended {
            self.next_frame()?;
        }
        let rest = &self.frame[self.used..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.used += count;
        Ok(count)
    }
}
