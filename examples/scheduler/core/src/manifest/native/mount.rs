//! What a task sees besides its image.

use super::super::cursor::{Field, Map};
use super::super::quantity::parse_bytes;
use super::super::{rules, twice};
use crate::spec::{Mount, MountSource};

/// A list of maps, each with `at` and one source.
pub(super) fn mounts(field: &Field<'_>) -> Vec<Mount> {
    let (mut mounts, mut places) = (Vec::new(), Vec::new());
    for item in field.list() {
        item.map(|map| {
            let at = map.need("at").and_then(|field| {
                let at = rules::mount_at(&field)?;
                places.push((at.clone(), field));
                Some(at)
            });
            let source = source(map);
            let read_only = map.get("readOnly").and_then(|field| field.bool()).unwrap_or(false);
            if let (Some(at), Some(source)) = (at, source) {
                mounts.push(Mount { at, read_only, source });
            }
        });
    }
    twice(places);
    mounts
}

fn source(map: &Map<'_>) -> Option<MountSource> {
    let (empty, config) = (map.get("emptyDir"), map.get("config"));
    let (secret, host) = (map.get("secret"), map.get("host"));
    let volume = map.get("volume");
    let given = [&empty, &config, &secret, &host, &volume].into_iter().flatten().count();
    if given != 1 {
        map.field().bad("must have one of emptyDir, config, secret and host");
    }
    if let Some(volume) = volume {
        volume.unsupported("is not supported yet");
        return None;
    }
    if let Some(empty) = empty {
        return empty.map(|map| MountSource::Empty {
            bytes: map.get("size").and_then(|field| field.parse(parse_bytes)).unwrap_or(0),
            memory: map.get("memory").and_then(|field| field.bool()).unwrap_or(false),
        });
    }
    if let Some(host) = host {
        return rules::absolute(&host).map(|path| MountSource::Host { path });
    }
    let items = rules::items(map);
    let optional = map.get("optional").and_then(|field| field.bool()).unwrap_or(false);
    match (config, secret) {
        (Some(name), _) => {
            rules::name(&name).map(|name| MountSource::Config { name, items, optional })
        }
        (None, Some(name)) => {
            rules::name(&name).map(|name| MountSource::Secret { name, items, optional })
        }
        (None, None) => None,
    }
}
