//! Standard output: where nobody reads any more (`mason get | head`), there is nothing to say.

use std::io::{self, Write as _};

/// What a shell shows of a program that a broken pipe ended.
const PIPE: i32 = 141;

/// Prints this and the end of a line.
pub(super) fn line(text: &str) {
    raw(format!("{text}\n").as_bytes());
}

/// Prints this as it is.
pub(super) fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    ended(&out.write_all(bytes).and_then(|()| out.flush()));
}

/// Prints this as it is, as an error.
pub(super) fn raw_error(bytes: &[u8]) {
    let mut out = io::stderr().lock();
    ended(&out.write_all(bytes).and_then(|()| out.flush()));
}

fn ended(written: &io::Result<()>) {
    if written.is_err() {
        std::process::exit(PIPE);
    }
}
