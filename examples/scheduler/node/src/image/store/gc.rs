//! Takes away what no name and no holder leads to, and old images when the disk fills.
//!
//! Names go oldest use first, from the high watermark down to the low one, so that a full disk is
//! not collected image by image. The decision and the renames into `tmp` are made in one hold of
//! the state: nobody can pin what is about to go. Deleting itself takes long, and comes after.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{State, Store, disk};
use crate::image::digest::Digest;
use crate::image::error::Error;

/// When old images go, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Above so many bytes, images go.
    pub high: u64,
    /// Until there are no more than so many.
    pub low: u64,
}

/// What a collection took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Names of images that went because the disk was full.
    pub names: Vec<String>,
    /// Bytes that became free.
    pub bytes_freed: u64,
    /// Bytes that the store takes now.
    pub bytes: u64,
}

/// What is kept, by digest.
#[derive(Debug, Default)]
struct Reachable {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

impl Store {
    /// Collects. An image that somebody holds stays, even above the high watermark.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotFound`] if somebody took a manifest out of the store.
    pub fn gc(&self, water: Watermarks) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let doomed = {
            let mut state = self.state();
            let mut manifests: Vec<(u64, Digest)> = Vec::new();
            for named in state.names.values() {
                match manifests.iter_mut().find(|(_, digest)| *digest == named.manifest) {
                    Some((used, _)) => *used = named.used.max(*used),
                    None => manifests.push((named.used, named.manifest)),
                }
            }
            manifests.sort_unstable();
            let pins = state.pins.all();
            let mut keep = self.reachable(manifests.iter().map(|(_, digest)| *digest), &pins)?;
            if self.weight(&keep) > water.high {
                let mut left: Vec<Digest> = manifests.iter().map(|(_, digest)| *digest).collect();
                for (_, victim) in manifests {
                    if self.weight(&keep) <= water.low {
                        break;
                    }
                    if state.pins.has(&victim) {
                        continue;
                    }
                    left.retain(|digest| *digest != victim);
                    keep = self.reachable(left.iter().copied(), &pins)?;
                    state.names.retain(|name, named| {
                        let stays = named.manifest != victim;
                        if !stays {
                            swept.names.push(name.clone());
                        }
                        stays
                    });
                }
            }
            // Names first: after a crash between, some blobs are in nobody's name, never the
            // reverse.
            if !swept.names.is_empty() {
                self.write_index(&state)?;
            }
            self.set_aside(&keep, &mut state, &mut swept)?
        };
        for path in doomed {
            disk::delete(&path).map_err(|error| Error::io(&path, error))?;
        }
        Ok(swept)
    }

    /// What these manifests, and whatever is pinned, lead to.
    fn reachable(
        &self,
        named: impl Iterator<Item = Digest>,
        pins: &[Digest],
    ) -> Result<Reachable, Error> {
        let mut keep = Reachable::default();
        keep.blobs.extend(pins);
        let mut add = |digest: Digest, must: bool| -> Result<(), Error> {
            // A pin may be on a blob of any kind, or on one that is still to come.
            let parts = match self.parts(digest) {
                Ok(parts) => parts,
                Err(error) if must => return Err(error),
                Err(_) => return Ok(()),
            };
            keep.blobs.extend([digest, parts.manifest.config.digest]);
            keep.blobs.extend(parts.manifest.layers.iter().map(|layer| layer.digest));
            keep.layers.extend(parts.config.rootfs.diff_ids);
            Ok(())
        };
        for digest in named {
            add(digest, true)?;
        }
        for &digest in pins.iter().filter(|&&pin| disk::bytes(&self.blob_path(pin)) <= MOST) {
            add(digest, false)?;
        }
        Ok(keep)
    }

    /// Moves all else into `tmp`; answers where it is.
    fn set_aside(
        &self,
        keep: &Reachable,
        state: &mut State,
        swept: &mut Swept,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut doomed = Vec::new();
        let root = self.root();
        let blobs = root.join("blobs").join("sha256");
        for (folder, kept) in [(blobs, &keep.blobs), (root.join("layers"), &keep.layers)] {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&folder).map_err(|error| Error::io(&folder, error))? {
                let path = entry.map_err(|error| Error::io(&folder, error))?.path();
                let digest = path.file_stem().and_then(|stem| Digest::from_hex(stem.to_str()?));
                let bytes = match digest {
                    Some(diff) if path.is_dir() => self.layer_bytes(diff),
                    _ if path.extension().is_some() => 0,
                    _ => disk::bytes(&path),
                };
                found.push((path, digest, bytes));
            }
            // A layer goes before the note of its bytes: a layer without one would weigh nothing.
            found.sort_unstable();
            for (path, digest, bytes) in found {
                if digest.is_some_and(|digest| kept.contains(&digest)) {
                    swept.bytes += bytes;
                    continue;
                }
                swept.bytes_freed += bytes;
                state.next_temp += 1;
                let aside = root.join("tmp").join(format!("gone-{}", state.next_temp));
                std::fs::rename(&path, &aside).map_err(|error| Error::io(&path, error))?;
                doomed.push(aside);
            }
        }
        Ok(doomed)
    }

    fn weight(&self, keep: &Reachable) -> u64 {
        let packed: u64 = keep.blobs.iter().map(|&blob| disk::bytes(&self.blob_path(blob))).sum();
        packed + keep.layers.iter().map(|&diff| self.layer_bytes(diff)).sum::<u64>()
    }
}

/// No manifest is larger: a pinned blob above is a layer, and not worth reading.
const MOST: u64 = crate::image::manifest::DOCUMENT_BYTES_MAX;
