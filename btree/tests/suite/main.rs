#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod support;

mod basics;
