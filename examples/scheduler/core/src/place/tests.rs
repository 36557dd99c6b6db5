//! What placement promises, against an oracle that looks at everything each time.

mod explains;
mod oracle;
mod random;
mod rules;
mod worlds;
