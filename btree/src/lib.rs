//! A copy-on-write B+tree in one file.

mod types;

mod error;
mod slice;

mod page;
mod pages;

mod draft;
mod forest;

pub use draft::Savepoint;
pub use error::{Damage, Error, Result};
pub use forest::TREES_MAX;
pub use slice::Slice;
pub use types::{PageId, TreeId, TxnId};
