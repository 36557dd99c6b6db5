//! The format from outside: what is written is read, and nothing else is.
//!
//! | room | asks |
//! |---|---|
//! | [`model`] | whether files hold what was put, whatever its sizes |
//! | [`damage`] | whether a file that is cut, flipped or made up is refused in words, and soon |
//!
//! Real bbolt is asked elsewhere: the tests of `drystone-etcd` have etcd's own programs read these
//! files, and read theirs.

mod damage;
mod model;
mod support;
