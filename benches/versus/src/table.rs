//! Rows to a table that people and Markdown can read alike.

/// Aligns `rows` below `heads`: the first column to the left, figures to the right.
///
/// # Panics
/// If a row has another number of cells than the head.
#[must_use]
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        assert!(row.len() == heads.len(), "a row fills its columns");
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let pad = |(i, (cell, width)): (usize, (&str, &usize))| {
        if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    let mut text = line(heads.iter().copied().zip(&widths).enumerate().map(pad).collect());
    let rule = |(i, width): (usize, &usize)| {
        if i == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
    };
    text += &line(widths.iter().enumerate().map(rule).collect());
    for row in rows {
        let cells = row.iter().map(String::as_str).zip(&widths);
        text += &line(cells.enumerate().map(pad).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables are pasted into a README as they are.
    #[test]
    fn columns_line_up() {
        let rows =
            [vec!["ours".to_owned(), "7".to_owned()], vec!["x".to_owned(), "1234".to_owned()]];
        let text = table(&["who", "n"], &rows);
        assert_eq!(text, "| who  |    n |\n| ---- | ---: |\n| ours |    7 |\n| x    | 1234 |\n");
    }
}
