//! The documents of an image: index, manifest, configuration; OCI's own and docker's schema 2.
//!
//! Only what is needed is read, whatever else stands there is kept in the blob and passed over.
//! Each has a limit on its bytes, since it is held in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::Error;

/// Largest manifest, index or configuration.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Most layers of an image. Overlayfs itself stops at 500.
pub const LAYER_COUNT_MAX: usize = 128;
/// Most manifests that one index may name.
pub const INDEX_COUNT_MAX: usize = 1000;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// What a registry is told that we understand.
pub(crate) const ACCEPT: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// A reference from one document to another, or to a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of thing it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What it runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Remarks, such as the image's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`, in Go's words.
    pub architecture: String,
    /// Such as `v8`; not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Of this machine.
    pub fn here() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    fn fits(&self, wanted: &Platform) -> bool {
        self.os == wanted.os && self.architecture == wanted.architecture
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// A manifest: one image for one platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2, always.
    pub schema_version: u32,
    /// OCI's or docker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// An index: manifests for platforms, or further indexes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// What it names.
    pub manifests: Vec<Descriptor>,
}

/// Either.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A choice of them.
    Index(Index),
}

impl Document {
    /// Reads either: told apart by what is in it, since the media type is an unverified remark.
    ///
    /// # Errors
    /// [`Error::BadImage`] names what is missing, by `what`.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Document, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            schema_version: Option<u32>,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
        }
        let shape: Shape = json(what, bytes)?;
        match shape.schema_version {
            Some(2) => {}
            Some(1) => return Err(Error::bad(what, "schema 1 manifests are not supported")),
            _ => return Err(Error::bad(what, "`schemaVersion` is not 2")),
        }
        match (shape.manifests, shape.layers) {
            // A document that is both could be taken for either, depending on who reads it.
            (Some(_), Some(_)) => Err(Error::bad(what, "has both `manifests` and `layers`")),
            (Some(_), None) => Index::parse(what, bytes).map(Document::Index),
            (None, _) => Manifest::parse(what, bytes).map(Document::Manifest),
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::BadImage`] names what is wrong.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Manifest, Error> {
        let manifest: Manifest = json(what, bytes)?;
        if manifest.layers.len() > LAYER_COUNT_MAX {
            let count = manifest.layers.len();
            let reason = format!("{count} layers; layer_count_max is {LAYER_COUNT_MAX}");
            return Err(Error::bad(what, reason));
        }
        if manifest.config.size > DOCUMENT_BYTES_MAX {
            return Err(Error::TooLarge {
                what: format!("configuration {}", manifest.config.digest),
                limit_name: "document_bytes_max",
                limit: DOCUMENT_BYTES_MAX,
            });
        }
        Ok(manifest)
    }
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// [`Error::BadImage`] names what is wrong.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Index, Error> {
        let index: Index = json(what, bytes)?;
        if index.manifests.len() > INDEX_COUNT_MAX {
            let count = index.manifests.len();
            let reason = format!("{count} manifests; index_count_max is {INDEX_COUNT_MAX}");
            return Err(Error::bad(what, reason));
        }
        Ok(index)
    }

    /// The one to take for a platform: the first that fits, else the only one that says nothing of
    /// any platform.
    ///
    /// # Errors
    /// [`Error::NotFound`] says which platforms there are.
    pub fn choose(&self, what: &str, wanted: &Platform) -> Result<&Descriptor, Error> {
        let fits = |found: &&Descriptor| found.platform.as_ref().is_some_and(|it| it.fits(wanted));
        if let Some(found) = self.manifests.iter().find(fits) {
            return Ok(found);
        }
        let mut silent = self.manifests.iter().filter(|found| found.platform.is_none());
        if let (Some(only), None) = (silent.next(), silent.next()) {
            return Ok(only);
        }
        let platforms = self.manifests.iter().filter_map(|found| found.platform.as_ref());
        let platforms: Vec<String> = platforms.map(ToString::to_string).collect();
        let there = if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") };
        Err(Error::NotFound { what: format!("{what} for {wanted} (there is: {there})") })
    }
}

/// What a container of the image does unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// Goes before the command.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// What to run, or its arguments.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// `NAME=value`, in order.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// Where it starts; `/` if empty.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Name or id, and perhaps `:` and a group; root if empty.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// Remarks.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// What ends it politely, such as `SIGTERM`; that if nothing is said.
    #[serde(deserialize_with = "some_text")]
    pub stop_signal: Option<String>,
}

/// The configuration blob: the part above, and what the layers are when unpacked.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConfigBlob {
    #[serde(default)]
    pub(crate) config: Option<ImageConfig>,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    pub(crate) rootfs: RootFs,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

impl ConfigBlob {
    pub(crate) fn parse(what: &str, bytes: &[u8], manifest: &Manifest) -> Result<Self, Error> {
        let config: ConfigBlob = json(what, bytes)?;
        let (diffs, layers) = (config.rootfs.diff_ids.len(), manifest.layers.len());
        if diffs != layers {
            let reason = format!("{diffs} `rootfs.diff_ids` for {layers} layers");
            return Err(Error::bad(what, reason));
        }
        let nul = |text: &String| text.contains('\0');
        if let Some(config) = &config.config {
            let words = [&config.entrypoint, &config.cmd, &config.env];
            if words.into_iter().flatten().chain([&config.working_dir, &config.user]).any(nul) {
                return Err(Error::bad(what, "a NUL in `Entrypoint`, `Cmd`, `Env` or the like"));
            }
        }
        Ok(config)
    }
}

/// Reads JSON; the complaint names the document.
pub(crate) fn json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::bad(what, error.to_string()))
}

/// Docker writes `null` where nothing is meant.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn some_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from).map(|text| text.filter(|text| !text.is_empty()))
}
