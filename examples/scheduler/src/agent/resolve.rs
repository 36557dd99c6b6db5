//! What a run's spec names: templates, config maps, variables, files.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mason_core::keys::Key;
use mason_core::record::{self, ConfigRecord, Reason, RunRecord};
use mason_core::spec::{EnvSource, MountSource, Task};
use mason_core::types::{JobKey, NodeId, RunId, SpecHash};
use mason_node::runtime::VolumeFile;

use super::shelf::Refusal;
use crate::store::{Store, StoreError};

/// A run, as one looks at it.
pub(super) struct Sight<'a> {
    pub(super) node: &'a NodeId,
    pub(super) run: &'a RunId,
    pub(super) record: &'a RunRecord,
    pub(super) task: &'a Task,
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

/// A config map of the task's namespace.
async fn config(
    store: &Store,
    namespace: &str,
    name: &str,
) -> Result<Option<ConfigRecord>, Refusal> {
    let path = store.keys().path(&Key::Config(JobKey::new(namespace, name)));
    let found = store.get(&path).await.map_err(|error| unread(&error))?;
    let read = found.map(|kv| record::decode(&path, &kv.value)).transpose();
    read.map_err(|error| refuse(error.to_string()))
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

/// All variables, in order; later ones win.
pub(super) async fn env(
    store: &Store,
    sight: &Sight<'_>,
) -> Result<Vec<(String, String)>, Refusal> {
    let Sight { record, task, .. } = sight;
    let namespace = &record.task.job.namespace;
    let mut env = standard(sight);
    for source in &task.env_from {
        if source.secret {
            return Err(refuse(format!("envFrom: secret {} cannot be unsealed here", source.name)));
        }
        match config(store, namespace, &source.name).await? {
            Some(found) => {
                let named = found.data.into_iter();
                env.extend(named.map(|(key, value)| (format!("{}{key}", source.prefix), value)));
            }
            None if source.optional => {}
            None => return Err(refuse(format!("envFrom: there is no config {}", source.name))),
        }
    }
    for variable in &task.env {
        let value = match &variable.value {
            EnvSource::Text(text) => Some(expand(text, &env)),
            EnvSource::Field(field) => Some(field_of(sight, field)?),
            EnvSource::Config { name, key, optional } => {
                let found = config(store, namespace, name).await?;
                let value = found.and_then(|found| found.data.get(key).cloned());
                if value.is_none() && !optional {
                    let what = format!("{key} of config {name}");
                    return Err(refuse(format!("env {}: there is no {what}", variable.name)));
                }
                value
            }
            EnvSource::Secret { name, .. } => {
                let what = format!("secret {name} cannot be unsealed here");
                return Err(refuse(format!("env {}: {what}", variable.name)));
            }
        };
        env.extend(value.map(|value| (variable.name.clone(), value)));
    }
    Ok(env)
}

/// What every task is told.
fn standard(sight: &Sight<'_>) -> Vec<(String, String)> {
    let Sight { node, run, record, .. } = sight;
    let mut env = vec![
        ("MASON_JOB", record.task.job.name.to_string()),
        ("MASON_NAMESPACE", record.task.job.namespace.to_string()),
        ("MASON_INDEX", record.task.index.to_string()),
        ("MASON_COUNT", record.count.to_string()),
        ("MASON_ATTEMPT", record.attempt.to_string()),
        ("MASON_NODE", node.to_string()),
        ("MASON_RUN", run.to_string()),
    ];
    if let Some(partition) = record.partition {
        env.push(("MASON_PARTITION", partition.to_string()));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn field_of(sight: &Sight<'_>, field: &str) -> Result<String, Refusal> {
    let Sight { node, run, record, .. } = sight;
    Ok(match field {
        "name" => hostname(record),
        "namespace" => record.task.job.namespace.to_string(),
        "index" => record.task.index.to_string(),
        "node" => node.to_string(),
        "run" => run.to_string(),
        "attempt" => record.attempt.to_string(),
        other => return Err(refuse(format!("there is no field {other} of a run"))),
    })
}

/// `$(NAME)` is the value of an earlier variable; `$$(NAME)` is `$(NAME)`; a name that is not there
/// stays as it is.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let named = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        let value = named.and_then(|(name, after)| {
            let found = env.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| (value, after))
        });
        match value {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The files of config maps, by the number of the mount.
pub(super) async fn files(
    store: &Store,
    sight: &Sight<'_>,
) -> Result<BTreeMap<usize, Vec<VolumeFile>>, Refusal> {
    let Sight { record, task, .. } = sight;
    let mut all = BTreeMap::new();
    for (at, mount) in task.mounts.iter().enumerate() {
        let (name, items, optional) = match &mount.source {
            MountSource::Config { name, items, optional } => (name, items, *optional),
            MountSource::Secret { name, .. } => {
                return Err(refuse(format!("{}: secret {name} cannot be unsealed here", mount.at)));
            }
            MountSource::Empty { .. } | MountSource::Host { .. } | MountSource::Text { .. } => {
                continue;
            }
        };
        let found = config(store, &record.task.job.namespace, name).await?;
        let Some(found) = found else {
            if optional {
                all.insert(at, Vec::new());
                continue;
            }
            return Err(refuse(format!("{}: there is no config {name}", mount.at)));
        };
        all.insert(at, files_of(&found, name, items, &mount.at)?);
    }
    Ok(all)
}

fn files_of(
    config: &ConfigRecord,
    name: &str,
    items: &BTreeMap<String, String>,
    at: &str,
) -> Result<Vec<VolumeFile>, Refusal> {
    let bytes = |key: &str| -> Option<Vec<u8>> {
        let text = config.data.get(key).map(|text| text.clone().into_bytes());
        text.or_else(|| STANDARD.decode(config.binary.get(key)?).ok())
    };
    let own: BTreeMap<String, String>;
    let items = if items.is_empty() {
        let keys = config.data.keys().chain(config.binary.keys());
        own = keys.map(|key| (key.clone(), key.clone())).collect();
        &own
    } else {
        items
    };
    let files = items.iter().map(|(key, path)| match bytes(key) {
        Some(bytes) => Ok(VolumeFile { path: path.clone(), bytes }),
        None => Err(refuse(format!("{at}: there is no {key} in config {name}"))),
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands are put together of variables as Kubernetes' users know it.
    #[test]
    fn variables_are_replaced_by_earlier_ones() {
        let env = vec![("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
        for (text, expected) in [
            ("x$(A)y", "x2y"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$$$(A)", "$2"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}
