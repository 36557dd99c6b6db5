//! etcd's data model, done the dumb way, for stores to be compared with.
//!
//! ```
//! use drystone_kv::command::{Command, Put};
//! use drystone_kv_model::Model;
//!
//! let mut model = Model::new();
//! model.apply(&Command::Put(Put::new("k", "v"))).expect("nothing stands against it");
//! assert_eq!(model.revision, 2);
//! assert_eq!(model.present()[&b"k"[..]].version, 1);
//! ```

#![forbid(unsafe_code)]

mod model;

pub use model::{Fact, Model, Moment, Users, World, allowed, is_inside};
