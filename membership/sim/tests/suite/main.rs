//! The harness against a protocol of which everything is known, and ours in twenty scenarios.
//!
//! | scenario | what | where |
//! |---|---|---|
//! | 1, 2, 4, 17 | who is right about a member | `refutation.rs` |
//! | 3, 13 | many who go, and come and go | `leaving.rs` |
//! | 5, 6, 16, 19 | what was apart comes together | `partition.rs` |
//! | 7, 8, 9, 10, 15 | members that are half there | `faulty.rs` |
//! | 11 | keys that turn while some are cut off | `keys.rs` |
//! | 12 | more to say than a packet holds | `crowding.rs` |
//! | 14, 20 | packets of nobody's, or of an hour ago | `packets.rs`; anything at all: `fuzz.rs` |
//! | 18 | very many at once | `large.rs` |
//! | | who hears what a user says | `broadcasts.rs` |

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod broadcasts;
mod chaos;
mod crowding;
mod faulty;
mod forge;
mod fuzz;
mod keys;
mod lab;
mod large;
mod leaving;
mod lifeguard;
mod packets;
mod partition;
mod refutation;
mod scenarios;
mod toy;
mod watches;
