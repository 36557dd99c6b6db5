//! Who makes figures of what members say.
//!
//! | watch | question |
//! |---|---|
//! | [`Spread`] | who was the first to know, who the last? |
//! | [`Falsehood`] | how often was a member called dead that was alive? |
//! | [`Victims`] | how many members were those? |
//! | [`Flaps`] | how often does one member say something new of another? |
//! | [`Sizes`] | how many different sizes of the cluster were believed in? |
//! | [`Convergence`] | when was everybody right? |

mod convergence;
mod falsehood;
mod flaps;
mod sizes;
mod spread;
mod victims;

pub use convergence::Convergence;
pub use falsehood::Falsehood;
pub use flaps::Flaps;
pub use sizes::Sizes;
pub use spread::Spread;
pub use victims::Victims;

use crate::truth::{Sighting, Truth};

/// Is told every sighting of a run, in order, and how things really were then.
pub trait Watch {
    /// A member has said something of another.
    fn saw(&mut self, truth: &Truth, sighting: &Sighting);
}
