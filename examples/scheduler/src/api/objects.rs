//! Objects, as they are: a list, and all that is known of one.

mod view;

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use mason_core::types::{JobKey, Revision};
use serde::Deserialize;

use super::ask::{Asked, Object, check_namespace};
use super::refuse::{Refused, shown};
use super::select::Selector;
use super::wire::{Detail, Summary};
use super::{Api, Shelf};
use view::summary_in;

/// How long a request with `after` waits for news.
const NEWS_MAX: Duration = Duration::from_secs(60);

/// Which objects.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    namespace: Option<String>,
    kind: Option<String>,
    owner: Option<String>,
    label: Option<String>,
}

const KINDS: [&str; 4] = ["job", "service", "cron", "workflow"];

pub(super) async fn list(
    State(api): Shelf,
    Asked(which): Asked<Which>,
) -> Result<Json<Vec<Summary>>, Refused> {
    check_namespace(which.namespace.as_deref())?;
    if let Some(kind) = which.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
        let problem = format!("kind: {} is none of {}", shown(kind), KINDS.join(", "));
        return Err(Refused::problems("there is no such kind", vec![problem]));
    }
    let owner = which.owner.as_deref().map(str::parse::<JobKey>).transpose().map_err(|error| {
        Refused::problems("`owner` is no object", vec![format!("owner: {error}")])
    })?;
    let selector = Selector::parse(which.label.as_deref())?;
    let fits = |summary: &Summary| {
        which.namespace.as_deref().is_none_or(|it| it == &*summary.key.namespace)
            && which.kind.as_ref().is_none_or(|it| *it == summary.kind)
            && owner.as_ref().is_none_or(|it| summary.owner.as_ref() == Some(it))
            && selector.fits(&summary.labels)
    };
    let found = api.shared.read(|mirror| {
        let all = mirror.jobs().filter_map(|(key, _)| summary_in(mirror, key));
        all.filter(fits).collect()
    });
    Ok(Json(found))
}

/// From when on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<Revision>,
}

pub(super) async fn detail(
    State(api): Shelf,
    Object(key): Object,
    Asked(After { after }): Asked<After>,
) -> Result<Json<Detail>, Refused> {
    if let Some(after) = after {
        let _place = api.follower()?;
        wait_for_news(&api, &key, after).await;
    }
    let found = api.shared.read(|mirror| view::detail(mirror, &key));
    found.map(Json).ok_or_else(|| unknown(&key))
}

/// There is no such object.
pub(super) fn unknown(key: &JobKey) -> Refused {
    Refused::missing(format!("there is no job, service, cron or workflow {key}"))
}

/// Until something about an object is newer than that, or it is gone, or for a minute.
async fn wait_for_news(api: &Api, key: &JobKey, after: Revision) {
    let mut revision = api.shared.revision();
    let news = async {
        loop {
            revision.borrow_and_update();
            let is_there =
                api.shared.read(|mirror| mirror.job(key).is_some_and(|it| it.record.is_some()));
            if !is_there || api.shared.chronicle().touched(key) > after {
                return;
            }
            if revision.changed().await.is_err() {
                return;
            }
        }
    };
    // Without news, it is as it was.
    let _ = tokio::time::timeout(NEWS_MAX, news).await;
}
