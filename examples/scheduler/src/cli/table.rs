//! Tables for terminals: columns as wide as what is in them, nothing in them that acts.

use super::text::plain;

/// Longest cell, in letters; only the last column may be longer.
const CELL_MAX: usize = 60;

/// A table that is filled row by row.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these heads.
    pub(super) fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    /// With a further row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.rows[0].len(), "a row has a cell for each head");
        self.rows.push(cells.iter().map(|cell| plain(cell).into_owned()).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// As lines; without the heads if they were printed before.
    pub(super) fn text(&self, with_heads: bool) -> String {
        let count = self.rows[0].len();
        let width = |at: usize| {
            let widths = self.rows.iter().map(|row| row[at].chars().count());
            widths.max().unwrap_or(0).min(CELL_MAX)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        let mut out = String::new();
        for row in self.rows.iter().skip(usize::from(!with_heads)) {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                if at + 1 == count {
                    line.push_str(cell);
                    continue;
                }
                let cell = cut(cell);
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', widths[at] - cell.chars().count() + 2));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn cut(cell: &str) -> String {
    match cell.chars().count() {
        ..=CELL_MAX => cell.to_owned(),
        _ => cell.chars().take(CELL_MAX - 1).chain(['…']).collect(),
    }
}

/// How long ago, as people say it: one unit, or two of the small ones.
pub(super) fn ago(then: u64, now: u64) -> String {
    let seconds = now.saturating_sub(then) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{}m{}s", seconds / 60, seconds % 60),
        600..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns are read by eyes and by awk: what is in a cell must not move its neighbours.
    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["NAME", "X", "MESSAGE"]);
        table.row(["a\x1b[1m".into(), "1".into(), "m".into()]);
        table.row(["y".repeat(70), String::new(), String::new()]);
        let text = table.text(true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].find('X'), Some(CELL_MAX + 2));
        assert_eq!(lines[1].find("1  "), Some(3), "{text}");
        assert!(!text.contains('\x1b') && lines[2].ends_with('…'), "{text}");
        assert_eq!(table.text(false).lines().count(), 2);
    }

    /// An age is for a glance.
    #[test]
    fn ages_are_short() {
        for (seconds, expected) in
            [(0, "0s"), (119, "119s"), (150, "2m30s"), (3600, "60m"), (7200, "2h"), (200_000, "2d")]
        {
            assert_eq!(ago(1000, 1000 + seconds * 1000), expected);
        }
        assert_eq!(ago(5000, 1000), "0s", "clocks differ");
    }
}
