#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod oracle;
mod support;

mod basics;
mod enumerate;
