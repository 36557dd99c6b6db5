//! A table of what was found, kept in the repository and brought up to date row by row.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// Chooses those that the table does not know to be found.
const UNFOUND: &str = "unfound";

/// One line of it.
pub(crate) struct Row {
    name: String,
    text: String,
}

impl Row {
    /// The row of a mutant of this name, as it is written.
    pub(crate) fn of(name: &str, text: String) -> Row {
        Row { name: name.to_owned(), text }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All of it, by name.
pub(crate) struct Table {
    head: &'static str,
    rows: BTreeMap<String, String>,
}

impl Table {
    /// The table as it was written last, without rows if it was not. `head` is what stands above
    /// them.
    pub(crate) fn read(path: &Path, head: &'static str) -> Table {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let rows = lines.filter_map(|line| {
            let name = line.strip_prefix("| ")?.split(" |").next()?;
            Some((name.to_owned(), line.to_owned()))
        });
        Table { head, rows: rows.collect() }
    }

    /// Those whose names contain one of the texts in `filter`, or that were not found the last time
    /// if it is [`UNFOUND`]. Rows of mutants that are no more are forgotten.
    pub(crate) fn choose<'m, M>(
        &mut self,
        all: &'m [M],
        name: impl Fn(&M) -> &str,
        filter: &str,
    ) -> Vec<&'m M> {
        self.rows.retain(|row, _| all.iter().any(|mutant| name(mutant) == row));
        let is_meant = |mutant: &&M| match filter {
            UNFOUND => !self.has_found(name(mutant)),
            _ => filter.split(',').any(|part| name(mutant).contains(part)),
        };
        all.iter().filter(is_meant).collect()
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
        f.write_str(self.head)?;
        for text in self.rows.values() {
            writeln!(f, "{text}")?;
        }
        let missed = self.rows.keys().filter(|name| !self.has_found(name)).count();
        writeln!(f, "\n{} of {} found.", self.rows.len() - missed, self.rows.len())
    }
}
