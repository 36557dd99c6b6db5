//! Builds the small static programs that this crate carries inside itself.

#[path = "build/nested.rs"]
mod nested;

/// Package and binary; the bytes are at `OUT_DIR/<binary>`.
const PROGRAMS: [(&str, &str); 3] =
    [("mason-shim", "mason-shim"), ("mason-shim", "mason-init"), ("mason-tiny", "tiny")];

fn main() {
    nested::build(&PROGRAMS);
}
