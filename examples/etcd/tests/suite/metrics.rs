//! What the server tells of itself: `/metrics`, under etcd's names, with true numbers.
//!
//! | room | asks |
//! |---|---|
//! | [`page`] | (reads the text format, strictly) |
//! | [`table`] | which names there are, and why others are not |
//! | [`names`] | whether the page is the table, and the table real etcd's page |
//! | [`truth`] | whether the numbers follow what is done |
//!
//! What several members tell of each other is asked in `cluster/metrics.rs`.

pub(crate) mod page;

mod names;
mod table;
mod truth;
