//! Reads: one key, or everything under a prefix.
//!
//! ```text
//!   page 1 [a …] at the newest revision, R ─► page 2 [after the last key of page 1 …] at R ─► …
//! ```
//!
//! All pages show the store as it was at R, whoever writes meanwhile and whichever member answers.
//! etcd bounds an answer by its number of keys alone; how many make a page of the wanted size is
//! told from the page before.

use bytes::Bytes;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{RangeRequest, RangeResponse};
use mason_core::types::Revision;

use super::answer::is_compacted;
use super::calls::Chosen;
use super::value::end_of;
use super::{KeyValue, Store, StoreError};

/// Keys of the first page, whose size nobody can tell before.
const FIRST_PAGE_KEYS: usize = 128;
/// A page is at most so many times the one before: a few small values say little of the next.
const PAGE_GROWTH: usize = 4;

/// Pages of one read.
#[derive(Debug)]
struct Pages {
    bytes: usize,
    keys_max: usize,
    keys: usize,
}

impl Pages {
    fn new(bytes: usize, keys_max: usize) -> Pages {
        Pages { bytes, keys_max, keys: FIRST_PAGE_KEYS.min(keys_max).max(1) }
    }

    /// How many keys to ask for, now that a page of so many keys was so large.
    fn learn(&mut self, keys: usize, bytes: usize) {
        let fitting = keys.saturating_mul(self.bytes) / bytes.max(1);
        self.keys = fitting.min(self.keys * PAGE_GROWTH).clamp(1, self.keys_max.max(1));
    }
}

impl Store {
    /// The value of a key, if it is there.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        let request =
            RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() };
        let (answer, _) = self.range(request).await?;
        Ok(answer.kvs.into_iter().next().map(KeyValue::from))
    }

    /// Everything under a prefix, in the order of the keys, and the revision at which it was so.
    ///
    /// # Errors
    /// If nobody answers, or if history is compacted faster than it can be read.
    pub async fn read_all(&self, prefix: &str) -> Result<(Revision, Vec<KeyValue>), StoreError> {
        let mut reads = 1;
        loop {
            match self.read_once(prefix).await {
                Err(StoreError::Compacted(_)) if reads < self.settings().reads_max => reads += 1,
                read => return read,
            }
        }
    }

    async fn read_once(&self, prefix: &str) -> Result<(Revision, Vec<KeyValue>), StoreError> {
        let settings = self.settings();
        let mut pages = Pages::new(settings.page_bytes, settings.page_keys_max);
        let (mut all, mut revision) = (Vec::new(), 0);
        let (mut key, range_end) = (Bytes::copy_from_slice(prefix.as_bytes()), end_of(prefix));
        if key.is_empty() {
            key = Bytes::from_static(b"\0");
        }
        loop {
            let limit = i64::try_from(pages.keys).unwrap_or(i64::MAX);
            let page = RangeRequest {
                key,
                range_end: range_end.clone(),
                limit,
                revision,
                ..RangeRequest::default()
            };
            let (answer, chosen) = self.range(page).await?;
            if revision == 0 {
                revision = self.calls.revision(answer.header.as_ref(), &chosen)?;
            }
            let Some(last) = answer.kvs.last() else { break };
            // The first key after it, whatever that is.
            key = [&last.key[..], b"\0"].concat().into();
            let size = answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
            pages.learn(answer.kvs.len(), size);
            all.extend(answer.kvs.into_iter().map(KeyValue::from));
            if !answer.more {
                break;
            }
        }
        Ok((revision, all))
    }

    /// One answer to one read, from the cluster that this store is.
    pub(crate) async fn range(
        &self,
        request: RangeRequest,
    ) -> Result<(RangeResponse, Chosen), StoreError> {
        let ask = |client: Client| {
            let request = request.clone();
            async move { client.kv().range(request).await }
        };
        match self.calls.call(self.calls.repeatable("read"), ask).await {
            Ok((answer, chosen)) => {
                self.calls.revision(answer.header.as_ref(), &chosen)?;
                Ok((answer, chosen))
            }
            Err(StoreError::Refused { source, .. }) if is_compacted(&source) => {
                Err(StoreError::Compacted(request.revision + 1))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One answer with a million keys would stop the server for everybody; one with a single key
    /// each would take all day.
    #[test]
    fn pages_come_to_the_wanted_size() {
        let mut pages = Pages::new(1000, 500);
        assert_eq!(pages.keys, FIRST_PAGE_KEYS);
        // Ten bytes a key: a hundred fit.
        pages.learn(128, 1280);
        assert_eq!(pages.keys, 100);
        // Larger ones come: fewer at once, but one at least.
        pages.learn(100, 5000);
        assert_eq!(pages.keys, 20);
        pages.learn(20, 1_000_000);
        assert_eq!(pages.keys, 1);
        // Small ones again: more, but not all at once, and never more than the limit.
        pages.learn(1, 1);
        assert_eq!(pages.keys, 4);
        (0..9).for_each(|_| pages.learn(1, 1));
        assert_eq!(pages.keys, 500);
    }
}
