#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod forge;
mod oracle;
mod support;
mod witness;

mod basics;
mod damage;
mod enumerate;
mod memory;
mod space;
