//! Variables of a container.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::problem::shown;
use super::super::{rules, twice};
use super::container;
use crate::spec::{EnvFrom, EnvSource, EnvVar};

/// `env`.
pub(super) fn vars(field: &Field<'_>, labels: &BTreeMap<String, String>) -> Vec<EnvVar> {
    let (mut vars, mut named) = (Vec::new(), Vec::new());
    for item in field.list() {
        item.map(|map| {
            let Some(name) = map.need("name") else { return };
            let text = name.text().unwrap_or_default();
            rules::variable(&text, &name);
            named.push((text.clone(), name));
            let value = match (map.get("value"), map.get("valueFrom")) {
                (Some(_), Some(from)) => {
                    from.bad("must not stand beside `value`");
                    None
                }
                (Some(value), None) => {
                    value.text().map(|text| EnvSource::Text(container::undoubled(&text)))
                }
                (None, Some(from)) => from.map(|map| source(map, labels)).flatten(),
                (None, None) => Some(EnvSource::Text(String::new())),
            };
            vars.extend(value.map(|value| EnvVar { name: text, value }));
        });
    }
    twice(named);
    vars
}

fn source(map: &Map<'_>, labels: &BTreeMap<String, String>) -> Option<EnvSource> {
    let (config, secret) = (map.get("configMapKeyRef"), map.get("secretKeyRef"));
    let field = map.get("fieldRef");
    map.not_yet(&["resourceFieldRef", "fileKeyRef"]);
    let given = [&config, &secret, &field].into_iter().flatten().count();
    if given > 1 {
        map.field().bad("must have one of configMapKeyRef, secretKeyRef and fieldRef");
    }
    if let Some(config) = config {
        let (name, key, optional) = config.map(|map| key_ref(map))??;
        return Some(EnvSource::Config { name, key, optional });
    }
    if let Some(secret) = secret {
        let (name, key, optional) = secret.map(|map| key_ref(map))??;
        return Some(EnvSource::Secret { name, key, optional });
    }
    field?.map(|map| field_ref(map, labels)).flatten()
}

fn key_ref(map: &Map<'_>) -> Option<(String, String, bool)> {
    let name = map.need("name").and_then(|field| rules::name(&field));
    let key = map.need("key").and_then(|field| {
        let key = field.text()?;
        rules::data_key(&key, &field);
        Some(key)
    });
    Some((name?, key?, super::flag(map, "optional").unwrap_or(false)))
}

/// Something about the pod that is something about the run here; or a label, which is known.
fn field_ref(map: &Map<'_>, labels: &BTreeMap<String, String>) -> Option<EnvSource> {
    super::only(map, "apiVersion", &["v1"]);
    let field = map.need("fieldPath")?;
    let path = field.text()?;
    let known = |name: &str| Some(EnvSource::Field(name.to_owned()));
    let key = |prefix| {
        let rest: &str = path.strip_prefix(prefix)?;
        rest.strip_prefix("['")?.strip_suffix("']")
    };
    if let Some(label) = key("metadata.labels") {
        if label == "batch.kubernetes.io/job-completion-index" {
            return known("index");
        }
        return match labels.get(label) {
            Some(value) => Some(EnvSource::Text(value.clone())),
            None => {
                field.bad(format!("names a label that the pod does not have: {}", shown(label)));
                None
            }
        };
    }
    if key("metadata.annotations") == Some("batch.kubernetes.io/job-completion-index") {
        return known("index");
    }
    match &*path {
        "metadata.name" => known("name"),
        "metadata.namespace" => known("namespace"),
        "metadata.uid" => known("run"),
        "spec.nodeName" => known("node"),
        "status.podIP" => known("ip"),
        _ => {
            field.unsupported(format!("{} is not supported yet", shown(&path)));
            None
        }
    }
}

/// `envFrom`.
pub(super) fn whole(field: &Field<'_>) -> Vec<EnvFrom> {
    let read = |map: &Map<'_>| {
        let (config, secret) = (map.get("configMapRef"), map.get("secretRef"));
        if config.is_some() == secret.is_some() {
            map.field().bad("must have one of configMapRef and secretRef");
        }
        let prefix = map.get("prefix").and_then(|field| {
            let prefix = field.text()?;
            if !prefix.is_empty() {
                rules::variable(&prefix, &field);
            }
            Some(prefix)
        });
        let of = |map: &Map<'_>| {
            let name = map.need("name").and_then(|field| rules::name(&field));
            name.map(|name| (name, super::flag(map, "optional").unwrap_or(false)))
        };
        let is_secret = secret.is_some();
        let (name, optional) = secret.or(config)?.map(of).flatten()?;
        Some(EnvFrom { name, secret: is_secret, prefix: prefix.unwrap_or_default(), optional })
    };
    field.list().iter().filter_map(|item| item.map(read).flatten()).collect()
}
