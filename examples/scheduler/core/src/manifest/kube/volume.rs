//! Volumes of a pod, and what its container mounts of them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cursor::{Field, Map};
use super::super::problem::shown;
use super::super::quantity::parse_bytes;
use super::super::{rules, twice};
use super::{flag, only};
use crate::spec::{Mount, MountSource};

/// The volumes of a pod, by name. One that is not supported is there, and nothing.
pub(in super::super) struct Volumes<'a> {
    sources: BTreeMap<String, Option<MountSource>>,
    /// Those that several levels may have; a name is looked for here if not above.
    outer: Option<&'a Volumes<'a>>,
}

impl<'a> Volumes<'a> {
    /// The `volumes` of a pod.
    pub(in super::super) fn read(map: &Map<'_>) -> Volumes<'a> {
        let (mut sources, mut named) = (BTreeMap::new(), Vec::new());
        for field in map.get("volumes").map(|field| field.list()).unwrap_or_default() {
            field.map(|map| {
                let source = source(map);
                let Some(name) = map.need("name") else { return };
                let text = rules::name(&name).unwrap_or_default();
                named.push((text.clone(), name));
                sources.insert(text, source);
            });
        }
        twice(named);
        Volumes { sources, outer: None }
    }

    /// The `volumes` of something within.
    pub(in super::super) fn within(map: &Map<'_>, outer: &'a Volumes<'a>) -> Volumes<'a> {
        Volumes { outer: Some(outer), ..Volumes::read(map) }
    }

    fn get(&self, name: &str) -> Option<&Option<MountSource>> {
        self.sources.get(name).or_else(|| self.outer?.get(name))
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.sources.keys().map(String::as_str).collect();
        names.extend(self.outer.iter().flat_map(|outer| outer.names()));
        names
    }

    /// The `volumeMounts` of a container.
    pub(super) fn mounts(&self, map: &Map<'_>) -> Vec<Mount> {
        let (mut mounts, mut places) = (Vec::new(), Vec::new());
        let mut used = BTreeSet::new();
        for field in map.get("volumeMounts").map(|field| field.list()).unwrap_or_default() {
            field.map(|map| {
                let at = map.need("mountPath").and_then(|field| {
                    let at = rules::mount_at(&field)?;
                    places.push((at.clone(), field));
                    Some(at)
                });
                let source = map.need("name").and_then(|field| self.source(&field, &mut used));
                let read_only = flag(map, "readOnly").unwrap_or(false);
                only(map, "mountPropagation", &["None"]);
                map.not_yet(&["subPath", "subPathExpr", "recursiveReadOnly"]);
                if let (Some(at), Some(source)) = (at, source) {
                    // Config maps and secrets cannot be written to there, either.
                    let fixed =
                        matches!(source, MountSource::Config { .. } | MountSource::Secret { .. });
                    mounts.push(Mount { at, read_only: read_only || fixed, source });
                }
            });
        }
        twice(places);
        mounts
    }

    fn source(&self, field: &Field<'_>, used: &mut BTreeSet<String>) -> Option<MountSource> {
        let name = field.text()?;
        match self.get(&name) {
            Some(Some(source)) => {
                let own = matches!(source, MountSource::Empty { .. });
                if !used.insert(name) && own {
                    field.unsupported("is not supported yet: an emptyDir that is mounted twice");
                }
                Some(source.clone())
            }
            Some(None) => {
                field.unsupported("is a volume that is not supported yet");
                None
            }
            None => {
                let guess = super::guess(&name, self.names());
                field.bad(format!("there is no volume {}{guess}", shown(&name)));
                None
            }
        }
    }
}

fn source(map: &Map<'_>) -> Option<MountSource> {
    let (empty, config) = (map.get("emptyDir"), map.get("configMap"));
    let (secret, host) = (map.get("secret"), map.get("hostPath"));
    let later = ["persistentVolumeClaim", "projected", "downwardAPI", "csi", "nfs", "ephemeral"];
    map.not_yet(&later);
    map.not_yet(&["image", "iscsi", "cephfs", "fc", "gitRepo", "awsElasticBlockStore"]);
    let given = [&empty, &config, &secret, &host].into_iter().flatten().count();
    if given > 1 {
        map.field().bad("must have one of emptyDir, configMap, secret and hostPath");
    }
    if let Some(empty) = empty {
        return empty.map(|map| {
            let memory =
                map.get("medium").and_then(|field| field.one_of(&[("", false), ("Memory", true)]));
            let bytes = map.get("sizeLimit").and_then(|field| field.parse(parse_bytes));
            MountSource::Empty { bytes: bytes.unwrap_or(0), memory: memory.unwrap_or(false) }
        });
    }
    if let Some(host) = host {
        return host
            .map(|map| {
                only(map, "type", &["", "Directory"]);
                let path = map.need("path").and_then(|field| rules::absolute(&field))?;
                Some(MountSource::Host { path })
            })
            .flatten();
    }
    if let Some(config) = config {
        let (name, items, optional) = config.map(|map| keys(map, "name")).flatten()?;
        return Some(MountSource::Config { name, items, optional });
    }
    let (name, items, optional) = secret?.map(|map| keys(map, "secretName")).flatten()?;
    Some(MountSource::Secret { name, items, optional })
}

fn keys(map: &Map<'_>, name: &'static str) -> Option<(String, BTreeMap<String, String>, bool)> {
    map.not_yet(&["defaultMode"]);
    let name = map.need(name).and_then(|field| rules::name(&field));
    let mut items = BTreeMap::new();
    for field in map.get("items").map(|field| field.list()).unwrap_or_default() {
        field.map(|map| {
            map.not_yet(&["mode"]);
            let key = map.need("key").and_then(|field| {
                let key = field.text()?;
                rules::data_key(&key, &field);
                Some(key)
            });
            let path = map.need("path").and_then(|field| rules::relative(&field));
            if let (Some(key), Some(path)) = (key, path)
                && items.insert(key, path).is_some()
            {
                map.field().bad("names a key that is there twice");
            }
        });
    }
    Some((name?, items, flag(map, "optional").unwrap_or(false)))
}
