#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod forge;
mod oracle;
mod support;
mod tear;
mod witness;

mod basics;
mod damage;
mod enumerate;
mod hostile;
mod kernel;
mod leaks;
mod lies;
mod locks;
mod matrix;
mod memory;
mod model;
mod open;
mod outside;
mod reuse;
mod space;
mod syncs;
mod torn;
