//! Keys that are being written.

use bytes::Bytes;
use drystone_etcd_api::mvccpb::KeyValue;

use super::{Book, Pages, Session, Slot, VALUE_BYTES_MAX, bounds, weight};
use crate::proxy::cache::Span;

/// Keys that are being written. What was held of them is given up, unless it is known how they
/// stand.
pub(in crate::proxy::leasing) struct Lock {
    pub(in crate::proxy::leasing) book: Book,
    pub(in crate::proxy::leasing) number: u64,
    pub(in crate::proxy::leasing) spans: Vec<Span>,
    pub(in crate::proxy::leasing) session: Option<Session>,
}

/// How a key stands after a write.
#[derive(Debug)]
pub(in crate::proxy::leasing) struct Standing {
    pub(in crate::proxy::leasing) key: Bytes,
    /// What its lease key was created at, as the book had it before.
    pub(in crate::proxy::leasing) created: i64,
    pub(in crate::proxy::leasing) kv: KeyValue,
}

impl Lock {
    /// The keys within that are held, and when their lease keys were created.
    pub(in crate::proxy::leasing) fn held(&self) -> Vec<(Bytes, i64)> {
        let pages = self.book.0.pages.lock();
        let mut held = Vec::new();
        for span in &self.spans {
            for (key, slot) in pages.slots.range(bounds(span)) {
                if let Slot::Held(it) = slot {
                    held.push((key.clone(), it.created));
                }
            }
        }
        held.sort_unstable();
        held.dedup();
        held
    }

    /// The write was done at the revision `at`, and these keys stand so.
    pub(in crate::proxy::leasing) fn finish(self, at: i64, standing: Vec<Standing>) {
        let mut pages = self.book.0.pages.lock();
        let mut known = Vec::new();
        for Standing { key, created, kv } in standing {
            let Some(Slot::Held(held)) = pages.slots.get_mut(&key) else { continue };
            // A session that has ended meanwhile has its lease keys created at other revisions.
            if held.created != created || kv.lease != 0 || VALUE_BYTES_MAX < kv.value.len() {
                continue;
            }
            known.push(key);
            // The answer to a later write may have come sooner.
            if held.at < at {
                let (before, after) = (weight(&held.kv), weight(&kv));
                (held.kv, held.at) = (kv, at);
                pages.bytes = pages.bytes - before + after;
            }
        }
        self.give_up_but(&mut pages, &known);
        drop(pages);
    }

    /// The write was refused: everything stands as before.
    pub(in crate::proxy::leasing) fn refused(self) {
        self.book.0.pages.lock().writes.remove(&self.number);
    }

    fn give_up_but(&self, pages: &mut Pages, known: &[Bytes]) {
        if pages.writes.remove(&self.number).is_none() || pages.session != self.session {
            return;
        }
        for span in &self.spans {
            let held = pages.slots.range(bounds(span));
            let held = held.filter(|(_, slot)| matches!(slot, Slot::Held(_)));
            let unknown: Vec<Bytes> =
                held.map(|(key, _)| key.clone()).filter(|key| !known.contains(key)).collect();
            unknown.iter().for_each(|key| self.book.rest(pages, key));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut pages = self.book.0.pages.lock();
        self.give_up_but(&mut pages, &[]);
    }
}
