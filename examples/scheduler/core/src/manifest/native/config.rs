//! Config maps and secrets, as mason's own dialect has them, and their rules for all dialects.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::cursor::{Field, Map};
use super::super::{Body, SecretBytes, rules};
use crate::record::ConfigRecord;

/// Reads a config map: `data` of texts, `binary` of base64.
pub(super) fn config(map: &Map<'_>) -> ConfigRecord {
    config_from(map, "binary")
}

/// The same with another name for what is no text.
pub(in super::super) fn config_from(map: &Map<'_>, binary_key: &'static str) -> ConfigRecord {
    let mut config = ConfigRecord::default();
    for (key, field) in map.get("data").map(|field| field.pairs()).unwrap_or_default() {
        rules::data_key(&key, &field);
        config.data.extend(field.text().map(|text| (key, text)));
    }
    for (key, field) in map.get(binary_key).map(|field| field.pairs()).unwrap_or_default() {
        rules::data_key(&key, &field);
        if config.data.contains_key(&key) {
            field.bad("is in data, too");
        }
        let bytes = base64(&field).map(|bytes| STANDARD.encode(bytes));
        config.binary.extend(bytes.map(|bytes| (key, bytes)));
    }
    config
}

/// Reads a secret: `data` of texts, `binary` of base64.
pub(super) fn secret(map: &Map<'_>) -> Body {
    secret_from(map, "data", "binary")
}

/// The same with these names for its texts and its base64.
pub(in super::super) fn secret_from(
    map: &Map<'_>,
    text_key: &'static str,
    base64_key: &'static str,
) -> Body {
    let kind = map.get("type").and_then(|field| secret_kind(&field));
    let kind = kind.unwrap_or_else(|| OPAQUE.to_owned());
    let mut data = BTreeMap::new();
    for (key, field) in map.get(base64_key).map(|field| field.pairs()).unwrap_or_default() {
        rules::data_key(&key, &field);
        data.extend(base64(&field).map(|bytes| (key, SecretBytes::new(bytes))));
    }
    // Kubernetes lets texts win over base64 of the same key.
    for (key, field) in map.get(text_key).map(|field| field.pairs()).unwrap_or_default() {
        rules::data_key(&key, &field);
        data.extend(field.text().map(|text| (key, SecretBytes::new(text.into_bytes()))));
    }
    complete(map, &kind, &data);
    Body::Secret { kind, data }
}

const OPAQUE: &str = "Opaque";
const DOCKER: &str = "kubernetes.io/dockerconfigjson";
const TLS: &str = "kubernetes.io/tls";

fn secret_kind(field: &Field<'_>) -> Option<String> {
    let kind = field.text()?;
    if ![OPAQUE, DOCKER, TLS].contains(&&*kind) {
        field.unsupported(format!("must be one of {OPAQUE}, {DOCKER} and {TLS}"));
        return None;
    }
    Some(kind)
}

/// Whether a secret has what its type promises.
fn complete(map: &Map<'_>, kind: &str, data: &BTreeMap<String, SecretBytes>) {
    let needed: &[&str] = match kind {
        DOCKER => &[".dockerconfigjson"],
        TLS => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in needed.iter().filter(|key| !data.contains_key(**key)) {
        map.bad_at("data", &format!("must have the key {key}, for the type is {kind}"));
    }
    let config = data.get(".dockerconfigjson").filter(|_| kind == DOCKER);
    if config.is_some_and(|bytes| {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes.expose()).is_err()
    }) {
        map.bad_at("data", "the key .dockerconfigjson must hold JSON");
    }
}

fn base64(field: &Field<'_>) -> Option<Vec<u8>> {
    let text = field.text()?;
    let letters: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(letters).ok();
    if bytes.is_none() {
        field.bad("must be base64");
    }
    bytes
}
