//! A key that is being claimed.

use std::time::Instant;

use bytes::Bytes;
use drystone_etcd_api::mvccpb::KeyValue;

use super::{Book, Held, REST, Session, Slot, VALUE_BYTES_MAX, weight};

/// A key that is being claimed. It rests unless the claim is granted.
pub(in crate::proxy::leasing) struct Claim {
    pub(in crate::proxy::leasing) book: Book,
    pub(in crate::proxy::leasing) key: Option<Bytes>,
    pub(in crate::proxy::leasing) session: Session,
}

impl Claim {
    /// The lease key was created, and the key stands so; nothing, if it was not.
    pub(in crate::proxy::leasing) fn settle(mut self, granted: Option<(KeyValue, i64)>) {
        let Some((kv, created)) = granted else { return };
        let mut pages = self.book.0.pages.lock();
        // What hangs on a lease may be gone at any time.
        let is_fit = kv.lease == 0 && kv.value.len() <= VALUE_BYTES_MAX;
        if pages.session != Some(self.session) || !is_fit {
            return;
        }
        let Some(key) = &self.key else { return };
        if !matches!(pages.slots.get(key), Some(Slot::Claimed { is_spoiled: false })) {
            return;
        }
        pages.bytes += weight(&kv);
        let held = Held { kv, at: created, created, used: pages.reads };
        pages.slots.insert(key.clone(), Slot::Held(held));
        drop(pages);
        self.key = None;
    }

    /// The lease key was not created: it is somebody else's, or the key is none to be held.
    pub(in crate::proxy::leasing) fn decline(mut self, now: Instant) {
        let Some(key) = self.key.take() else { return };
        let mut pages = self.book.0.pages.lock();
        if pages.session == Some(self.session)
            && let Some(slot @ Slot::Claimed { .. }) = pages.slots.get_mut(&key)
        {
            *slot = Slot::Resting(Some(now + REST));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut pages = self.book.0.pages.lock();
        let is_own = pages.session == Some(self.session);
        if is_own && matches!(pages.slots.get(&key), Some(Slot::Claimed { .. })) {
            self.book.rest(&mut pages, &key);
        }
    }
}
