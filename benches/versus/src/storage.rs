//! Storage engines side by side.
//!
//! ```text
//!   parent ──┬── child "rocksdb"   its own process: its CPU, memory and writes are its own
//!            ├── child "lmdb"
//!            ├── child "btree"     all have the same work to do, phase by phase;
//!            └── ...               one works at a time, in an order shuffled for every phase
//! ```
//!
//! What is read is checked: a store that loses a key, or answers with another's value, ends the
//! comparison.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | what a store must do, and the contenders, each with its settings |
//! | [`data`], [`zipf`], [`model`] | keys and values, which are asked for, what must be there |
//! | [`phase`], [`bench`] | the work, and what it cost |
//! | [`child`] | a contender in a process of its own |
//! | [`process`] | bytes written, bytes of disk, quiet |

pub mod bench;
pub mod child;
pub mod data;
pub mod model;
pub mod phase;
pub mod process;
pub mod store;
pub mod zipf;
