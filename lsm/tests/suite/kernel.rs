//! The database on a real kernel: processes that are killed, file systems that are full.
//!
//! The simulated disk decides everything about a crash, and may have the same wrong idea of a
//! kernel as the database. Here there is no simulation: [`kill`] ends real processes with `SIGKILL`
//! wherever they happen to be, with flushes and compactions under way on threads of their own;
//! [`full`] fills real file systems to the last byte. What a real kernel does is not repeatable, so
//! these tests repeat; more often with `SLOW=1`.

mod full;
mod kill;
#[path = "../../../tests/kernel/volume.rs"]
mod volume;
