//! What every disk promises, and what the hostile one does on top.

mod conformance;
