//! The files of config maps and secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mason_core::record::ConfigRecord;
use mason_core::spec::MountSource;
use mason_node::runtime::VolumeFile;

use super::{Refusal, Sight, Source, refuse};

/// The files of config maps and secrets, by the number of the mount.
pub(in super::super) async fn files(
    source: Source<'_>,
    sight: &Sight<'_>,
) -> Result<BTreeMap<usize, Vec<VolumeFile>>, Refusal> {
    let mut all = BTreeMap::new();
    for (at, mount) in sight.task.mounts.iter().enumerate() {
        let (what, found, items, optional) = match &mount.source {
            MountSource::Config { name, items, optional } => {
                let found = source.config(sight.namespace(), name).await?;
                let found = found.map(|found| bytes_of(&found)).transpose();
                let what = format!("config {name}");
                let found = found
                    .map_err(|key| refuse(format!("{}: {key} of {what} is no base64", mount.at)))?;
                (what, found, items, *optional)
            }
            MountSource::Secret { name, items, optional } => {
                let found = source.secret(sight.namespace(), name).await?;
                let found = found.map(|found| {
                    let bytes = |(key, plain): (String, crate::secrets::Plain)| {
                        (key, plain.expose().to_vec())
                    };
                    found.into_iter().map(bytes).collect()
                });
                (format!("secret {name}"), found, items, *optional)
            }
            MountSource::Empty { .. } | MountSource::Host { .. } | MountSource::Text { .. } => {
                continue;
            }
        };
        let files = match found {
            Some(found) => pick(found, items)
                .map_err(|key| refuse(format!("{}: there is no {key} in {what}", mount.at)))?,
            None if optional => Vec::new(),
            None => return Err(refuse(format!("{}: there is no {what}", mount.at))),
        };
        all.insert(at, files);
    }
    Ok(all)
}

/// What is in a config map; the key of what does not read.
fn bytes_of(config: &ConfigRecord) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let texts = config.data.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
    let mut all: BTreeMap<String, Vec<u8>> = texts.collect();
    for (key, coded) in &config.binary {
        let bytes = STANDARD.decode(coded).map_err(|_| key.clone())?;
        all.entry(key.clone()).or_insert(bytes);
    }
    Ok(all)
}

/// Key to path; all keys under their own names if none is named. The key that is not there.
fn pick(
    mut found: BTreeMap<String, Vec<u8>>,
    items: &BTreeMap<String, String>,
) -> Result<Vec<VolumeFile>, String> {
    if items.is_empty() {
        return Ok(found.into_iter().map(|(path, bytes)| VolumeFile { path, bytes }).collect());
    }
    let picked = items.iter().map(|(key, path)| {
        let bytes = found.remove(key).ok_or_else(|| key.clone())?;
        Ok(VolumeFile { path: path.clone(), bytes })
    });
    picked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that is not there is named, or a task starts without its certificate.
    #[test]
    fn keys_become_files_by_name_or_by_path() {
        let found = || BTreeMap::from([("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
        let paths = |items: &[(&str, &str)]| {
            let own = |(key, path): &(&str, &str)| ((*key).to_owned(), (*path).to_owned());
            let files = pick(found(), &items.iter().map(own).collect())?;
            Ok::<_, String>(
                files.into_iter().map(|file| (file.path, file.bytes)).collect::<Vec<_>>(),
            )
        };
        let file = |path: &str, byte| (path.to_owned(), vec![byte]);
        assert_eq!(paths(&[]), Ok(vec![file("a", 1), file("b", 2)]));
        assert_eq!(paths(&[("b", "x/y")]), Ok(vec![file("x/y", 2)]));
        assert_eq!(paths(&[("c", "x")]), Err("c".to_owned()));
    }
}
