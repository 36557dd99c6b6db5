//! The store, as mason uses it: any etcd v3, real etcd or ours.
//!
//! # Problem
//! etcd's calls are easy while nothing fails. Members are killed, leaders change, connections break
//! half-way, histories are compacted; and each call then leaves another question open. Was the
//! transaction done? What happened between the list and the watch, and while no watch stood? Until
//! when does my lease last, if I only know when I asked?
//!
//! # Idea
//! Answer each of these once, here, so that the rest of mason deals with values:
//!
//! ```text
//!   Store ── commit(Txn) ──► Committed { succeeded, revision }, or an error that says whether it
//!     │                      can have been done ([`StoreError::Unknown`])
//!     ├──── read_all ──────► everything under a prefix, at one revision
//!     ├──── watch ─────────► every change from a revision on: no gap, no repeat, over reconnects
//!     ├──── follow ────────► list, then watch, then list again if history was compacted away
//!     ├──── Session ───────► a lease kept alive, and *when* each granted renewal was asked for
//!     └──── Election ──────► an [`Office`](mason_core::protocol::Office), as etcdctl would win it
//! ```
//!
//! ```
//! # use drystone_etcd::embed::{Member, Options};
//! # use mason::store::{Feed, Store};
//! # use mason_core::{keys::Keys, txn::{Compare, Txn}};
//! # let folder = tempfile::tempdir()?;
//! let member = Member::start(&Options::new(folder.path()))?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let store = Store::connect(&[member.client_url().to_owned()], Keys::default()).await?;
//! let mut follow = store.follow("/mason/");
//! assert!(matches!(follow.next().await?, Feed::Reset(_, all) if all.is_empty()));
//!
//! let once = Txn::new().when(Compare::Absent("/mason/a".into())).put("/mason/a".into(), vec![1]);
//! let first = store.commit(&once).await?;
//! assert!(first.succeeded && !store.commit(&once).await?.succeeded);
//! assert!(matches!(follow.next().await?, Feed::Batch(at, _) if at == first.revision));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Several endpoints
//! One is used until it fails, then the next. A call that may be made twice is made again, until
//! [`Settings::patience`] is over; between rounds it pauses, longer each time, with a random part
//! so that a thousand agents do not come back as one. A transaction is made again only if it is
//! certain that it was not done.
//!
//! # Bounds
//! Each queue has a named limit in [`Settings`]; who does not read slows the server down, by the
//! flow control of the connection, and nothing gathers here.
//!
//! # Omissions
//! No TLS, no users. A store that was restored from a backup under its old cluster id looks like
//! one whose revisions stand still.

mod answer;
mod calls;
mod clock;
mod commit;
mod election;
mod error;
mod follow;
mod joiner;
mod lease;
mod read;
mod session;
mod settings;
mod value;
mod watch;

pub use clock::now;
pub use commit::Committed;
pub use election::{Election, Leader, Observer};
pub use error::StoreError;
pub use follow::{Feed, Follow};
pub use lease::Lease;
pub use session::{Pulse, Session};
pub use settings::Settings;
pub use value::{Batch, Change, KeyValue};
pub use watch::{Watch, WatchEvent};

use std::sync::Arc;

use mason_core::keys::Keys;

use calls::Calls;

/// A store. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    calls: Arc<Calls>,
    keys: Arc<Keys>,
}

impl Store {
    /// Connects to the store at these endpoints (`http://host:port`), members of one cluster.
    ///
    /// # Errors
    /// If an endpoint is no URL, or none of them answers within [`Settings::patience`].
    pub async fn connect(endpoints: &[String], keys: Keys) -> Result<Store, StoreError> {
        Store::connect_with(endpoints, keys, Settings::default()).await
    }

    /// As [`Store::connect`], with other limits.
    ///
    /// # Errors
    /// The same.
    pub async fn connect_with(
        endpoints: &[String],
        keys: Keys,
        settings: Settings,
    ) -> Result<Store, StoreError> {
        let calls = Arc::new(Calls::new(endpoints, settings)?);
        let store = Store { calls, keys: Arc::new(keys) };
        // Somebody must answer, and say which cluster this is.
        store.get(store.keys.prefix()).await?;
        Ok(store)
    }

    /// Where in the store things are.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The endpoint in use: the last that has not failed.
    pub fn endpoint(&self) -> String {
        self.calls.choose().url
    }

    /// Its limits.
    pub fn settings(&self) -> &Settings {
        self.calls.settings()
    }

    /// The election of the leader.
    pub fn election(&self) -> Election {
        Election::new(self.clone(), self.keys.candidates())
    }
}
