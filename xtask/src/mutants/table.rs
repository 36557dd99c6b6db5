//! The table of what the simulator found, kept in the repository and brought up to date row by row.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use super::Find;
use super::mutant::Mutant;

const HEAD: &str = "\
# The teeth of the simulator

Written by `cargo xtask mutants`: bugs that were put in on purpose, and what it took to
find them. Seconds are of one processor, without building; steps are of cores.

| mutant | scenario | what is wrong | seconds | steps | what was seen |
|---|---|---|---|---|---|
";

/// One line of it.
pub(crate) struct Row {
    name: String,
    text: String,
}

impl Row {
    /// What became of a mutant that was hunted for so many seconds.
    pub(crate) fn new(mutant: &Mutant, find: Option<&Find>, seconds: u64) -> Row {
        let Mutant { name, scenario, story, .. } = mutant;
        let end = match find {
            Some(Find { time, steps, seen }) => {
                format!("{:.1} | {steps} | {seen}", time.as_secs_f64())
            }
            None => format!("not in {seconds} | | "),
        };
        Row { name: name.clone(), text: format!("| {name} | {scenario} | {story} | {end} |") }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All of it, by name.
pub(crate) struct Table {
    rows: BTreeMap<String, String>,
}

impl Table {
    /// The table as it was written last; empty if it was not.
    pub(crate) fn read(path: &Path) -> Table {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let rows = lines.filter_map(|line| {
            let name = line.strip_prefix("| ")?.split(" |").next()?;
            Some((name.to_owned(), line.to_owned()))
        });
        Table { rows: rows.collect() }
    }

    /// Forgets rows of mutants that are no more.
    pub(crate) fn keep(&mut self, known: impl Fn(&str) -> bool) {
        self.rows.retain(|name, _| known(name));
    }

    /// Whether the mutant of this name was found when it was last hunted.
    pub(crate) fn has_found(&self, name: &str) -> bool {
        self.rows.get(name).is_some_and(|row| !row.contains("| not in "))
    }

    /// Puts in a row, in place of the one of that name.
    pub(crate) fn set(&mut self, row: Row) {
        self.rows.insert(row.name, row.text);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        for text in self.rows.values() {
            writeln!(f, "{text}")?;
        }
        let missed = self.rows.keys().filter(|name| !self.has_found(name)).count();
        writeln!(f, "\n{} of {} found.", self.rows.len() - missed, self.rows.len())
    }
}
