//! What commands that ask have in common: a client, names, and waiting for news.

use anyhow::{Result, bail};

use crate::api::client::{Client, Path};
use crate::api::wire::{Change, Changed, Detail};

/// Asks a server, in a namespace.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// An object by its name, or one of its tasks: `train`, `train/17`, `job/train`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) index: Option<u32>,
}

const KINDS: [&str; 8] =
    ["job", "jobs", "service", "services", "cron", "crons", "workflow", "workflows"];

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let text = match text.split_once('/') {
            Some((kind, rest)) if KINDS.contains(&kind) => rest,
            _ => text,
        };
        let (name, index) = match text.split_once('/') {
            None => (text, None),
            Some((name, index)) => {
                let index =
                    index.parse().map_err(|_| format!("`{index}` is no index of a task"))?;
                (name, Some(index))
            }
        };
        mason_core::types::check_name(name).map_err(|error| error.to_string())?;
        Ok(Target { name: name.to_owned(), index })
    }
}

impl Asker {
    fn path(&self, name: &str, more: &[&str]) -> Path {
        Path::of(&[&["objects", &self.namespace, name], more].concat())
    }

    /// All that is known of an object.
    pub(super) async fn detail(&self, name: &str) -> Result<Detail> {
        Ok(self.client.get(self.path(name, &[])).await?)
    }

    /// The same when there is news of it, or after a minute.
    pub(super) async fn detail_after(&self, name: &str, after: i64) -> Result<Detail> {
        Ok(self.client.get(self.path(name, &[]).with("after", after)).await?)
    }

    /// What there is to say of where its tasks are.
    pub(super) async fn explain(
        &self,
        target: &Target,
    ) -> Result<Vec<crate::api::wire::Explained>> {
        let path = self.path(&target.name, &["explain"]).with_some("index", target.index);
        Ok(self.client.get(path).await?)
    }

    /// Asks for a change of an object.
    pub(super) async fn change(&self, name: &str, verb: &str, change: &Change) -> Result<Changed> {
        Ok(self.client.post(self.path(name, &[verb]), change).await?)
    }
}

/// Whether an object is there; other errors stay errors.
pub(super) fn found<T>(asked: Result<T>) -> Result<Option<T>> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.downcast_ref::<crate::api::client::ClientError>() {
            Some(refused) if refused.is_not_found() => Ok(None),
            _ => bail!(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People write what other tools print: `job/train`, `train/17`.
    #[test]
    fn targets_are_read_with_and_without_their_kind() {
        let target = |name: &str, index| Ok(Target { name: name.to_owned(), index });
        for (text, expected) in [
            ("train", target("train", None)),
            ("train/17", target("train", Some(17))),
            ("job/train", target("train", None)),
            ("jobs/train/3", target("train", Some(3))),
        ] {
            assert_eq!(text.parse::<Target>(), expected, "{text}");
        }
        for bad in ["", "train/x", "UP", "a/1/2", "train/-1", "../etc"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
