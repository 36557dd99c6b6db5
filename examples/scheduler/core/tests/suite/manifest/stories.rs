//! What becomes of a text: objects, or everything that is wrong with it.
//!
//! `read FILE` reads a manifest of `tests/manifests`, `text` the lines below it, `show FILE` prints
//! a manifest as mason would. Whatever is read is printed and read again besides.
//!
//! `UPDATE=1 cargo test -p mason-core --test suite manifest` writes anew what they print.

use drystone_sim::script::{self, Command};
use mason_core::manifest::{Options, read, show};

use super::{GOOD, check_show, told};

const REFUSED: [(&str, &str); 1] =
    [("model-serving-hpa.yaml", include_str!("../../manifests/model-serving-hpa.yaml"))];

fn named(command: &Command) -> &'static str {
    let name = command.word(0);
    let found = GOOD.iter().chain(&REFUSED).find(|(known, _)| *known == name);
    found.unwrap_or_else(|| command.refuse("no such manifest")).1
}

fn play(command: &Command) -> String {
    let lenient = command.has("lenient");
    let text = match command.name() {
        "read" | "show" => named(command).to_owned(),
        "text" => command.input().join("\n"),
        _ => command.refuse("no such command"),
    };
    let options = Options { lenient };
    let objects = match read(&text, &options) {
        Ok(objects) => objects,
        Err(problems) => return problems.to_string(),
    };
    objects.iter().for_each(|object| check_show(object, &options));
    match command.name() {
        "show" => objects.iter().map(show).collect::<Vec<_>>().join("---\n"),
        _ => objects.iter().map(told).collect(),
    }
}

/// Each story says by itself why it matters.
#[test]
fn manifests_become_what_their_stories_say() {
    script::folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/manifest"), || play);
}
