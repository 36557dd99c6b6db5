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
        match rng.below(9) {
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
            4 => swap_lines(&mut text, rng),
            // Most damage ends at the first brackets; this reaches the readers behind them.
            _ => swap_word(&mut text, rng),
        }
    }
    text
}

fn swap_lines(text: &mut String, rng: &mut Rng) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let places: Vec<usize> = (0..lines.len()).collect();
    if !places.is_empty() {
        lines.swap(*rng.pick(&places), *rng.pick(&places));
    }
    *text = lines.join("\n");
}

/// Puts a word into the place of another: one of the text's own, or a piece.
fn swap_word(text: &mut String, rng: &mut Rng) {
    let inner = |letter: char| letter.is_alphanumeric() || "-_./{}".contains(letter);
    let mut words: Vec<(usize, &str)> = Vec::new();
    for word in text.split(|letter| !inner(letter)).filter(|word| !word.is_empty()) {
        words.push((word.as_ptr() as usize - text.as_ptr() as usize, word));
    }
    if words.is_empty() {
        return;
    }
    let (at, old) = *rng.pick(&words);
    let new = match rng.below(3) {
        0 => (*rng.pick::<&str>(&PIECES)).to_owned(),
        _ => rng.pick(&words).1.to_owned(),
    };
    let end = at + old.len();
    text.replace_range(at..end, &new);
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
        let options = Options { lenient };
        match read(&text, &options) {
            Ok(objects) => objects.iter().for_each(|object| check_show(object, &options)),
            Err(problems) => {
                assert!(!problems.list.is_empty(), "{name}: nothing is said\n{text}");
                for problem in &problems.list {
                    assert!(problem.document > 0 && !problem.message.is_empty(), "{problem}");
                    let whole = problem.path.is_empty();
                    assert!(!whole || problem.message.len() > 10, "{name}: {problem}");
                }
            }
        }
    });
}
