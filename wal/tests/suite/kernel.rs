//! The log on a real kernel: processes that are killed, file systems that are full.
//!
//! The simulated disk decides everything about a crash, and may have the same wrong idea of a
//! kernel as the log. Here there is no simulation: [`kill`] ends real processes with `SIGKILL`
//! wherever they happen to be, [`full`] fills real file systems to the last byte, [`lock`] lets go
//! of logs while processes are being made. What a real kernel does is not repeatable, so these
//! tests repeat: four hundred deaths a run, more with `SLOW=1`.
//!
//! A killed process loses no page cache: this is about what the *process* leaves half done. Losing
//! the cache as well is the simulated disk's part.

mod full;
mod kill;
mod ledger;
mod life;
mod lock;
#[path = "../../../tests/kernel/volume.rs"]
mod volume;
