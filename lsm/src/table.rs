//! A sorted file of entries that is written once and never changed.

mod builder;
mod cursor;
mod meta;
mod reader;

pub use builder::{TableBuilder, TableOptions};
pub use cursor::TableCursor;
pub use meta::{TableId, TableMeta, Upper};
pub use reader::{Fill, Found, Table};
