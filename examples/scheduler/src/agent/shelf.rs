//! Images of a node: from its store, or fetched into it.

use mason_core::record::Reason;
use mason_core::spec::PullPolicy;
use mason_node::image::Error;
use mason_node::image::pull::{PullConfig, Puller};
use mason_node::image::reference::Reference;
use mason_node::image::store::{Image, Store};
use mason_node::runtime;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::hand::chain;

/// Why a run cannot be prepared.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// In a word.
    pub(super) reason: Reason,
    /// For people.
    pub(super) message: String,
}

/// An image, ready to be run; it stays in the store as long as this is held.
pub(super) struct Picture {
    /// What it says about its program.
    pub(super) program: runtime::Image,
    /// Where it is.
    pub(super) image: Image,
}

/// Images of a node.
#[derive(Clone)]
pub struct Shelf {
    store: Store,
    puller: Puller,
    /// Images that are used where others are asked for that are not there.
    stand_ins: Arc<BTreeMap<Reference, Reference>>,
}

impl Shelf {
    /// Images in this store, fetched as `pull` says when they are not there.
    ///
    /// # Errors
    /// If a certificate to trust is none.
    pub fn new(store: Store, pull: PullConfig) -> Result<Shelf, Error> {
        let puller = Puller::new(store.clone(), pull)?;
        Ok(Shelf { store, puller, stand_ins: Arc::default() })
    }

    /// Uses an image of the store in the place of another, as long as that is not in the store and
    /// need not be fetched: the first steps of who tries things out should need no network.
    ///
    /// # Errors
    /// If either is no name of an image.
    pub fn stand_in(mut self, wanted: &str, instead: &str) -> Result<Shelf, Error> {
        let stand_ins = Arc::make_mut(&mut self.stand_ins);
        stand_ins.insert(wanted.parse()?, instead.parse()?);
        Ok(self)
    }

    /// An image by its name, fetched if need be.
    pub(super) async fn fetch(&self, name: &str, pull: PullPolicy) -> Result<Picture, Refusal> {
        let refuse = |message: String| Refusal { reason: Reason::ImagePull, message };
        let reference: Reference = name.parse().map_err(|error| refuse(chain(&error)))?;
        let there = match pull {
            PullPolicy::Always => None,
            PullPolicy::Missing | PullPolicy::Never => {
                self.look(&reference).await.map_err(|error| refuse(chain(&error)))?
            }
        };
        let image = match there {
            Some(image) => image,
            None if pull == PullPolicy::Never => {
                return Err(refuse(format!(
                    "{reference} is not on this node, and is never pulled"
                )));
            }
            None => {
                let pulled = self.puller.pull(&reference, Arc::new(|_| {})).await;
                pulled.map_err(|error| refuse(format!("{reference}: {}", chain(&error))))?
            }
        };
        Ok(Picture { program: program_of(&image), image })
    }

    /// Keeps an image by its digest, if it is there still.
    pub(super) async fn hold(&self, digest: &str) -> Option<Image> {
        let (store, digest) = (self.store.clone(), digest.parse().ok()?);
        let found = tokio::task::spawn_blocking(move || store.image_by_digest(digest)).await;
        found.expect("the store's calls do not panic").unwrap_or_else(|error| {
            tracing::warn!(%digest, "an image that runs cannot be kept: {}", chain(&error));
            None
        })
    }

    /// The store.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Fetches an image, whether it is there or not.
    pub(super) async fn pull(&self, reference: &Reference) -> Result<Image, Error> {
        self.puller.pull(reference, Arc::new(|_| {})).await
    }

    /// What the store has by this name, or what stands in for it.
    async fn look(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        if let Some(found) = self.find(reference).await? {
            return Ok(Some(found));
        }
        let Some(instead) = self.stand_ins.get(reference) else { return Ok(None) };
        tracing::info!(%reference, %instead, "stands in for an image that is not here");
        self.find(instead).await
    }

    /// What the store has. A layer may have to be unpacked for it: that takes a thread.
    async fn find(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        let (store, reference) = (self.store.clone(), reference.clone());
        let found = tokio::task::spawn_blocking(move || store.image(&reference)).await;
        found.expect("the store's calls do not panic")
    }
}

fn program_of(image: &Image) -> runtime::Image {
    let config = &image.config;
    runtime::Image {
        entrypoint: config.entrypoint.clone(),
        command: config.cmd.clone(),
        env: config.env.clone(),
        workdir: config.working_dir.clone(),
        user: config.user.clone(),
    }
}
