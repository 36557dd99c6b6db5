//! What commands that ask have in common: a client, names, and waiting for news.

use anyhow::{Result, bail};

use crate::api::client::{Client, ClientError, Path};
use crate::api::wire::{Change, Changed, Detail, Summary};

/// Asks a server, in a namespace.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// An object by its name, or one of its tasks: `train`, `train/17`, `job/train`, `@latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `job`, `service`, `cron` or `workflow`, if it was given: another kind is not meant.
    pub(super) kind: Option<&'static str>,
    pub(super) name: String,
    pub(super) index: Option<u32>,
}

/// The object of a namespace that was made last, and not by another.
const LATEST: &str = "@latest";

/// As people write them, and what they are.
const KINDS: [(&str, &str); 16] = [
    ("job", "job"),
    ("jobs", "job"),
    ("service", "service"),
    ("services", "service"),
    ("deploy", "service"),
    ("deployment", "service"),
    ("deployments", "service"),
    ("cron", "cron"),
    ("crons", "cron"),
    ("cronjob", "cron"),
    ("cronjobs", "cron"),
    ("cronworkflow", "cron"),
    ("cronworkflows", "cron"),
    ("workflow", "workflow"),
    ("workflows", "workflow"),
    ("wf", "workflow"),
];

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let kind_of = |word: &str| KINDS.iter().find(|(known, _)| *known == word);
        let (kind, text) = match text.split_once('/') {
            Some((word, rest)) => match kind_of(word) {
                Some((_, kind)) => (Some(*kind), rest),
                None => (None, text),
            },
            None => (None, text),
        };
        let (name, index) = match text.split_once('/') {
            None => (text, None),
            Some((name, index)) => {
                let index = index.parse().map_err(|_| no_index(name, index))?;
                (name, Some(index))
            }
        };
        if name != LATEST {
            mason_core::types::check_name(name).map_err(|error| error.to_string())?;
        }
        Ok(Target { kind, name: name.to_owned(), index })
    }
}

fn no_index(name: &str, index: &str) -> String {
    format!(
        "`{index}` is no index of a task, and `{name}` none of the kinds job, service, cron and \
         workflow"
    )
}

impl Asker {
    fn path(&self, name: &str, more: &[&str]) -> Path {
        Path::of(&[&["objects", &self.namespace, name], more].concat())
    }

    /// With a name that is one; of the kind that was given, if it is there.
    pub(super) async fn resolve(&self, target: &Target) -> Result<Target> {
        if target.name != LATEST {
            if let Some(kind) = target.kind {
                self.check_kind(&target.name, kind).await?;
            }
            return Ok(target.clone());
        }
        let path = Path::of(&["objects"]).with("namespace", &self.namespace);
        let all: Vec<Summary> = self.client.get(path).await?;
        let is_meant = |it: &Summary| target.kind.is_none_or(|kind| kind == it.kind);
        let own = all.into_iter().filter(|it| it.owner.is_none() && is_meant(it));
        match own.max_by_key(|it| (it.created_at, it.key.clone())) {
            Some(last) => Ok(Target { name: last.key.name.into(), ..target.clone() }),
            None => {
                let what = target.kind.unwrap_or("job, service, cron or workflow");
                bail!("there is no {what} in namespace {}", self.namespace)
            }
        }
    }

    /// Whoever names a service must not stop a job. What is not there is for others to say.
    async fn check_kind(&self, name: &str, kind: &str) -> Result<()> {
        let Some(detail) = found(self.detail(name).await)? else { return Ok(()) };
        if detail.summary.kind == kind {
            return Ok(());
        }
        let error = format!("there is no {kind} {name}: {name} is a {}", detail.summary.kind);
        Err(ClientError::absent(error).into())
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
        Err(error) => match error.downcast_ref::<ClientError>() {
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
        let target = |kind, name: &str, index| Ok(Target { kind, name: name.to_owned(), index });
        for (text, expected) in [
            ("train", target(None, "train", None)),
            ("train/17", target(None, "train", Some(17))),
            ("job/train", target(Some("job"), "train", None)),
            ("jobs/train/3", target(Some("job"), "train", Some(3))),
            ("deployment/web", target(Some("service"), "web", None)),
            ("@latest", target(None, "@latest", None)),
            ("wf/@latest/2", target(Some("workflow"), "@latest", Some(2))),
        ] {
            assert_eq!(text.parse::<Target>(), expected, "{text}");
        }
        for bad in ["", "train/x", "UP", "a/1/2", "train/-1", "../etc", "@other"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
