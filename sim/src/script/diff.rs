//! The difference between what is written and what was printed, line by line.

use std::fmt;

/// Beyond this many pairs of lines both texts are shown whole.
const PAIRS_MAX: usize = 1 << 22;

/// A difference, shown as `line: prints something else` and the lines below.
#[derive(Debug)]
pub(super) struct Diff<'a> {
    /// The line of the file with the first difference, counted from 1.
    line: usize,
    lines: Vec<(char, &'a str)>,
}

impl<'a> Diff<'a> {
    /// Compares `written`, which begins at `first_line` of its file, with `printed`.
    pub(super) fn new(written: &'a str, printed: &'a str, first_line: usize) -> Diff<'a> {
        let (old, new): (Vec<&str>, Vec<&str>) =
            (written.lines().collect(), printed.lines().collect());
        let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let mut lines: Vec<(char, &str)> = old[..same].iter().map(|line| (' ', *line)).collect();
        changes(&old[same..], &new[same..], &mut lines);
        Diff { line: first_line + same, lines }
    }
}

/// Appends the lines of both, as few of them changed as can be.
fn changes<'a>(old: &[&'a str], new: &[&'a str], lines: &mut Vec<(char, &'a str)>) {
    let (rows, columns) = (old.len() + 1, new.len() + 1);
    if rows.saturating_mul(columns) > PAIRS_MAX {
        lines.extend(old.iter().map(|line| ('-', *line)));
        lines.extend(new.iter().map(|line| ('+', *line)));
        return;
    }
    // common[i][j]: how many lines old[i..] and new[j..] have in common, in order.
    let mut common = vec![0_u32; rows * columns];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * columns + j] = if old[i] == new[j] {
                common[(i + 1) * columns + j + 1] + 1
            } else {
                common[(i + 1) * columns + j].max(common[i * columns + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let down = i < old.len()
            && (j == new.len() || common[(i + 1) * columns + j] >= common[i * columns + j + 1]);
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if down {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
}

impl fmt::Display for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: prints something else (- written, + printed, UPDATE=1 takes it)",
            self.line
        )?;
        for (mark, line) in &self.lines {
            writeln!(f, "  {mark} {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, printed: &str, line: usize, expected: &str) {
        let text = |text: &str| text.replace(' ', "\n");
        let (written, printed) = (text(written), text(printed));
        let diff = Diff::new(&written, &printed, 10);
        let lines: Vec<String> =
            diff.lines.iter().map(|(mark, line)| format!("{mark}{line}")).collect();
        assert_eq!((diff.line, lines.join(" ").as_str()), (line, expected));
    }

    // A reviewer judges the change; lines that did not change must not look as if they had.
    #[test]
    fn only_what_changed_is_marked() {
        check("a b c", "a c", 11, " a -b  c");
        check("a c", "a b c", 11, " a +b  c");
        check("a b c d", "x b c y", 10, "-a +x  b  c -d +y");
        check("", "a b", 10, "+a +b");
        check("a", "", 10, "-a");
    }
}
