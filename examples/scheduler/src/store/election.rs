//! Who leads: an election as etcd's own clients hold it.
//!
//! ```text
//!   /mason/lead/2f1 made in 7   ◄── leads: the oldest
//!   /mason/lead/a03 made in 9   ◄── waits for …2f1 to go, and watches nothing else
//!   /mason/lead/77c made in 12  ◄── waits for …a03
//! ```
//!
//! A candidate makes a key that goes with its lease, and leads when no older one is left. Each
//! watches the next older one alone, so that a leader that goes wakes one candidate and not all.
//! `etcdctl elect /mason/lead` shows the leader, and can stand against it.
//!
//! To have won says nothing about a moment later: a leader that is paused for longer than its lease
//! wakes up believing in itself. What protects the store is that every transaction of a leader asks
//! for its key ([`Office::fence`]).

use std::collections::BTreeMap;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb::{
    RangeRequest,
    range_request::{SortOrder, SortTarget},
};
use mason_core::protocol::Office;
use mason_core::txn::{Compare, Op, Txn};
use mason_core::types::Revision;

use super::follow::{Feed, Follow};
use super::session::Session;
use super::value::end_of;
use super::watch::WatchEvent;
use super::{Change, KeyValue, Store, StoreError};

/// An election.
#[derive(Clone, Debug)]
pub struct Election {
    store: Store,
    prefix: String,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its office.
    pub office: Office,
    /// What it says of itself: where it is.
    pub name: Bytes,
}

impl Election {
    /// The election whose candidates' keys begin with this; etcd's clients call it by the same
    /// without the last `/`.
    pub fn new(store: Store, prefix: String) -> Election {
        Election { store, prefix }
    }

    /// Stands, and waits until it is won. The candidate's name is for the others to see.
    ///
    /// Whoever stops waiting is still a candidate, until its session ends or it withdraws.
    ///
    /// # Errors
    /// If the session is lost, or nobody answers. What may pass is waited for.
    pub async fn campaign(&self, session: &Session, name: &[u8]) -> Result<Office, StoreError> {
        let id = session.lease().id;
        let named = |error| Store::lease_error(id, error);
        tokio::select! {
            won = self.stand_and_wait(id, name) => won.map_err(named),
            lost = session.lost() => Err(lost),
        }
    }

    async fn stand_and_wait(&self, lease: i64, name: &[u8]) -> Result<Office, StoreError> {
        let office = self.stand(lease, name).await?;
        let mut pauses = self.store.calls.pauses();
        loop {
            match self.wait(&office).await {
                Err(error) if error.is_passing() => pauses.pause().await,
                // The lease has run out while it waited, and its own key is gone with it.
                Ok(false) => return Err(StoreError::LeaseGone(lease)),
                Ok(true) => return Ok(office),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until no older candidate is left; whether this one is.
    async fn wait(&self, office: &Office) -> Result<bool, StoreError> {
        while let Some((older, revision)) = self.next_older(office).await? {
            self.wait_until_gone(&older, revision).await?;
        }
        let own = self.store.get(&office.key).await?;
        Ok(own.is_some_and(|kv| kv.made == office.made))
    }

    /// Makes the key, or finds the one it has made: nobody else writes it, so it can be tried again
    /// until it is certain.
    async fn stand(&self, lease: i64, name: &[u8]) -> Result<Office, StoreError> {
        let key = self.key(lease);
        let put = Op::Put { key: key.clone(), value: name.to_vec(), lease: Some(lease) };
        let txn = Txn { when: vec![Compare::Absent(key.clone())], then: vec![put] };
        let mut pauses = self.store.calls.pauses();
        loop {
            match self.store.commit(&txn).await {
                Ok(done) if done.succeeded => return Ok(Office { key, made: done.revision }),
                Ok(_) => match self.store.get(&key).await? {
                    Some(kv) => return Ok(Office { key, made: kv.made }),
                    None => continue,
                },
                Err(error) if error.is_passing() => pauses.pause().await,
                Err(error) => return Err(error),
            }
        }
    }

    fn key(&self, lease: i64) -> String {
        format!("{}{lease:x}", self.prefix)
    }

    /// The youngest of those older, and the revision of the store that says so.
    async fn next_older(&self, office: &Office) -> Result<Option<(String, Revision)>, StoreError> {
        let mut found = self.ask(office.made - 1, SortOrder::Descend).await?;
        Ok(found.1.pop().map(|kv| (kv.key, found.0)))
    }

    async fn ask(
        &self,
        made_max: Revision,
        order: SortOrder,
    ) -> Result<(Revision, Vec<KeyValue>), StoreError> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(self.prefix.as_bytes()),
            range_end: end_of(&self.prefix),
            limit: 1,
            max_create_revision: made_max,
            sort_target: SortTarget::Create.into(),
            sort_order: order.into(),
            ..RangeRequest::default()
        };
        let (answer, chosen) = self.store.range(request).await?;
        let revision = self.store.calls.revision(answer.header.as_ref(), &chosen)?;
        Ok((revision, answer.kvs.into_iter().map(KeyValue::from).collect()))
    }

    async fn wait_until_gone(&self, key: &str, seen: Revision) -> Result<(), StoreError> {
        let mut watch = self.store.watch_key(key, seen + 1);
        loop {
            match watch.next().await? {
                WatchEvent::Batch(batch) => {
                    if batch.changes.iter().any(|change| matches!(change, Change::Delete { .. })) {
                        return Ok(());
                    }
                }
                // What happened to it is not told any more: look.
                WatchEvent::Compacted(_) => return Ok(()),
                WatchEvent::Progress(_) => {}
            }
        }
    }

    /// Gives an office up. The session lasts, and can stand again.
    ///
    /// # Errors
    /// If nobody does it.
    pub async fn resign(&self, office: &Office) -> Result<(), StoreError> {
        let txn = Txn::new().when(office.fence()).delete(office.key.clone());
        let mut pauses = self.store.calls.pauses();
        loop {
            // To do it twice is to do it once.
            match self.store.commit(&txn).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Unknown { .. }) => pauses.pause().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Stands back, whether won or not.
    ///
    /// # Errors
    /// If nobody does it.
    pub async fn withdraw(&self, session: &Session) -> Result<(), StoreError> {
        let key = self.key(session.lease().id);
        match self.store.get(&key).await? {
            Some(kv) => self.resign(&Office { key, made: kv.made }).await,
            None => Ok(()),
        }
    }

    /// Who leads now.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        let (_, mut found) = self.ask(0, SortOrder::Ascend).await?;
        Ok(found.pop().map(leader))
    }

    /// Who leads from now on.
    pub fn observe(&self) -> Observer {
        let follow = self.store.follow(&self.prefix);
        Observer { follow, candidates: BTreeMap::new(), told: None }
    }
}

fn leader(kv: KeyValue) -> Leader {
    Leader { office: Office { key: kv.key, made: kv.made }, name: kv.value }
}

/// Sees who leads.
#[derive(Debug)]
pub struct Observer {
    follow: Follow,
    /// By key.
    candidates: BTreeMap<String, KeyValue>,
    /// What was told last; nothing was told yet if there is none.
    told: Option<Option<Leader>>,
}

impl Observer {
    /// Who leads, as soon as it is another than before, or calls itself something else. It may be
    /// dropped while it waits, and loses nothing.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn next(&mut self) -> Result<Option<Leader>, StoreError> {
        loop {
            match self.follow.next().await? {
                Feed::Reset(_, all) => {
                    self.candidates = all.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
                }
                Feed::Batch(_, changes) => changes.into_iter().for_each(|change| match change {
                    Change::Put(kv) => drop(self.candidates.insert(kv.key.clone(), kv)),
                    Change::Delete { key, .. } => drop(self.candidates.remove(&key)),
                }),
            }
            let oldest = self.candidates.values().min_by_key(|kv| kv.made);
            let leads = oldest.cloned().map(leader);
            if self.told.as_ref() != Some(&leads) {
                self.told = Some(leads.clone());
                return Ok(leads);
            }
        }
    }
}
