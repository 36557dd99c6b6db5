//! Tables for people: columns as wide as what is in them.

use super::text::plain;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these words above its columns.
    pub(super) fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row; what a terminal would obey is taken out of it.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let cells = cells.into_iter().map(|cell| plain(cell.as_ref()).into_owned());
        self.rows.push(cells.collect());
    }

    /// Whether there is nothing but heads.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// All lines, or those below the heads.
    pub(super) fn text(&self, with_heads: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let wide = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |it| it.chars().count());
        let widths: Vec<usize> = (0..columns)
            .map(|at| self.rows.iter().map(|row| wide(row, at)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in self.rows.iter().skip(usize::from(!with_heads)) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                let pad = width + 3 - cell.chars().count();
                line.extend(std::iter::repeat_n(' ', pad));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns are read down: they must stand below each other, whatever is in them.
    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.row(["a", "Active"]);
        table.row(["äöü-long", "\x1b[1m"]);
        let expected = "NAME       PHASE\na          Active\näöü-long   \\u{1b}[1m\n";
        assert_eq!(table.text(true), expected);
    }
}
