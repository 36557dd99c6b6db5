//! The checker against every order that there is, on small random histories.
//!
//! To replay one: `SEED=n cargo test -p drystone-sim --lib linear`; `SLOW=1` runs a hundred times
//! as many.

use super::*;
