//! Random damage to manifests that are right: whatever becomes of them, it is said.
//!
//! One command replays a seed: `SEED=n cargo test -p mason-core --test suite manifest::mutate`.

use drystone_sim::{Rng, Seeds};
use mason_core::manifest::{Options, read};

use super::{GOOD, check_show};

/// What is put into texts: letters that mean something, and words that are nearly right.
const PIECES: [&str; 40] = [
    "",
    " ",
    "  ",
    "\n",
    "\t",
    ":",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!x ",
    "<<: ",
    "|\n",
    ">\n",
    "---\n",
    "...\n",
    "%",
    "~",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    ".nan",
    "99999999999999999999999",
    "\0",
    "\u{feff}",
    "é",
    "{{",
    "}}",
    "..",
    "/",
    "x1",
];

fn damage(text: &str, rng: &mut Rng) -> String {
    let mut text = text.to_owned();
    for _ in 0..rng.range(1..6) {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        if places.is_empty() {
            break;
        }
        let at = *rng.pick(&places);
        match rng.below(5) {
            0 => text.insert_str(at, rng.pick::<&str>(&PIECES)),
            1 => {
                text.remove(at);
            }
            2 => {
                let end = *rng.pick(&places);
                let piece = text[at.min(end)..at.max(end)].to_owned();
                let short: String = piece.chars().take(200).collect();
                text.insert_str(at, &short);
            }
            3 => {
                let end = at + text[at..].chars().take(20).map(char::len_utf8).sum::<usize>();
                text.replace_range(at..end, rng.pick::<&str>(&PIECES));
            }
            _ => swap_lines(&mut text, rng),
        }
    }
    text
}

fn swap_lines(text: &mut String, rng: &mut Rng) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let count = lines.len() as u64;
    let (a, b) = (rng.below(count.max(1)), rng.below(count.max(1)));
    if count > 0 {
        lines.swap(usize::try_from(a).unwrap(), usize::try_from(b).unwrap());
    }
    *text = lines.join("\n");
}

/// No text of a user may end a server, and none may be refused without a place and a reason. What
/// is accepted must survive being printed.
#[test]
fn damaged_manifests_are_read_or_refused_with_a_place() {
    Seeds::new("cargo test -p mason-core --test suite manifest::mutate", 3000).run(|seed| {
        let mut rng = seed.rng("manifest");
        let (name, text) = rng.pick(&GOOD);
        let text = damage(text, &mut rng);
        let lenient = rng.below(2) == 0;
        match read(&text, &Options { lenient }) {
            Ok(objects) => objects.iter().for_each(check_show),
            Err(problems) => {
                assert!(!problems.list.is_empty(), "{name}: nothing is said\n{text}");
                for problem in &problems.list {
                    assert!(problem.document > 0 && !problem.message.is_empty(), "{problem}");
                    let whole = problem.path.is_empty();
                    assert!(!whole || problem.message.len() > 10, "{name}: {problem}");
                    assert!(!problem.to_string().contains("canary"), "a secret is told: {problem}");
                }
            }
        }
    });
}
