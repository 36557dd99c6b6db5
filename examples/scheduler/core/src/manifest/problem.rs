//! What is wrong with a manifest: all of it, each with its place.
//!
//! A reader that stops at the first mistake makes a user fix ten in ten rounds. So nothing here
//! stops: whoever finds a mistake notes it and goes on with whatever comes next.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// So many problems are kept; the others are counted.
pub const PROBLEMS_MAX: usize = 1000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In which document: 1-based.
    pub document: usize,
    /// In which line of the text: 1-based; 0 if nobody knows.
    pub line: u32,
    /// Of which field: `spec.template.spec.containers[0].lifecycle`. Empty is the whole document.
    pub path: String,
    /// What would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}", self.document)?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All that is wrong with a text. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// In the order of the documents; [`PROBLEMS_MAX`] at most.
    pub list: Vec<Problem>,
    /// So many more there were.
    pub more: usize,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.list.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Where mistakes are noted.
pub(super) struct Report {
    lenient: bool,
    document: Cell<usize>,
    problems: RefCell<Vec<Problem>>,
    more: Cell<usize>,
    warnings: RefCell<Vec<String>>,
}

impl Report {
    pub(super) fn new(lenient: bool) -> Report {
        Report {
            lenient,
            document: Cell::new(1),
            problems: RefCell::default(),
            more: Cell::new(0),
            warnings: RefCell::default(),
        }
    }

    /// What follows is about this document.
    pub(super) fn enter(&self, document: usize) {
        self.document.set(document);
        self.warnings.borrow_mut().clear();
    }

    /// It is wrong.
    pub(super) fn bad(&self, line: u32, path: &Path, message: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() >= PROBLEMS_MAX {
            self.more.set(self.more.get() + 1);
            return;
        }
        let (document, path) = (self.document.get(), path.to_string());
        problems.push(Problem { document, line, path, message: message.into() });
    }

    /// It may be right, but not here: wrong, unless the user would rather go without.
    pub(super) fn unsupported(&self, line: u32, path: &Path, message: impl Into<String>) {
        match self.lenient {
            true => self.warn(path, format!("ignored: {}", message.into())),
            false => self.bad(line, path, message),
        }
    }

    /// It is right, and not what one may think.
    pub(super) fn warn(&self, path: &Path, message: impl fmt::Display) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < PROBLEMS_MAX {
            warnings.push(format!("{path}: {message}"));
        }
    }

    /// What was warned of since the last time.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.borrow_mut())
    }

    /// Whether what is noted now is only counted.
    pub(super) fn is_full(&self) -> bool {
        self.problems.borrow().len() >= PROBLEMS_MAX || self.warnings.borrow().len() >= PROBLEMS_MAX
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.problems.borrow().len() + self.more.get()
    }

    /// What was noted, if anything.
    pub(super) fn finish(self) -> Result<(), Problems> {
        let mut list = self.problems.into_inner();
        // Checks over a whole come after those of its parts: back into reading order.
        list.sort_by_key(|problem| (problem.document, problem.line));
        match list.is_empty() {
            true => Ok(()),
            false => Err(Problems { list, more: self.more.get() }),
        }
    }
}

/// The way from a document to a field.
#[derive(Clone, Default)]
pub(super) struct Path(Option<Rc<Step>>);

struct Step {
    parent: Path,
    place: Place,
}

enum Place {
    Key(Box<str>),
    Index(usize),
}

/// A key is shown so far: it is the user's and may be a megabyte.
const KEY_CHARS_MAX: usize = 80;

impl Path {
    pub(super) fn key(&self, key: &str) -> Path {
        let place = Place::Key(key.chars().take(KEY_CHARS_MAX + 1).collect());
        Path(Some(Rc::new(Step { parent: self.clone(), place })))
    }

    pub(super) fn index(&self, index: usize) -> Path {
        Path(Some(Rc::new(Step { parent: self.clone(), place: Place::Index(index) })))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.0 else { return Ok(()) };
        step.parent.fmt(f)?;
        let key = match &step.place {
            Place::Index(index) => return write!(f, "[{index}]"),
            Place::Key(key) => key,
        };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if key.is_empty() || !key.chars().all(plain) || key.chars().count() > KEY_CHARS_MAX {
            return write!(f, "[{}]", shown(key));
        }
        if step.parent.0.is_some() {
            f.write_str(".")?;
        }
        f.write_str(key)
    }
}

/// A user's text inside a message: in quotes, control characters escaped, cut if it is long.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(KEY_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The one of `known` that somebody may have meant by `word`.
pub(super) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Both bound what a text of nothing but mistakes costs.
    const CHARS_MAX: usize = 30;
    const KNOWN_MAX: usize = 100;
    if word.chars().count() > CHARS_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let near = |&one: &&str| {
        let distance = distance(&lower, &one.to_lowercase());
        // One letter is not like another, nor two like two others.
        let alike = distance * 2 < word.chars().count().max(one.chars().count());
        (alike && distance <= 1.max(one.chars().count() / 3).min(3)).then_some(distance)
    };
    known
        .into_iter()
        .take(KNOWN_MAX)
        .filter(|&one| one != word && one.chars().count() <= CHARS_MAX)
        .filter_map(|one| near(&one).map(|distance| (distance, one)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}

/// How many letters must be put in, left out, replaced or swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong guess is worse than none: it sends people the wrong way.
    #[test]
    fn near_words_are_guessed_and_far_ones_are_not() {
        let known = ["image", "command", "replicas", "env", "envFrom", "at"];
        assert_eq!(meant("imgae", known), Some("image"));
        assert_eq!(meant("Image", known), Some("image"));
        assert_eq!(meant("comand", known), Some("command"));
        assert_eq!(meant("envfrom", known), Some("envFrom"));
        assert_eq!(meant("replica", known), Some("replicas"));
        for far in ["lifecycle", "x", "queue", "w", &"image".repeat(100)] {
            assert_eq!(meant(far, known), None, "{far}");
        }
    }

    /// A path is typed back into an editor's search: it must look as people write it.
    #[test]
    fn paths_look_as_people_write_them() {
        let path = Path::default().key("spec").key("containers").index(0).key("a.b/c").key("x");
        assert_eq!(path.to_string(), "spec.containers[0][\"a.b/c\"].x");
        let long = Path::default().key(&"k".repeat(1 << 20)).to_string();
        assert!(long.len() < 100, "{} bytes", long.len());
    }
}
