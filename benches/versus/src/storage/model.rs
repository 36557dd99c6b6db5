//! What a store must hold, and a check that it does.

use anyhow::{Result, ensure};

use super::data::{Key, VALUE_BYTES, fill_value, index_of};
use super::store::Store;

/// Of an index that is not stored.
const ABSENT: u32 = u32::MAX;

/// The version that each index has, or none.
#[derive(Clone, Debug, Default)]
pub struct Model {
    versions: Vec<u32>,
    live: u64,
}

impl Model {
    /// The index has this version now.
    pub fn put(&mut self, index: u64, version: u32) {
        assert!(version != ABSENT, "versions are below the one that stands for none");
        let index = index as usize;
        if self.versions.len() <= index {
            self.versions.resize(index + 1, ABSENT);
        }
        self.live += u64::from(self.versions[index] == ABSENT);
        self.versions[index] = version;
    }

    /// The index is not stored any more.
    pub fn delete(&mut self, index: u64) {
        if let Some(version) = self.versions.get_mut(index as usize) {
            self.live -= u64::from(*version != ABSENT);
            *version = ABSENT;
        }
    }

    /// The version of an index that is stored.
    #[must_use]
    pub fn version(&self, index: u64) -> Option<u32> {
        self.versions.get(index as usize).copied().filter(|version| *version != ABSENT)
    }

    /// Pairs that are stored.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live
    }

    /// The index after all that were ever stored.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.versions.len() as u64
    }

    /// Indices that are stored.
    pub fn indices(&self) -> impl Iterator<Item = u64> {
        let stored = |(_, version): &(u64, &u32)| **version != ABSENT;
        (0..).zip(&self.versions).filter(stored).map(|(index, _)| index)
    }

    /// Reads all pairs and compares them, byte by byte.
    ///
    /// # Errors
    /// If the store fails, or has lost or gained or changed a pair, or lost its order.
    pub fn verify(&self, store: &dyn Store) -> Result<()> {
        let (mut count, mut wrong) = (0, None);
        let mut last = Key::of(0);
        let mut first = true;
        let mut expected = [0; VALUE_BYTES];
        let mut check = |key: &[u8], value: &[u8]| {
            let Some(index) = index_of(key) else {
                return Some(format!("a key that was never put: {key:?}"));
            };
            let Some(version) = self.version(index) else {
                return Some(format!("index {index} is there and should not be"));
            };
            fill_value(&mut expected, index, version);
            if value != expected {
                return Some(format!("index {index} has not the value of its version {version}"));
            }
            if !std::mem::take(&mut first) && last.as_bytes() >= key {
                return Some(format!("index {index} is out of order"));
            }
            last = Key::of(index);
            None
        };
        store.reader()?.scan(&[], usize::MAX, &mut |key, value| {
            count += 1;
            if wrong.is_none() {
                wrong = check(key, value);
            }
        })?;
        if let Some(wrong) = wrong {
            anyhow::bail!("{wrong}");
        }
        ensure!(count == self.live, "{count} pairs of {} are there", self.live);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::store::{self, Batch, Contender, Settings, Sync};

    fn std_map() -> Box<dyn Store> {
        let settings = Settings {
            contender: Contender::Std,
            memory_bytes: 0,
            sync: Sync::Later,
            log_bytes: None,
            store_bytes_max: 0,
        };
        store::open(std::path::Path::new(""), &settings).unwrap()
    }

    fn put(store: &dyn Store, key: &[u8], index: u64, version: u32) {
        let mut value = [0; VALUE_BYTES];
        fill_value(&mut value, index, version);
        let mut batch = Batch::default();
        batch.put(key, &value);
        store.write(&batch).unwrap();
    }

    /// A store that loses, keeps, mixes up or invents a pair must be caught, whatever it does.
    #[test]
    fn every_kind_of_damage_is_found() {
        let mut model = Model::default();
        for index in 0..100 {
            model.put(index, 1);
        }
        model.delete(7);
        model.delete(7);
        model.put(3, 2);
        model.put(3, 5);
        assert_eq!((model.live(), model.indices().count()), (99, 99));

        let good = || {
            let store = std_map();
            for index in (0..100).filter(|index| *index != 7) {
                let version = if index == 3 { 5 } else { 1 };
                put(&*store, Key::of(index).as_bytes(), index, version);
            }
            store
        };
        model.verify(&*good()).unwrap();
        type Damage = fn(&dyn Store);
        let damage: [(&str, Damage); 5] = [
            ("98 pairs of 99", |store| {
                let mut batch = Batch::default();
                batch.delete(Key::of(50).as_bytes());
                store.write(&batch).unwrap();
            }),
            ("should not be", |store| put(store, Key::of(7).as_bytes(), 7, 1)),
            ("of its version 5", |store| put(store, Key::of(3).as_bytes(), 3, 2)),
            ("of its version 1", |store| put(store, Key::of(8).as_bytes(), 9, 1)),
            ("never put", |store| put(store, b"something else", 8, 1)),
        ];
        for (message, damage) in damage {
            let store = good();
            damage(&*store);
            let error = model.verify(&*store).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
