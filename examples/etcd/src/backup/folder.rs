//! A folder of backups, as whoever adds to it holds it.
//!
//! ```text
//!   <dir>/manifest                          see [`super::manifest`]
//!        /lock                              held while somebody adds
//!        /chain-000001-base.db              a whole copy, as `etcdctl snapshot save` writes it
//!        /chain-000001-000001.increment     see [`super::label`]
//!        /….part                            does not count yet
//! ```
//!
//! What a file goes through, each step on the disk before the next:
//!
//! ```text
//!   NAME.part written ──► its line in the manifest ──► NAME.part renamed to NAME
//!   └── a crash: it never was ──┘└── a crash: it counts, and is renamed when there is time ──┘
//! ```
//!
//! So no file is ever there that the manifest does not know, but for parts, which may be removed
//! without a thought. A chain is removed the other way round: first a line says that it is dropped,
//! then its files go, then the manifest is written anew without it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::manifest::{self, Chain, Entry, Line, MANIFEST, Manifest};

const LOCK: &str = "lock";
const MANIFEST_TMP: &str = "manifest.tmp";

/// A folder that is being added to.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    manifest: Manifest,
    /// Keeps others from adding.
    _lock: File,
}

impl Folder {
    /// Takes the folder, which is made if it is not there, and ends what a crash has left undone.
    ///
    /// # Errors
    ///
    /// If somebody else has it; if it is damaged, or holds backups and no manifest; the disk's.
    pub(super) fn open(dir: &Path) -> Result<Folder> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        let lock = lock(dir)?;
        let manifest = match Manifest::read(dir)? {
            Some(manifest) => manifest,
            None => begin(dir)?,
        };
        let mut folder = Folder { dir: dir.to_path_buf(), manifest, _lock: lock };
        folder.mend().with_context(|| format!("cannot use {}", dir.display()))?;
        Ok(folder)
    }

    /// What is in it.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The chain and the name of the next file, if it is a base or an increment.
    pub(super) fn next(&self, is_base: bool) -> (u64, String) {
        let last = self.manifest.chains.last();
        let dropped = self.manifest.dropped.iter();
        let number = last.into_iter().chain(dropped).map(|chain| chain.number).max().unwrap_or(0);
        match last {
            Some(chain) if !is_base => {
                (chain.number, Entry::name(chain.number, chain.entries.len()))
            }
            _ => (number + 1, Entry::name(number + 1, 0)),
        }
    }

    /// Where a file is written before it counts.
    pub(super) fn part(&self, file: &str) -> PathBuf {
        manifest::part(&self.dir, file)
    }

    /// Has a file count that was written to its part and synced.
    ///
    /// # Errors
    ///
    /// The disk's; then it may count or not, which the next [`Folder::open`] finds out.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<()> {
        let mut chain = match entry.label.since {
            0 => Chain::default(),
            _ => self.manifest.chains.pop().context("there is no chain to add to")?,
        };
        chain.add(entry.clone())?;
        self.manifest.chains.push(chain);
        sync(&self.dir)?;
        self.append(&entry.line())?;
        let (part, path) = (self.part(&entry.file), self.dir.join(&entry.file));
        fs::rename(&part, &path).with_context(|| format!("cannot rename {}", part.display()))?;
        sync(&self.dir)
    }

    /// Removes all but the newest chains, whole ones.
    ///
    /// # Errors
    ///
    /// The disk's; then what is left of them is removed the next time.
    pub(super) fn keep(&mut self, count: usize) -> Result<usize> {
        let surplus = self.manifest.chains.len().saturating_sub(count.max(1));
        for chain in self.manifest.chains.drain(..surplus).collect::<Vec<_>>() {
            self.append(&Line::Drop { chain: chain.number })?;
            self.manifest.dropped.push(chain);
        }
        self.remove_dropped()?;
        Ok(surplus)
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let path = self.dir.join(MANIFEST);
        let text = line.text();
        let written = || -> io::Result<()> {
            let mut file = File::options().append(true).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        written().with_context(|| format!("cannot write {}", path.display()))?;
        self.manifest.sound_bytes += text.len() as u64;
        Ok(())
    }

    /// Ends what a crash has left undone.
    fn mend(&mut self) -> Result<()> {
        if self.manifest.torn_bytes > 0 {
            let file = File::options().write(true).open(self.dir.join(MANIFEST))?;
            file.set_len(self.manifest.sound_bytes)?;
            file.sync_all()?;
            self.manifest.torn_bytes = 0;
        }
        for entry in self.manifest.chains.iter().flat_map(|chain| &chain.entries) {
            let path = self.dir.join(&entry.file);
            if entry.path(&self.dir) != path {
                fs::rename(self.part(&entry.file), path)?;
            }
        }
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(manifest::is_part) {
                fs::remove_file(entry.path())?;
            }
        }
        sync(&self.dir)?;
        self.remove_dropped()
    }

    fn remove_dropped(&mut self) -> Result<()> {
        if self.manifest.dropped.is_empty() {
            return Ok(());
        }
        // The base last: what is left in between is a chain's beginning.
        for entry in self.manifest.dropped.iter().flat_map(|chain| chain.entries.iter().rev()) {
            let path = self.dir.join(&entry.file);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        sync(&self.dir)?;
        write_manifest(&self.dir, &self.manifest.text())?;
        self.manifest.dropped.clear();
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.with_context(|| format!("cannot use {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("{} is in use: another backup writes to it", dir.display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Begins an empty folder.
fn begin(dir: &Path) -> Result<Manifest> {
    let cannot = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name();
        if ![LOCK, MANIFEST_TMP].iter().any(|own| name == *own) {
            bail!(
                "{} has no manifest, and is not empty: it holds {}; a backup wants a folder of its \
                 own",
                dir.display(),
                name.display()
            );
        }
    }
    write_manifest(dir, &Manifest::default().text())?;
    Manifest::read(dir)?.context("the manifest was written just now")
}

fn write_manifest(dir: &Path, text: &str) -> Result<()> {
    let tmp = dir.join(MANIFEST_TMP);
    let written = || -> io::Result<()> {
        let mut file = File::create(&tmp)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&tmp, dir.join(MANIFEST))
    };
    written().with_context(|| format!("cannot write the manifest in {}", dir.display()))?;
    sync(dir)
}

fn sync(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("cannot sync {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::super::label::Label;
    use super::*;

    fn add(folder: &mut Folder, since: u64, revision: u64) {
        let (chain, file) = folder.next(since == 0);
        fs::write(folder.part(&file), "x").unwrap();
        let time = "2026-11-30T05:51:31Z".into();
        let label = Label { since, revision, time, ..Label::default() };
        folder.add(&Entry { chain, file, label, bytes: 1, sha256: "00".into() }).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    // Wherever a crash stopped a backup, what counted must be whole and the rest gone.
    #[test]
    fn a_crash_at_any_step_leaves_a_whole_folder() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut folder = Folder::open(dir).unwrap();
        assert!(Folder::open(dir).unwrap_err().to_string().contains("is in use"));
        add(&mut folder, 0, 5);
        add(&mut folder, 5, 9);
        let (_, next) = folder.next(false);
        drop(folder);
        let manifest = fs::read(dir.join(MANIFEST)).unwrap();
        // Before its line: the part goes. Amid its line: that, too.
        fs::write(manifest::part(dir, &next), "half").unwrap();
        fs::write(dir.join(MANIFEST), [&manifest[..], b"{\"kind\":\"inc"].concat()).unwrap();
        let whole = names(dir).len() - 1;
        drop(Folder::open(dir).unwrap());
        assert_eq!((fs::read(dir.join(MANIFEST)).unwrap(), names(dir).len()), (manifest, whole));
        // Behind its line: it counts.
        let newest = dir.join(Entry::name(1, 1));
        fs::rename(&newest, manifest::part(dir, &Entry::name(1, 1))).unwrap();
        let read = Manifest::read(dir).unwrap().unwrap();
        assert!(read.newest().unwrap().path(dir).exists());
        drop(Folder::open(dir).unwrap());
        assert!(newest.exists());
    }

    // A removal that stopped halfway goes on, and never reaches what the newest chain needs.
    #[test]
    fn old_chains_go_whole_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut folder = Folder::open(dir).unwrap();
        for revision in [5, 7, 9] {
            add(&mut folder, 0, revision);
            add(&mut folder, revision, revision + 1);
        }
        folder.append(&Line::Drop { chain: 1 }).unwrap();
        drop(folder);
        fs::remove_file(dir.join(Entry::name(1, 1))).unwrap();
        let mut folder = Folder::open(dir).unwrap();
        assert_eq!(folder.manifest().chains.len(), 2);
        assert!(!dir.join(Entry::name(1, 0)).exists());
        assert_eq!(folder.keep(0).unwrap(), 1, "one stays in any case");
        let left = [Entry::name(3, 1), Entry::name(3, 0)];
        assert_eq!(names(dir), [&left[..], &[LOCK.into(), MANIFEST.into()]].concat());
        assert_eq!(folder.next(true), (4, Entry::name(4, 0)));
        let again = Manifest::read(dir).unwrap().unwrap();
        assert_eq!((again.chains.len(), again.dropped.len()), (1, 0));
    }

    // A folder whose manifest was lost still has what somebody may need.
    #[test]
    fn files_without_a_manifest_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(Entry::name(1, 0)), "x").unwrap();
        let said = Folder::open(dir.path()).unwrap_err().to_string();
        assert!(said.contains("has no manifest"), "{said}");
        assert!(dir.path().join(Entry::name(1, 0)).exists());
    }
}
