//! The questions: one file each, every one asked with a setup and a seed.
//!
//! | module | question |
//! |---|---|
//! | [`steady`](mod@steady) | what does it cost to be told nothing? |
//! | [`spread`](mod@spread) | how long until everybody knows what one member says? |
//! | [`crash`](mod@crash) | how long until everybody knows that one has died? |
//! | [`loss`](mod@loss) | how many are called dead because a network loses datagrams? |
//! | [`anomaly`](mod@anomaly) | how many because others are slow? |
//! | [`rapid`] | what becomes of members that are half reachable? |
//! | [`chaos`](mod@chaos) | does it come to itself after everything has gone wrong? |
//! | [`bootstrap`](mod@bootstrap) | how does a large cluster come into being? |
//! | [`story`](mod@story) | what does it look like? |
//! | [`speed`](mod@speed) | how much work is it to find out? |
//!
//! All but `bootstrap` begin warm: everybody knows everybody, and has had ten seconds to settle.

pub mod anomaly;
pub mod bootstrap;
pub mod chaos;
pub mod crash;
pub mod loss;
pub mod rapid;
pub mod speed;
pub mod spread;
pub mod steady;
pub mod story;
