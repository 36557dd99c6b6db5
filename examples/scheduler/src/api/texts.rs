//! Config maps and secrets: their keys are shown, values never are.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mason_core::keys::Key;
use mason_core::mirror::{Entry, Mirror};
use mason_core::record::{SecretRecord, encode};
use mason_core::txn::{Compare, Txn};
use mason_core::types::{JobKey, Revision};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::ask::{Asked, Object, Sent, check_namespace};
use super::change::Decision;
use super::refuse::{Refused, shown};
use super::wire::{Changed, NewSecret, Text};
use super::{Api, Shelf};
use crate::secrets::{Keyring, Plain, SecretError};

/// Which of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    namespace: Option<String>,
}

impl Which {
    fn fits(&self, key: &JobKey) -> bool {
        self.namespace.as_deref().is_none_or(|it| it == &*key.namespace)
    }
}

pub(super) async fn configs(
    State(api): Shelf,
    Asked(which): Asked<Which>,
) -> Result<Json<Vec<Text>>, Refused> {
    check_namespace(which.namespace.as_deref())?;
    Ok(Json(api.shared.read(|mirror| {
        let all = mirror.configs().filter(|(key, _)| which.fits(key)).map(|(key, entry)| {
            let (text, binary) = (entry.value.data.keys(), entry.value.binary.keys());
            let keys = text.chain(binary).cloned().collect();
            Text { key: key.clone(), kind: String::new(), keys }
        });
        all.collect()
    })))
}

pub(super) async fn secrets(
    State(api): Shelf,
    Asked(which): Asked<Which>,
) -> Result<Json<Vec<Text>>, Refused> {
    check_namespace(which.namespace.as_deref())?;
    Ok(Json(api.shared.read(|mirror| {
        let all = mirror.secrets().filter(|(key, _)| which.fits(key)).map(|(key, entry)| {
            let SecretRecord { kind, keys, .. } = &entry.value;
            Text { key: key.clone(), kind: kind.clone(), keys: keys.clone() }
        });
        all.collect()
    })))
}

pub(super) async fn delete_config(
    State(api): Shelf,
    Object(key): Object,
) -> Result<Json<Changed>, Refused> {
    let made = |mirror: &Mirror| mirror.config(&key).map(|it| it.made);
    delete(&api, "config map", &key, Key::Config(key.clone()), made).await
}

pub(super) async fn delete_secret(
    State(api): Shelf,
    Object(key): Object,
) -> Result<Json<Changed>, Refused> {
    let made = |mirror: &Mirror| mirror.secret(&key).map(|it| it.made);
    delete(&api, "secret", &key, Key::Secret(key.clone()), made).await
}

async fn delete(
    api: &Api,
    what: &str,
    name: &JobKey,
    key: Key,
    made: impl Fn(&Mirror) -> Option<Revision>,
) -> Result<Json<Changed>, Refused> {
    let decide = |mirror: &Mirror| {
        let Some(made) = made(mirror) else {
            return Err(Refused::missing(format!("there is no {what} {name}")));
        };
        let path = mirror.keys().path(&key);
        Ok(Decision::Write(Txn::new().when(Compare::Made(path.clone(), made)).delete(path), ()))
    };
    let (revision, ()) = api.change(decide).await?;
    let message = format!("{what} {name} is gone; tasks that run keep what they were given");
    Ok(Json(Changed { revision, message }))
}

pub(super) async fn put_secret(
    State(api): Shelf,
    Object(key): Object,
    Sent(NewSecret { kind, data }): Sent<NewSecret>,
) -> Result<Json<Changed>, Refused> {
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, coded) in data {
        let coded = Zeroizing::new(coded);
        match STANDARD.decode(coded.as_bytes()) {
            Ok(plain) => drop(values.insert(name, Plain::new(plain))),
            Err(_) => problems.push(format!("data.{}: is no base64", shown(&name))),
        }
    }
    if kind.is_empty() || kind.len() > 253 || !kind.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems.push(format!("kind: {} is no type of a secret, as Opaque", shown(&kind)));
    }
    if !problems.is_empty() {
        return Err(Refused::problems(format!("secret {key} is not taken in"), problems));
    }
    let keyring = keyring(&api)?;
    let (revision, ()) = seal(&api, keyring, &key, &kind, &values).await?;
    let message = match revision {
        0 => format!("secret {key} has these values already"),
        _ => format!("secret {key} is sealed; tasks that run keep what they were given"),
    };
    Ok(Json(Changed { revision, message }))
}

/// The keys that seal.
pub(super) fn keyring(api: &Api) -> Result<&Keyring, Refused> {
    let none =
        "this server was given no key file, and stores no secret unsealed: start it with one";
    api.keyring.as_ref().ok_or_else(|| Refused::conflict(none))
}

/// Seals a secret and stores it, unless it is stored as it is.
async fn seal(
    api: &Api,
    keyring: &Keyring,
    key: &JobKey,
    kind: &str,
    values: &BTreeMap<String, Plain>,
) -> Result<(Revision, ()), Refused> {
    let sealed = keyring.seal(key, kind, values).map_err(|error| refuse(&error))?;
    api.change(|mirror| {
        let old = mirror.secret(key);
        if old.is_some_and(|old| is_same(keyring, key, old, kind, values)) {
            return Ok(Decision::Keep(()));
        }
        Ok(Decision::Write(put(mirror, key, old, &sealed), ()))
    })
    .await
}

/// A transaction that stores a secret in the place of the one that is known.
pub(super) fn put(
    mirror: &Mirror,
    key: &JobKey,
    old: Option<&Entry<SecretRecord>>,
    sealed: &SecretRecord,
) -> Txn {
    let path = mirror.keys().path(&Key::Secret(key.clone()));
    let changed = mason_core::mirror::changed(old);
    Txn::new().when(Compare::Changed(path.clone(), changed)).put(path, encode(sealed))
}

/// Whether a secret holds just these values, under the key that seals now.
pub(super) fn is_same(
    keyring: &Keyring,
    key: &JobKey,
    old: &Entry<SecretRecord>,
    kind: &str,
    values: &BTreeMap<String, Plain>,
) -> bool {
    if old.value.kind != kind || !keyring.is_current(&old.value) {
        return false;
    }
    // One that does not unseal is written anew.
    let Ok(before) = keyring.unseal(key, &old.value) else { return false };
    before.len() == values.len()
        && before
            .iter()
            .zip(values)
            .all(|((a, old), (b, new))| a == b && old.expose() == new.expose())
}

/// As a refusal. None of these errors has a value in it.
pub(super) fn refuse(error: &SecretError) -> Refused {
    match error {
        SecretError::BadName { .. } => Refused::bad(error.to_string()),
        SecretError::TooLarge { .. } => {
            Refused::new(http::StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
        }
        _ => Refused::unavailable(error.to_string()),
    }
}
