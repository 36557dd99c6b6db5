//! Files of known content.

use std::collections::BTreeMap;
use std::path::Path;

use drystone_etcd_bolt::{Error, File, Writer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Buckets by name, records by key.
pub(crate) type Content = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

pub(crate) fn write(path: &Path, content: &Content) {
    let file = std::fs::File::create(path).expect("files of a test can be used");
    let mut writer = Writer::new(file).expect("files of a test can be used");
    for (name, records) in content {
        writer.begin(name).expect("files of a test can be used");
        for (key, value) in records {
            writer.put(key, value).expect("files of a test can be used");
        }
    }
    writer.finish().expect("files of a test can be used");
}

/// All that can be read, buckets within buckets left out.
pub(crate) fn read(path: &Path) -> Result<Content, Error> {
    let file = File::open(path)?;
    let mut content = Content::new();
    for bucket in file.entries(&file.root()) {
        let bucket = bucket?;
        let mut records = BTreeMap::new();
        if let Some(inner) = &bucket.bucket {
            for entry in file.entries(inner) {
                let entry = entry?;
                records.insert(entry.key.to_vec(), entry.value.to_vec());
            }
        }
        content.insert(bucket.key.to_vec(), records);
    }
    Ok(content)
}

/// A generator of random numbers: of `SEED` if that is set, else of a seed that is printed.
pub(crate) fn random() -> ChaCha8Rng {
    let named = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = named.unwrap_or_else(rand::random);
    println!("replay with SEED={seed} cargo test -p drystone-etcd-bolt");
    ChaCha8Rng::seed_from_u64(seed)
}
