//! Images from files: an OCI layout, as a folder or in a tar, or an archive of `docker save`.
//!
//! ```text
//!   OCI layout                          docker save, old               docker save, new
//!   oci-layout                          manifest.json                  both: the layout counts,
//!   index.json ─► manifest or index     <id>.json       (config)       manifest.json only says
//!   blobs/sha256/<hex>                  <id>/layer.tar  (or a link)    the names
//! ```
//!
//! A tar may come from standard input, so it is read once, from front to back, into staged files;
//! links in it are kept as names and followed only among the archive's own entries. Nothing is
//! looked up on disk but in a layout's folder, and there only `oci-layout`, `index.json` and
//! `blobs/sha256/<hex>`, as plain files.
//!
//! Every blob is hashed on its way into the store and must be what its descriptor says; layers are
//! checked once more unpacked, against the configuration. For an old archive, which has no digests
//! of layers, a manifest is made here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::codec;
use super::digest::Digest;
use super::error::Error;
use super::manifest::{
    DOCUMENT_BYTES_MAX, Descriptor, Document, Index, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST,
    Platform, json,
};
use super::reference::Reference;
use super::store::{Image, Session, Staged, Store};
use super::tar::{Kind, Tar, TarError};

/// Most entries of an archive, and most indexes within indexes.
const ARCHIVE_ENTRY_COUNT_MAX: usize = 10_000;
const INDEX_DEPTH_MAX: usize = 4;
/// Most bytes of one file in an archive, and of all.
const BLOB_BYTES_MAX: u64 = 16 << 30;
const ARCHIVE_BYTES_MAX: u64 = 64 << 30;

/// Where an image comes from.
pub enum Source<'a> {
    /// A folder that holds an OCI layout, or a file: a tar of either kind, packed or plain.
    Path(PathBuf),
    /// Such a tar, from standard input or the like.
    Reader(&'a mut dyn Read),
}

/// What an import made.
#[derive(Debug)]
pub struct Imported {
    /// The names that it has now.
    pub names: Vec<Reference>,
    /// The image, held.
    pub image: Image,
}

/// Imports all images of a source, or the only one under `name`.
///
/// # Errors
/// [`Error::BadImage`], [`Error::WrongDigest`], [`Error::NotFound`] and [`Error::Layer`] name the
/// part; nothing is named in the store then.
pub fn import(
    store: &Store,
    source: Source<'_>,
    name: Option<&Reference>,
    platform: &Platform,
) -> Result<Vec<Imported>, Error> {
    let session = store.session();
    let files = match source {
        Source::Path(path) if path.is_dir() => Files::Folder(path),
        Source::Path(path) => {
            let file = File::open(&path).map_err(|error| Error::io(&path, error))?;
            Files::archive(store, file)?
        }
        Source::Reader(reader) => Files::archive(store, reader)?,
    };
    let mut import = Import { store, session, files, platform };
    let found = if import.files.has("oci-layout") {
        import.layout(name)?
    } else if import.files.has("manifest.json") {
        import.docker(name)?
    } else {
        let reason = "neither `oci-layout` nor `manifest.json` is in it";
        return Err(Error::bad("image archive", reason));
    };
    let mut imported = Vec::new();
    for (names, digest) in found {
        let image = store.commit(&import.session, &names, digest, Some(platform))?;
        imported.push(Imported { names, image });
    }
    Ok(imported)
}

/// One import.
struct Import<'a> {
    store: &'a Store,
    session: Session,
    files: Files,
    platform: &'a Platform,
}

/// A line of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Import<'_> {
    /// Takes in an OCI layout; answers names and manifests.
    fn layout(&mut self, name: Option<&Reference>) -> Result<Vec<(Vec<Reference>, Digest)>, Error> {
        let layout: serde_json::Value = json("oci-layout", &self.files.document("oci-layout")?)?;
        if layout["imageLayoutVersion"] != "1.0.0" {
            return Err(Error::bad("oci-layout", "`imageLayoutVersion` is not 1.0.0"));
        }
        let index = Index::parse("index.json", &self.files.document("index.json")?)?;
        let tags = self.saved_tags()?;
        // Several entries that differ by platform alone are one image; so are names of one digest.
        let mut wanted: Vec<(Vec<Reference>, &Descriptor)> = Vec::new();
        let fits = |found: &&Descriptor| match &found.platform {
            Some(at) => at.os == self.platform.os && at.architecture == self.platform.architecture,
            None => true,
        };
        let here: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
        if here.is_empty() {
            return index.choose("image", self.platform).map(|_| Vec::new());
        }
        for descriptor in here {
            let names = match name {
                Some(name) => vec![name.clone()],
                None => names(descriptor)?,
            };
            match wanted.iter_mut().find(|(_, known)| known.digest == descriptor.digest) {
                Some((known, _)) => known.extend(names),
                None => wanted.push((names, descriptor)),
            }
        }
        if name.is_some() && wanted.len() > 1 {
            let reason = format!("{} images are in it, and one name was given", wanted.len());
            return Err(Error::bad("index.json", reason));
        }
        let mut found = Vec::new();
        for (mut names, descriptor) in wanted {
            let (digest, manifest) = self.manifest(descriptor, 0)?;
            if names.is_empty() {
                names = tags.get(&manifest.config.digest).cloned().unwrap_or_default();
            }
            if names.is_empty() {
                let reason = format!("the image {digest} has no full name there: give it one");
                return Err(Error::bad("index.json", reason));
            }
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                self.blob(blob)?;
            }
            found.push((names, digest));
        }
        Ok(found)
    }

    /// The names that docker's own file gives, by configuration, if there is such a file.
    fn saved_tags(&self) -> Result<BTreeMap<Digest, Vec<Reference>>, Error> {
        let mut tags = BTreeMap::new();
        if self.files.has("manifest.json") {
            let saved: Vec<Saved> = json("manifest.json", &self.files.document("manifest.json")?)?;
            for image in saved {
                let hex = image.config.rsplit('/').next().unwrap_or_default();
                let Some(config) = Digest::from_hex(hex.trim_end_matches(".json")) else {
                    continue;
                };
                let names = image.repo_tags.unwrap_or_default();
                let names: Result<_, _> = names.iter().map(|tag| tag.parse()).collect();
                tags.insert(config, names?);
            }
        }
        Ok(tags)
    }

    /// Follows a descriptor to a manifest, through indexes.
    fn manifest(&self, from: &Descriptor, depth: usize) -> Result<(Digest, Manifest), Error> {
        if depth > INDEX_DEPTH_MAX {
            let reason = format!("indexes lie deeper in each other than {INDEX_DEPTH_MAX}");
            return Err(Error::bad("index.json", reason));
        }
        let what = format!("manifest {}", from.digest);
        if from.size > DOCUMENT_BYTES_MAX {
            let (limit_name, limit) = ("document_bytes_max", DOCUMENT_BYTES_MAX);
            return Err(Error::TooLarge { what, limit_name, limit });
        }
        self.blob(from)?;
        let bytes = self.store.document("manifest", from.digest)?;
        match Document::parse(&what, &bytes)? {
            Document::Manifest(manifest) => Ok((from.digest, manifest)),
            Document::Index(index) => self.manifest(index.choose(&what, self.platform)?, depth + 1),
        }
    }

    /// Takes in a blob of the layout, verified.
    fn blob(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let Descriptor { digest, size, .. } = descriptor;
        self.session.pin(*digest);
        if self.store.has(*digest) {
            return Ok(());
        }
        let path = format!("blobs/sha256/{}", digest.hex());
        let mut staging = self.store.stage()?;
        staging.fill(&path, &mut self.files.open(&path)?, *size)?;
        let staged = staging.finish()?;
        if staged.digest != *digest {
            let (expected, found) = (*digest, staged.digest);
            return Err(Error::WrongDigest { what: path, expected, found });
        }
        if staged.size != *size {
            let reason = format!("{} bytes, its descriptor says {size}", staged.size);
            return Err(Error::bad(path, reason));
        }
        self.session.keep(staged).map(drop)
    }

    /// Takes in an old archive of docker's; answers names and manifests.
    fn docker(&mut self, name: Option<&Reference>) -> Result<Vec<(Vec<Reference>, Digest)>, Error> {
        let saved: Vec<Saved> = json("manifest.json", &self.files.document("manifest.json")?)?;
        if name.is_some() && saved.len() != 1 {
            let reason = format!("{} images are in it, and one name was given", saved.len());
            return Err(Error::bad("manifest.json", reason));
        }
        let mut found = Vec::new();
        for image in saved {
            let mut names = Vec::new();
            match name {
                Some(name) => names.push(name.clone()),
                None => {
                    for tag in image.repo_tags.iter().flatten() {
                        names.push(tag.parse()?);
                    }
                }
            }
            if names.is_empty() {
                let reason = format!("the image {} has no name there: give it one", image.config);
                return Err(Error::bad("manifest.json", reason));
            }
            let config = self.take(&image.config, OCI_CONFIG)?;
            let mut layers = Vec::new();
            for path in &image.layers {
                layers.push(self.take(path, OCI_LAYER)?);
            }
            let media_type = Some(OCI_MANIFEST.to_owned());
            let manifest = Manifest { schema_version: 2, media_type, config, layers };
            let bytes = serde_json::to_vec(&manifest).expect("a manifest is JSON");
            Manifest::parse("manifest.json", &bytes)?;
            found.push((names, self.session.keep_bytes(&bytes)?));
        }
        Ok(found)
    }

    /// Takes in a file of the archive, whatever its digest; one in its name must be its own.
    fn take(&self, path: &str, media_type: &str) -> Result<Descriptor, Error> {
        let mut staging = self.store.stage()?;
        staging.fill(path, &mut self.files.open(path)?, BLOB_BYTES_MAX)?;
        let staged = staging.finish()?;
        let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if let Some(expected) = Digest::from_hex(stem).filter(|named| *named != staged.digest) {
            let (what, found) = (path.to_owned(), staged.digest);
            return Err(Error::WrongDigest { what, expected, found });
        }
        let size = staged.size;
        let digest = self.session.keep(staged)?;
        let (media_type, annotations) = (media_type.to_owned(), BTreeMap::new());
        Ok(Descriptor { media_type, digest, size, platform: None, annotations })
    }
}

/// The names that a descriptor's remarks give. A tag alone names no image.
fn names(descriptor: &Descriptor) -> Result<Vec<Reference>, Error> {
    for key in ["io.containerd.image.name", "org.opencontainers.image.ref.name"] {
        if let Some(name) = descriptor.annotations.get(key).filter(|name| name.contains([':', '/']))
        {
            return Ok(vec![name.parse()?]);
        }
    }
    Ok(Vec::new())
}

/// The files of a source.
enum Files {
    Folder(PathBuf),
    Archive(BTreeMap<String, Member>),
}

/// An entry of an archive that is of use.
enum Member {
    File(Staged),
    Link(String),
}

impl Files {
    /// Reads a tar into staged files.
    fn archive(store: &Store, packed: impl Read) -> Result<Files, Error> {
        let broken = |path: &[u8], reason: String| {
            Error::bad(format!("image archive, entry `{}`", path.escape_ascii()), reason)
        };
        let plain = codec::unpacked(packed).map_err(|error| broken(b"", error.to_string()))?;
        let mut tar = Tar::new(plain);
        let mut members = BTreeMap::new();
        let (mut count, mut bytes) = (0, 0);
        loop {
            let entry = match tar.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(Files::Archive(members)),
                Err(TarError::Bad { path, reason }) => return Err(broken(&path, reason)),
                Err(TarError::Io(error)) => return Err(broken(b"", error.to_string())),
            };
            count += 1;
            if count > ARCHIVE_ENTRY_COUNT_MAX {
                let reason =
                    format!("more than archive_entry_count_max ({ARCHIVE_ENTRY_COUNT_MAX})");
                return Err(broken(&entry.path, reason));
            }
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
            let path = text(&entry.path).map_err(|_| broken(&entry.path, "no UTF-8".to_owned()))?;
            let member = match entry.kind {
                Kind::Folder => continue,
                Kind::File => {
                    let mut staging = store.stage()?;
                    let limit = BLOB_BYTES_MAX.min(ARCHIVE_BYTES_MAX - bytes);
                    staging.fill(&path, &mut tar, limit)?;
                    bytes += staging.size();
                    Member::File(staging.finish()?)
                }
                Kind::Symlink | Kind::HardLink => {
                    let link = text(&entry.link);
                    let link = link.map_err(|_| broken(&entry.path, "no UTF-8".to_owned()))?;
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    match entry.kind {
                        Kind::Symlink => Member::Link(format!("{folder}/{link}")),
                        _ => Member::Link(link),
                    }
                }
                _ => return Err(broken(&entry.path, "neither a file nor a link".to_owned())),
            };
            members.insert(plain_path(&path), member);
        }
    }

    fn has(&self, path: &str) -> bool {
        match self {
            Files::Folder(root) => root.join(path).is_file(),
            Files::Archive(members) => members.contains_key(path),
        }
    }

    fn open(&self, path: &str) -> Result<File, Error> {
        let missing = || Error::NotFound { what: format!("image archive, entry `{path}`") };
        match self {
            Files::Folder(root) => {
                let path = root.join(path);
                open_plain(&path).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => missing(),
                    _ => Error::io(&path, error),
                })
            }
            Files::Archive(members) => {
                let mut at = plain_path(path);
                // An old archive links a layer to the one of another image, once.
                for _ in 0..4 {
                    match members.get(&at).ok_or_else(missing)? {
                        Member::File(staged) => return staged.open(),
                        Member::Link(to) => at = plain_path(to),
                    }
                }
                Err(Error::bad(format!("image archive, entry `{path}`"), "links in a ring"))
            }
        }
    }

    fn document(&self, path: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let file = self.open(path)?;
        let read = file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| Error::io(Path::new(path), error))?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            let (limit_name, limit) = ("document_bytes_max", DOCUMENT_BYTES_MAX);
            return Err(Error::TooLarge { what: path.to_owned(), limit_name, limit });
        }
        Ok(bytes)
    }
}

/// Opens a file that is no link, pipe or device.
fn open_plain(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags are a C int");
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("no plain file"));
    }
    Ok(file)
}

/// A path of the archive without `.` and `..`; it means nothing outside the archive.
fn plain_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
