//! Where a store's log lives: in the store's own folder, or in one apart from it.
//!
//! # The problem
//!
//! A log is as quick as its disk syncs, and a disk that state machines write to as well syncs
//! slowly. So a log may have a folder of its own, on a disk of its own. Then two folders make sense
//! only together. A store that begins an empty log because the other disk is not mounted, or
//! because it was not told of it this time, has forgotten its votes and what it acknowledged; so
//! has one that finds another store's log.
//!
//! # The idea
//!
//! Each folder has a tag with the same number, drawn once, and names the other.
//!
//! ```text
//!     dir/APART      state id path     the log is over there
//!     dir/log-1/     the log, while it is inside
//!
//!     apart/OWNER    owner id path     it is that store's
//!     apart/LOCK     held while a store uses the log
//!     apart/log-1/   the log, while it is apart
//!
//!     tag = "drystone-raft-log 1 " state " id=" 16 hex " path=" path "\n" "crc=" 8 hex "\n"
//!     state = "begun" | "apart" | "owner"        crc is the CRC-32 of all bytes before it
//! ```
//!
//! `begun` counts for nothing yet: the log inside is the one. Each step is durable before the next:
//!
//! ```text
//!     APART begun ──► OWNER ──► the log inside, copied ──► APART apart ──► the log inside, removed
//!                                                             from here on it is the one apart
//! ```
//!
//! | `APART` says | asked for | then |
//! |---|---|---|
//! | nothing, or `begun` | inside | the log is inside |
//! | nothing, or `begun` | apart | it is moved there, if that folder is empty |
//! | `apart` | there | the log is there; refused if the folder has not the tag |
//! | `apart` | another folder | that one, if it has the tag and the old one has not: it was moved |
//! | `apart` | inside | refused |
//!
//! Absent: a way back inside. A folder apart can be moved to wherever one likes.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use drystone_vfs::{Lock, OpenMode, Vfs};

use crate::store::Options;
use crate::store::error::{Error, Result};

const APART: &str = "APART";
const OWNER: &str = "OWNER";
const APART_TMP: &str = "APART.tmp";
const OWNER_TMP: &str = "OWNER.tmp";
const LOCK: &str = "LOCK";
const FORMAT: &[u8] = b"drystone-raft-log 1 ";
/// `crc=`, eight digits, and the end of the line.
const CRC_BYTES: usize = 13;
/// More than a tag takes, whose path is one that a system takes.
const TAG_BYTES_MAX: usize = 8 << 10;
/// A log is copied in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// What a file system of its own begins with.
const LOST_AND_FOUND: &str = "lost+found";

/// Where the log lives, and the right to it.
#[derive(Debug)]
pub(crate) struct Home {
    /// The folder in which `log-1` is.
    pub(crate) logs: PathBuf,
    /// Held as long as the store is open, if the log is apart.
    pub(crate) lock: Option<Lock>,
}

/// What one folder says of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    state: State,
    id: u64,
    /// The other folder.
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Apart,
    Owner,
}

/// Where the store in `dir` keeps its log, if that is apart from it. Changes nothing.
pub(crate) fn apart(vfs: &dyn Vfs, dir: &Path) -> Result<Option<PathBuf>> {
    let tag = Tag::read(vfs, &dir.join(APART))?;
    Ok(tag.filter(|tag| tag.state == State::Apart).map(|tag| tag.path))
}

/// The folder in which the log is now. Changes nothing.
pub(crate) fn find(vfs: &dyn Vfs, dir: &Path, asked: Option<&Path>) -> Result<PathBuf> {
    let (tag, asked) = match (Tag::read(vfs, &dir.join(APART))?, asked) {
        (Some(tag), Some(asked)) if tag.state == State::Apart => (tag, asked),
        (Some(tag), None) if tag.state == State::Apart => return Err(elsewhere(&tag, dir)),
        (_, asked) => {
            // It may be on its way, but has not got there.
            if let Some(asked) = asked {
                check_free(vfs, dir, asked, None)?;
            }
            return Ok(dir.to_path_buf());
        }
    };
    check_there(vfs, dir, &tag, asked)?;
    Ok(asked.to_path_buf())
}

/// Takes the log's folder, and moves the log there if it is to be apart from now on.
pub(crate) fn take(vfs: &dyn Vfs, dir: &Path, options: &Options) -> Result<Home> {
    let asked = options.log_dir.as_deref();
    let tag = Tag::read(vfs, &dir.join(APART))?;
    let is_apart = tag.as_ref().is_some_and(|tag| tag.state == State::Apart);
    let (tag, asked) = match (tag, asked) {
        (Some(tag), None) if is_apart => return Err(elsewhere(&tag, dir)),
        (_, None) => return Ok(Home { logs: dir.to_path_buf(), lock: None }),
        (tag, Some(asked)) => (tag, asked),
    };
    if let Some(tag) = tag.filter(|_| is_apart) {
        check_there(vfs, dir, &tag, asked)?;
        let lock = lock(vfs, asked)?;
        if tag.path != asked {
            Tag { path: asked.to_path_buf(), ..tag }.write(vfs, dir, APART)?;
        }
        clear(vfs, dir)?;
        return Ok(Home { logs: asked.to_path_buf(), lock: Some(lock) });
    }
    let lock = move_out(vfs, dir, asked, options)?;
    Ok(Home { logs: asked.to_path_buf(), lock: Some(lock) })
}

/// Refuses to use `asked` for a log that is kept apart, unless that is where it is.
fn check_there(vfs: &dyn Vfs, dir: &Path, tag: &Tag, asked: &Path) -> Result<()> {
    let is_here = |place: &Path| {
        let owner = Tag::read(vfs, &place.join(OWNER));
        owner.map(|owner| owner.is_some_and(|owner| owner.id == tag.id))
    };
    if tag.path == asked {
        if is_here(asked)? {
            return Ok(());
        }
        return Err(match Tag::read(vfs, &asked.join(OWNER))? {
            Some(owner) => taken(asked, dir, &owner),
            None => Error::LogGone { store: dir.to_path_buf(), kept: asked.to_path_buf() },
        });
    }
    // Of two copies nobody knows which is the newer one. A place that cannot be read has none.
    if is_here(asked)? && !is_here(&tag.path).unwrap_or(false) {
        return Ok(());
    }
    Err(elsewhere(tag, asked))
}

/// Refuses a folder that holds anything but what a store with this tag has begun there.
fn check_free(vfs: &dyn Vfs, dir: &Path, place: &Path, id: Option<u64>) -> Result<()> {
    let owner = Tag::read(vfs, &place.join(OWNER))?;
    let begun = Tag::read(vfs, &dir.join(APART))?;
    let ours = id.or(begun.filter(|tag| tag.path == place).map(|tag| tag.id));
    match owner {
        Some(owner) if Some(owner.id) == ours => return Ok(()),
        Some(owner) => return Err(taken(place, dir, &owner)),
        None => {}
    }
    let begins = [LOCK, OWNER_TMP, LOST_AND_FOUND];
    let mut names = names(vfs, place)?.into_iter();
    match names.find(|name| !begins.iter().any(|known| name == known)) {
        None => Ok(()),
        Some(found) => {
            let (dir, store) = (place.to_path_buf(), dir.to_path_buf());
            Err(Error::LogForeign { dir, store, found: found.into() })
        }
    }
}

/// Moves the log in `dir`, if there is one, to a folder apart: the steps are drawn above.
fn move_out(vfs: &dyn Vfs, dir: &Path, to: &Path, options: &Options) -> Result<Lock> {
    check_free(vfs, dir, to, None)?;
    vfs.create_dir_all(to).map_err(|e| Error::io("make", to, e))?;
    let held = lock(vfs, to)?;
    let begun = Tag::read(vfs, &dir.join(APART))?.filter(|tag| tag.path == to);
    let begun = match begun {
        Some(begun) => begun,
        None => {
            let id = RandomState::new().hash_one(options.clock.wall());
            let begun = Tag { state: State::Begun, id, path: to.to_path_buf() };
            begun.write(vfs, dir, APART)?;
            begun
        }
    };
    check_free(vfs, dir, to, Some(begun.id))?;
    let owner = Tag { state: State::Owner, id: begun.id, path: dir.to_path_buf() };
    owner.write(vfs, to, OWNER)?;
    clear(vfs, to)?;
    let logs = logs(vfs, dir)?;
    // Nobody may write to what is copied. A folder without files holds no log.
    let _logs_held =
        logs.iter().map(|log| lock(vfs, &dir.join(log))).collect::<Result<Vec<_>>>()?;
    for log in &logs {
        copy(vfs, &dir.join(log), &to.join(log))?;
    }
    Tag { state: State::Apart, ..begun }.write(vfs, dir, APART)?;
    clear(vfs, dir)?;
    Ok(held)
}

/// Copies the files of a log, durably.
fn copy(vfs: &dyn Vfs, from: &Path, to: &Path) -> Result<()> {
    vfs.create_dir_all(to).map_err(|e| Error::io("make", to, e))?;
    let mut piece = vec![0; PIECE_BYTES];
    for name in names(vfs, from)?.into_iter().filter(|name| name != LOCK) {
        let (source, target) = (from.join(&name), to.join(&name));
        let mut copy = || {
            let (source, target) =
                (vfs.open(&source, OpenMode::Read)?, vfs.open(&target, OpenMode::Create)?);
            let len = source.len()?;
            let mut at = 0;
            while at < len {
                let count = usize::try_from(len - at).map_or(PIECE_BYTES, |n| n.min(PIECE_BYTES));
                source.read_exact_at(&mut piece[..count], at)?;
                target.write_at(&[IoSlice::new(&piece[..count])], at)?;
                at += count as u64;
            }
            target.sync_data()
        };
        copy().map_err(|e| Error::io("copy to", &target, e))?;
    }
    vfs.sync_dir(to).map_err(|e| Error::io("sync", to, e))
}

/// Removes every log in `place`: a copy that was not finished, or what was copied from.
fn clear(vfs: &dyn Vfs, place: &Path) -> Result<()> {
    for log in logs(vfs, place)? {
        let log = place.join(log);
        for name in names(vfs, &log)? {
            let path = log.join(name);
            vfs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        vfs.sync_dir(&log).map_err(|e| Error::io("sync", &log, e))?;
    }
    Ok(())
}

/// The folders in `place` that hold logs, the one in use and those that were damaged.
fn logs(vfs: &dyn Vfs, place: &Path) -> Result<Vec<OsString>> {
    let mut logs = Vec::new();
    for name in names(vfs, place)? {
        let number = name.to_str().and_then(|name| name.strip_prefix("log-"));
        let is_log = number.is_some_and(|number| number.parse::<u64>().is_ok());
        if is_log && !names(vfs, &place.join(&name))?.is_empty() {
            logs.push(name);
        }
    }
    Ok(logs)
}

/// What is in a folder; nothing if there is no folder.
fn names(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<OsString>> {
    match vfs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|e| Error::io("list", dir, e)),
    }
}

fn lock(vfs: &dyn Vfs, place: &Path) -> Result<Lock> {
    let path = place.join(LOCK);
    vfs.lock(&path).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => {
            drystone_wal::Error::Locked { dir: place.to_path_buf() }.into()
        }
        _ => Error::io("lock", &path, e),
    })
}

fn elsewhere(tag: &Tag, asked: &Path) -> Error {
    Error::LogElsewhere { kept: tag.path.clone(), asked: asked.to_path_buf() }
}

fn taken(place: &Path, store: &Path, owner: &Tag) -> Error {
    let (dir, store) = (place.to_path_buf(), store.to_path_buf());
    Error::LogTaken { dir, store, owner: owner.path.clone() }
}

impl Tag {
    /// The tag in a file; `None` if there is no file.
    fn read(vfs: &dyn Vfs, path: &Path) -> Result<Option<Tag>> {
        let file = match vfs.open(path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| Error::io("open", path, e))?,
        };
        let mut bytes = vec![0; TAG_BYTES_MAX];
        let mut len = 0;
        loop {
            let read = file.read_at(&mut bytes[len..], len as u64);
            match read.map_err(|e| Error::io("read", path, e))? {
                0 => break,
                more => len += more,
            }
        }
        let tag = Tag::decode(&bytes[..len]);
        tag.map(Some).ok_or_else(|| Error::corrupt(path, 0, "it is not the tag that was written"))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = FORMAT.to_vec();
        bytes.extend(self.state.word().as_bytes());
        bytes.extend(format!(" id={:016x} path=", self.id).as_bytes());
        bytes.extend(self.path.as_os_str().as_bytes());
        bytes.push(b'\n');
        let crc = crc32fast::hash(&bytes);
        bytes.extend(format!("crc={crc:08x}\n").as_bytes());
        bytes
    }

    /// One tag has one spelling.
    fn decode(bytes: &[u8]) -> Option<Tag> {
        let body = bytes.get(..bytes.len().checked_sub(CRC_BYTES)?)?;
        let rest = body.strip_prefix(FORMAT)?.strip_suffix(b"\n")?;
        let state = [State::Begun, State::Apart, State::Owner]
            .into_iter()
            .find(|state| rest.starts_with(state.word().as_bytes()))?;
        let rest = rest.strip_prefix(state.word().as_bytes())?.strip_prefix(b" id=")?;
        let (id, rest) = rest.split_at_checked(16)?;
        let id = u64::from_str_radix(str::from_utf8(id).ok()?, 16).ok()?;
        let path = OsString::from_vec(rest.strip_prefix(b" path=")?.to_vec());
        let tag = Tag { state, id, path: path.into() };
        (tag.encode() == bytes).then_some(tag)
    }

    /// Writes it to a file in `dir`, at once and durably.
    fn write(&self, vfs: &dyn Vfs, dir: &Path, name: &str) -> Result<()> {
        let tmp = dir.join(if name == OWNER { OWNER_TMP } else { APART_TMP });
        let path = dir.join(name);
        let write = || {
            let file = vfs.open(&tmp, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_at(&[IoSlice::new(&self.encode())], 0)?;
            file.sync_data()?;
            vfs.rename(&tmp, &path)?;
            vfs.sync_dir(dir)
        };
        write().map_err(|e| Error::io("write", &path, e))
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Begun => "begun",
            State::Apart => "apart",
            State::Owner => "owner",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A changed byte must not lead to another folder, nor make an open one look new.
    #[test]
    fn a_tag_survives_and_no_changed_byte_passes() {
        let path = OsString::from_vec(b"/mnt/a b\n\xff".to_vec()).into();
        let tag = Tag { state: State::Apart, id: 0xab, path };
        let bytes = tag.encode();
        assert_eq!(Tag::decode(&bytes), Some(tag));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Tag::decode(&changed), None, "byte {at}");
            assert_eq!(Tag::decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
