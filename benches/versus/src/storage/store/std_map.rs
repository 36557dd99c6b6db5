//! The standard library's map: no store at all, and so what the harness and the keys cost.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};

use anyhow::{Result, bail};
use parking_lot::RwLock;

use super::{Batch, Op, Reader, Store};

type Map = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Of boxes, as a program would hold bytes of any length.
#[derive(Debug, Default)]
pub(super) struct StdMap(RwLock<Map>);

impl Store for StdMap {
    fn write(&self, batch: &Batch) -> Result<()> {
        let mut map = self.0.write();
        for op in batch.iter() {
            match op {
                Op::Put(key, value) => map.insert(key.into(), value.into()),
                Op::Delete(key) => map.remove(key),
            };
        }
        Ok(())
    }

    fn put_durable(&self, _key: &[u8], _value: &[u8]) -> Result<()> {
        bail!("a map in memory is not durable")
    }

    fn persist(&self) -> Result<()> {
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self.0.read()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Reader for parking_lot::RwLockReadGuard<'_, Map> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = BTreeMap::get(self, key);
        if let Some(value) = value {
            show(value);
        }
        Ok(value.is_some())
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        show: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut count = 0;
        for (key, value) in self.range::<[u8], _>((Included(from), Unbounded)).take(limit) {
            show(key, value);
            count += 1;
        }
        Ok(count)
    }
}
