//! The rules over one Rust file.

use super::File;

const LINES_MAX: usize = 800;
const COLUMNS_MAX: usize = 100;

// The needles are put together here so that this file does not find itself.
const UNFINISHED: [&str; 3] =
    [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore")];
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
const ALLOWS: [&str; 2] = [concat!("#[al", "low("), concat!("#![al", "low(")];

/// Everything wrong with `file`.
pub(super) fn complaints(file: &File) -> Vec<String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    if !file.text.starts_with("//! ") {
        found.push((1, "a file starts with a module doc, `//! What this is.`".to_owned()));
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        found.push((lines, format!("{lines} lines, more than {LINES_MAX}; split it by nouns")));
    }
    for (i, line) in file.text.lines().enumerate() {
        found.extend(line_complaints(line).into_iter().map(|what| (i + 1, what)));
    }
    found.extend(bare_allows(&file.text));
    let path = file.path.display();
    found.into_iter().map(|(line, what)| format!("{path}:{line}: {what}")).collect()
}

fn line_complaints(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let columns = line.chars().count();
    if columns > COLUMNS_MAX {
        found.push(format!("{columns} columns, more than {COLUMNS_MAX}"));
    }
    for needle in UNFINISHED {
        if line.contains(needle) {
            found.push(format!("`{needle}`: unfinished work is not called done"));
        }
    }
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    if let Some(note) = words.find(|word| NOTES.contains(word)) {
        found.push(format!("`{note}`: do it, or write down where everyone looks for it"));
    }
    found
}

/// Attributes that silence a lint without saying why, by line.
fn bare_allows(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for needle in ALLOWS {
        for (at, _) in text.match_indices(needle) {
            let rest = &text[at..];
            let attribute = rest.find(")]").map_or(rest, |end| &rest[..end]);
            if !attribute.contains("reason") {
                let line = text[..at].matches('\n').count() + 1;
                found.push((line, "a lint is silenced by #[expect(.., reason = ..)]".to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<String> {
        complaints(&File { path: "a.rs".into(), text: text.to_owned() })
    }

    #[track_caller]
    fn refused(text: &str, line: usize, word: &str) {
        let found = check(text);
        let prefix = format!("a.rs:{line}: ");
        let hit = found.iter().any(|c| c.starts_with(&prefix) && c.contains(word));
        assert!(hit, "no complaint on line {line} about {word}: {found:?}");
    }

    /// The rules must let ordinary code through.
    #[test]
    fn tidy_file_passes() {
        let attribute = format!("{}dead_code, reason = \"why\")]", ALLOWS[0]);
        let text = format!("//! A noun.\n\n{attribute}\nfn f() {{}}\n// 0xXXXX and todos\n");
        assert!(check(&text).is_empty(), "{:?}", check(&text));
    }

    /// A file that does not say what it is teaches nobody.
    #[test]
    fn file_without_module_doc_is_refused() {
        refused("fn f() {}\n", 1, "module doc");
        refused("// Not a doc.\n//! Too late.\n", 1, "module doc");
    }

    /// Long files are where every model codebase goes wrong.
    #[test]
    fn long_file_is_refused() {
        let at_limit = "//! A noun.\n".to_owned() + &"\n".repeat(LINES_MAX - 1);
        assert!(check(&at_limit).is_empty());
        refused(&(at_limit + "\n"), LINES_MAX + 1, "801 lines");
    }

    /// rustfmt leaves long strings and comments alone, so it does not find these.
    #[test]
    fn long_line_is_refused() {
        let at_limit = format!("//! A.\n// {}\n", "é".repeat(COLUMNS_MAX - 3));
        assert!(check(&at_limit).is_empty());
        refused(&format!("//! A.\n// {}\n", "é".repeat(COLUMNS_MAX - 2)), 2, "101 columns");
    }

    /// Unfinished work and notes to oneself do not belong in a finished file.
    #[test]
    fn unfinished_work_is_refused() {
        for needle in UNFINISHED {
            refused(&format!("//! A.\n\n    {needle}\"later\")\n"), 3, needle);
        }
        for note in NOTES {
            refused(&format!("//! A.\n// {note}: later\n"), 2, note);
        }
    }

    /// A silenced lint without a reason cannot be judged by the next reader.
    #[test]
    fn bare_allow_is_refused() {
        for needle in ALLOWS {
            refused(&format!("//! A.\n{needle}dead_code)]\nfn f() {{}}\n"), 2, "silenced");
            refused(&format!("//! A.\n{needle}\n    dead_code\n)]\n// reason\n"), 2, "silenced");
        }
    }
}
