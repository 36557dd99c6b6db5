//! Suites over the repository itself: rules that no single crate can check about itself.
//!
//! Read [`layers`] for who may know whom, [`tidy`] for how a file must look, [`supply`] for what
//! may enter the dependency tree, [`faults`] for which test stands for which fault, and [`traps`]
//! for which one stands in which of etcd's traps. Each rule is a plain function from text to
//! complaints, is run over the repository by one test, and is shown a bad sample by another, so
//! that it can fail.

mod faults;
mod layers;
mod supply;
mod tidy;
mod traps;

use std::path::{Path, PathBuf};

/// The root of the repository: the folder above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the suites lie one folder below the root").to_owned()
}

/// Fails with one complaint a line, if there is any.
#[track_caller]
fn expect_none(rule: &str, complaints: &[String]) {
    let list = complaints.join("\n  ");
    assert!(complaints.is_empty(), "{rule}: {} complaints\n  {list}", complaints.len());
}
