//! What a run's spec names: templates, config maps, secrets, variables, files.
//!
//! # Secrets
//! They are unsealed here, on the node that runs the task, with the key files that its agent was
//! given: **whoever is root on an agent that has a key can read every secret that is sealed with
//! it**, not only those of its own tasks. A cluster that must bound that gives the key to trusted
//! nodes alone; on the others, a task that needs a secret is refused by name.
//!
//! A value is in the agent's memory from here until its keeper has it, and after that in the
//! keeper's tmpfs, the runtime's copy of the bundle there, and the container. It is on no disk, in
//! no log or journal, in no message, and on no command line: an argument that would name one as
//! `$(NAME)` is refused, for every process of the node can read it there. Copies in the agent's
//! memory are not overwritten after use.

mod env;
mod files;

use std::collections::BTreeMap;

use mason_core::keys::Key;
use mason_core::record::{self, ConfigRecord, Reason, RunRecord, SecretRecord};
use mason_core::spec::Task;
use mason_core::types::{JobKey, NodeId, Revision, RunId, SpecHash};

use super::hand::chain;
use super::shelf::Refusal;
use crate::secrets::{Keyring, Plain};
use crate::store::{Store, StoreError};

pub(super) use env::env;
pub(super) use files::files;

/// A run, as one looks at it.
pub(super) struct Sight<'a> {
    pub(super) node: &'a NodeId,
    pub(super) run: &'a RunId,
    pub(super) record: &'a RunRecord,
    pub(super) task: &'a Task,
    /// When its key was made.
    pub(super) fence: Option<Revision>,
}

impl Sight<'_> {
    fn namespace(&self) -> &str {
        &self.record.task.job.namespace
    }
}

/// Where things are looked up.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    pub(super) keyring: Option<&'a Keyring>,
}

impl Source<'_> {
    /// A config map of this namespace.
    async fn config(self, namespace: &str, name: &str) -> Result<Option<ConfigRecord>, Refusal> {
        let path = self.store.keys().path(&Key::Config(JobKey::new(namespace, name)));
        let found = self.store.get(&path).await.map_err(|error| unread(&error))?;
        let read = found.map(|kv| record::decode(&path, &kv.value)).transpose();
        read.map_err(|error| refuse(error.to_string()))
    }

    /// The values of a secret of this namespace.
    async fn secret(
        self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Plain>>, Refusal> {
        let key = JobKey::new(namespace, name);
        let path = self.store.keys().path(&Key::Secret(key.clone()));
        let found = self.store.get(&path).await.map_err(|error| unread(&error))?;
        let Some(kv) = found else { return Ok(None) };
        let record: SecretRecord =
            record::decode(&path, &kv.value).map_err(|error| refuse(error.to_string()))?;
        let Some(keyring) = self.keyring else {
            let key_id = &record.key_id;
            return Err(refuse(format!(
                "secret {key} is sealed with key {key_id}, and this node's agent has no key"
            )));
        };
        keyring.unseal(&key, &record).map(Some).map_err(|error| refuse(chain(&error)))
    }
}

fn refuse(message: String) -> Refusal {
    Refusal { reason: Reason::Config, message }
}

fn unread(error: &StoreError) -> Refusal {
    refuse(format!("the store does not tell: {error}"))
}

/// A template.
pub(super) async fn spec(store: &Store, hash: &SpecHash) -> Result<Task, Refusal> {
    let path = store.keys().path(&Key::Spec(hash.clone()));
    let found = store.get(&path).await.map_err(|error| unread(&error))?;
    let Some(kv) = found else { return Err(refuse(format!("there is no template {hash}"))) };
    record::decode(&path, &kv.value).map_err(|error| refuse(error.to_string()))
}

/// What a run is called in its container.
pub(super) fn hostname(record: &RunRecord) -> String {
    let name = format!("{}-{}", record.task.job.name, record.task.index);
    // The longest that Linux takes; the index tells tasks apart, so it stays.
    match name.len() {
        ..=63 => name,
        long => name[long - 63..].trim_start_matches('-').to_owned(),
    }
}
