//! Apply: manifests become objects in the store.
//!
//! ```text
//!   text ─► read ─► check each ─► check against what is there ─┬─► every problem, nothing written
//!                                                              └─► write one after another:
//!                                                                  configs, secrets, then work
//! ```
//! What is there can change between the check and the write; then the write decides again, and may
//! find a problem that the check did not.
//!
//! # What an apply over something does
//! * Services and crons become what the manifest says, all of it: a manifest with three replicas
//!   ends a scale to five.
//! * A job's tasks are made of its template from the first on, so `task`, `count`, `depends_on` and
//!   `concurrency` cannot change; of a workflow, only `suspend`, `parallelism`, `deadline` and
//!   `ttl` can. Who wants others deletes the old one first, or gives the new one another name.
//! * What is the same is left alone, whatever became of it: a job that failed is not tried again.

mod admit;
mod circle;
mod verdict;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use mason_core::keys::Key;
use mason_core::manifest::{Body, Name};
use mason_core::mirror::{self, Mirror};
use mason_core::record::{ConfigRecord, JobRecord, encode};
use mason_core::spec::Work;
use mason_core::txn::{Compare, Txn};
use mason_core::types::{JobKey, Revision};

use super::ask::Sent;
use super::change::Decision;
use super::refuse::Refused;
use super::texts;
use super::wire::{Applied, AppliedObject, Apply, Outcome};
use super::{Api, Shelf};
use crate::secrets::Plain;
use crate::server::unix_now;
pub(super) use admit::{Admitted, admit, templates};
pub(super) use verdict::{Verdict, verdict};

pub(super) async fn apply(
    State(api): Shelf,
    Sent(apply): Sent<Apply>,
) -> Result<Json<Applied>, Refused> {
    let all = admit(&api, &apply)?;
    let mut told: Vec<Option<AppliedObject>> = all.iter().map(|_| None).collect();
    let mut revision = 0;
    // What tasks are given is there before they are.
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&at| matches!(all[at].body, Body::Work(_)));
    for at in order {
        match write(&api, &all[at]).await {
            Ok((object, at_revision)) => {
                revision = revision.max(at_revision);
                told[at] = Some(object);
            }
            Err(refused) => return Err(after(&told, refused)),
        }
    }
    let objects = told.into_iter().flatten().collect();
    // If all was so already, it is in the copy.
    let revision = if revision == 0 { api.shared.read(Mirror::revision) } else { revision };
    Ok(Json(Applied { objects, revision }))
}

/// Says what was taken in before it went wrong.
fn after(told: &[Option<AppliedObject>], mut refused: Refused) -> Refused {
    let done: Vec<String> =
        told.iter().flatten().map(|it| format!("{} {}", it.kind, it.key)).collect();
    if !done.is_empty() {
        let more = format!(" (taken in before that: {})", done.join(", "));
        refused.refusal.error += &more;
    }
    refused
}

async fn write(api: &Api, admitted: &Admitted) -> Result<(AppliedObject, Revision), Refused> {
    let (revision, (key, outcome)) = match &admitted.body {
        Body::Work(work) => write_work(api, admitted, work).await?,
        Body::Config(config) => write_config(api, admitted, config).await?,
        Body::Secret { .. } => write_secret(api, admitted).await?,
        Body::Namespace => (0, (admitted.key(), Outcome::Unchanged)),
    };
    let object = AppliedObject {
        kind: admitted.body.kind().to_owned(),
        key,
        outcome,
        warnings: admitted.warnings.clone(),
    };
    Ok((object, revision))
}

type Told = (JobKey, Outcome);

async fn write_work(
    api: &Api,
    admitted: &Admitted,
    work: &Work,
) -> Result<(Revision, Told), Refused> {
    api.change(|mirror| {
        let key = match &admitted.name {
            Name::Given(_) => admitted.key(),
            Name::Generate(prefix) => draw(mirror, &admitted.namespace, prefix)?,
        };
        let path = mirror.keys().path(&Key::Job(key.clone()));
        let (record, outcome) = match verdict(mirror, &key, &admitted.labels, work)? {
            Verdict::Same => return Ok(Decision::Keep((key, Outcome::Unchanged))),
            Verdict::Create => (new_record(&admitted.labels, work), Outcome::Created),
            Verdict::Change(record) => (*record, Outcome::Changed),
        };
        let old = mirror.job(&key).and_then(|it| it.record.as_ref());
        let txn = Txn::new()
            .when(Compare::Changed(path.clone(), mirror::changed(old)))
            .put(path, encode(&record));
        Ok(Decision::Write(txn, (key, outcome)))
    })
    .await
}

/// The record of an object that was not there.
pub(super) fn new_record(labels: &BTreeMap<String, String>, work: &Work) -> JobRecord {
    let uid: [u8; 16] = rand::random();
    JobRecord {
        labels: labels.clone(),
        ..JobRecord::new(
            uid.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            work.clone(),
            unix_now(),
        )
    }
}

/// Letters that spell nothing.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many stand behind a prefix.
const LETTERS_COUNT: usize = 5;
/// How often a name that is taken is drawn again.
const DRAWS_MAX: usize = 20;

const _: () = assert!(LETTERS_COUNT <= mason_core::manifest::GENERATED_BYTES);

/// A name that begins so and is free.
fn draw(mirror: &Mirror, namespace: &str, prefix: &str) -> Result<JobKey, Refused> {
    for _ in 0..DRAWS_MAX {
        let letter = |_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]);
        let letters: String = (0..LETTERS_COUNT).map(letter).collect();
        let key = JobKey::new(namespace, &format!("{prefix}{letters}"));
        if mirror.job(&key).is_none() {
            return Ok(key);
        }
    }
    Err(Refused::conflict(format!("no name that begins with {prefix} is free, after many draws")))
}

async fn write_config(
    api: &Api,
    admitted: &Admitted,
    config: &ConfigRecord,
) -> Result<(Revision, Told), Refused> {
    let key = admitted.key();
    api.change(|mirror| {
        let old = mirror.config(&key);
        let outcome = match old {
            Some(old) if old.value == *config => {
                return Ok(Decision::Keep((key.clone(), Outcome::Unchanged)));
            }
            Some(_) => Outcome::Changed,
            None => Outcome::Created,
        };
        let path = mirror.keys().path(&Key::Config(key.clone()));
        let txn = Txn::new()
            .when(Compare::Changed(path.clone(), mirror::changed(old)))
            .put(path, encode(config));
        Ok(Decision::Write(txn, (key.clone(), outcome)))
    })
    .await
}

async fn write_secret(api: &Api, admitted: &Admitted) -> Result<(Revision, Told), Refused> {
    let key = admitted.key();
    let Some((kind, values)) = secret_values(&admitted.body) else {
        return Err(Refused::bad(format!("{key} is no secret")));
    };
    let keyring = texts::keyring(api)?;
    let sealed = keyring.seal(&key, kind, &values).map_err(|error| texts::refuse(&error))?;
    api.change(|mirror| {
        let old = mirror.secret(&key);
        let outcome = match old {
            Some(old) if texts::is_same(keyring, &key, old, kind, &values) => {
                return Ok(Decision::Keep((key.clone(), Outcome::Unchanged)));
            }
            Some(_) => Outcome::Changed,
            None => Outcome::Created,
        };
        Ok(Decision::Write(texts::put(mirror, &key, old, &sealed), (key.clone(), outcome)))
    })
    .await
}

/// What is to be sealed.
pub(super) fn secret_values(body: &Body) -> Option<(&str, BTreeMap<String, Plain>)> {
    let Body::Secret { kind, data } = body else { return None };
    let plain = |(key, value): (&String, &mason_core::manifest::SecretBytes)| {
        (key.clone(), Plain::new(value.expose().to_vec()))
    };
    Some((kind, data.iter().map(plain).collect()))
}
