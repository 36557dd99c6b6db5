//! Objects as people name them: `train`, `job/train`, `train/17`, `@latest`.

use anyhow::{Result, bail};
use clap::Args;
use mason_core::types::JobKey;

use crate::api::client::{Client, ClientError, Path};
use crate::api::wire::{Detail, Summary};

/// In which namespace.
#[derive(Clone, Debug, Args)]
pub(super) struct NamespaceArg {
    /// In which namespace
    #[arg(short = 'n', long, env = "MASON_NAMESPACE", value_name = "NAME")]
    #[arg(default_value = "default")]
    pub(super) namespace: String,
}

/// One object, and perhaps one of its tasks.
#[derive(Clone, Debug, Args)]
pub(super) struct ObjectArg {
    /// NAME, KIND/NAME, NAME/INDEX for one of its tasks, or @latest
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    pub(super) namespace: NamespaceArg,
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) key: JobKey,
    pub(super) index: Option<u32>,
}

const KINDS: [(&str, &str); 13] = [
    ("job", "job"),
    ("jobs", "job"),
    ("service", "service"),
    ("services", "service"),
    ("svc", "service"),
    ("deployment", "service"),
    ("deploy", "service"),
    ("cron", "cron"),
    ("crons", "cron"),
    ("cronjob", "cron"),
    ("workflow", "workflow"),
    ("workflows", "workflow"),
    ("wf", "workflow"),
];

/// A kind, by any of its names.
pub(super) fn kind_of(word: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

/// A name and an index of what people write; a kind before it is a remark.
fn split(text: &str) -> Result<(&str, Option<u32>)> {
    let text = match text.split_once('/') {
        Some((kind, rest)) if kind_of(kind).is_some() && rest.parse::<u32>().is_err() => rest,
        _ => text,
    };
    match text.split_once('/') {
        None => Ok((text, None)),
        Some((name, index)) => match index.parse() {
            Ok(index) => Ok((name, Some(index))),
            Err(_) => bail!("`{text}` names nothing: write NAME, KIND/NAME or NAME/INDEX"),
        },
    }
}

impl ObjectArg {
    pub(super) async fn find(&self, client: &Client) -> Result<Named> {
        let (name, index) = split(&self.name)?;
        let namespace = &self.namespace.namespace;
        if name != "@latest" {
            return Ok(Named { key: JobKey::new(namespace, name), index });
        }
        let path = Path::of(&["objects"]).with("namespace", namespace);
        let all: Vec<Summary> = client.get(path).await?;
        let own = all.into_iter().filter(|it| it.owner.is_none());
        match own.max_by_key(|it| (it.created_at, it.key.clone())) {
            Some(last) => Ok(Named { key: last.key, index }),
            None => bail!("there is nothing in namespace {namespace}"),
        }
    }
}

/// Where in the API an object is.
pub(super) fn at(key: &JobKey) -> Path {
    Path::of(&["objects", &key.namespace, &key.name])
}

/// All that is known of an object, once it is newer than that.
pub(super) async fn detail(
    client: &Client,
    key: &JobKey,
    after: Option<i64>,
) -> Result<Detail, ClientError> {
    client.get(at(key).with_some("after", after)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People write names as other tools print them.
    #[test]
    fn names_are_read_as_people_write_them() {
        for (text, expected) in [
            ("train", ("train", None)),
            ("train/17", ("train", Some(17))),
            ("job/train", ("train", None)),
            ("wf/a-b/0", ("a-b", Some(0))),
            ("job/3", ("job", Some(3))),
            ("@latest", ("@latest", None)),
            ("@latest/2", ("@latest", Some(2))),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        assert!(split("a/b").is_err() && split("a/1/2").is_err());
    }
}
