#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod forge;
mod oracle;
mod support;
mod tear;
mod witness;

mod basics;
mod damage;
mod enumerate;
mod open;
mod syncs;
mod torn;
