//! Figures over time, as an SVG: panels one below the other that share a time axis.
//!
//! ```text
//!     title
//!     the command that makes this picture
//!               ┆ half is cut off          ┆ whole again        what was done, and when
//!     100 % ┤───┆                          ┆  ┌──────
//!       0 % ┤   └──────────────────────────┆──┘                 a panel: lines or bars
//!           ├────────┬────────┬────────┬───────
//!           0       10       20       30   seconds
//! ```
//!
//! It is text and nothing else: no font is embedded, no script runs, and colours are told apart by
//! those who see few of them. Numbers are rounded to a tenth of a pixel, so that a picture is some
//! ten kilobytes, and the same on every machine.

mod panel;

use std::fmt::Write as _;

pub use panel::{Kind, Panel, Series};

/// The whole width, and where the panels begin and end in it.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 880.0;
/// Where the names of marks begin, how many rows of them there are, and how high one is.
const MARKS_TOP: f64 = 66.0;
const MARK_ROWS: usize = 3;
const MARK_ROW: f64 = 14.0;
/// What a letter of a mark's name takes at most.
const LETTER: f64 = 6.5;

/// What was done, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Seconds.
    pub at: f64,
    /// What.
    pub text: String,
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// Where it comes from.
    pub subtitle: String,
    /// How many seconds the time axis has.
    pub seconds: f64,
    /// What was done.
    pub marks: Vec<Mark>,
    /// The panels, from top to bottom.
    pub panels: Vec<Panel>,
}

impl Picture {
    /// The picture as the text of an SVG file.
    #[must_use]
    pub fn svg(&self) -> String {
        let rows = self.mark_rows();
        let used = rows.iter().flatten().max().map_or(0, |row| row + 1);
        let top = MARKS_TOP + used as f64 * MARK_ROW;
        let bottom = top + self.panels.len() as f64 * panel::HEIGHT;
        let height = bottom + 44.0;
        let mut out = String::new();
        let _ = writeln!(
            out,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' \
             font-family='sans-serif' font-size='12' fill='#222'>\n\
             <rect width='100%' height='100%' fill='#fff'/>\n\
             <text x='20' y='26' font-size='17' font-weight='bold'>{}</text>\n\
             <text x='20' y='46' font-family='monospace' fill='#555'>{}</text>",
            escaped(&self.title),
            escaped(&self.subtitle)
        );
        self.draw_marks(&mut out, &rows, (top, bottom));
        for (place, panel) in self.panels.iter().enumerate() {
            panel.draw(&mut out, top + place as f64 * panel::HEIGHT, &|at| self.x(at));
        }
        self.draw_time(&mut out, bottom);
        out.push_str("</svg>\n");
        out
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (at / self.seconds).clamp(0.0, 1.0)
    }

    /// In which row the name of each mark has room, if in any.
    fn mark_rows(&self) -> Vec<Option<usize>> {
        let mut free_from = [0.0; MARK_ROWS];
        let rows = self.marks.iter().map(|mark| {
            let (start, end) = self.reach(mark);
            let row = free_from.iter().position(|free| *free <= start)?;
            free_from[row] = end + 2.0 * LETTER;
            Some(row)
        });
        rows.collect()
    }

    /// From where to where the name of a mark goes: to the right of its line, or to the left where
    /// the picture ends.
    fn reach(&self, mark: &Mark) -> (f64, f64) {
        let (x, width) = (self.x(mark.at), mark.text.chars().count() as f64 * LETTER);
        if x + width > WIDTH { (x - width, x) } else { (x, x + width) }
    }

    /// A dashed line for each mark, and its name where there is room for it.
    fn draw_marks(&self, out: &mut String, rows: &[Option<usize>], (top, bottom): (f64, f64)) {
        for (mark, row) in self.marks.iter().zip(rows) {
            let x = self.x(mark.at);
            let line_top = row.map_or(top, |row| MARKS_TOP + row as f64 * MARK_ROW);
            let _ = writeln!(
                out,
                "<path d='M{x:.1} {line_top}V{bottom}' stroke='#999' stroke-dasharray='3 3'/>"
            );
            if row.is_some() {
                let left = self.reach(mark).0 < x;
                let (anchor, x) = if left { ("end", x - 3.0) } else { ("start", x + 3.0) };
                let (y, text) = (line_top + 9.0, escaped(&mark.text));
                let _ = writeln!(
                    out,
                    "<text x='{x:.1}' y='{y}' text-anchor='{anchor}' font-size='11'>{text}</text>"
                );
            }
        }
    }

    fn draw_time(&self, out: &mut String, bottom: f64) {
        let step = panel::step(self.seconds, 12.0);
        let mut at = 0.0;
        while at <= self.seconds * 1.0001 {
            let x = self.x(at);
            let _ = writeln!(
                out,
                "<text x='{x:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
                bottom + 2.0,
                panel::number(at)
            );
            at += step;
        }
        let (x, y) = (f64::midpoint(LEFT, RIGHT), bottom + 24.0);
        let _ = writeln!(out, "<text x='{x}' y='{y}' text-anchor='middle'>seconds</text>");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(marks: &[(f64, &str)], points: &[(f64, f64)]) -> String {
        let marks = marks.iter().map(|(at, text)| Mark { at: *at, text: (*text).to_owned() });
        let series = Series::new("some", "#1b6ca8", Kind::Line, points.to_vec());
        let panels = vec![Panel::new("a share", "%", vec![series])];
        let (title, subtitle) = ("a < b".to_owned(), "how --it is made".to_owned());
        Picture { title, subtitle, seconds: 10.0, marks: marks.collect(), panels }.svg()
    }

    // A picture that a browser refuses to read shows nothing at all.
    #[test]
    fn what_is_said_in_words_cannot_break_the_picture() {
        let svg = picture(&[(1.0, "n1 & n2 <crash>")], &[(0.0, 1.0)]);
        assert!(svg.contains("a &lt; b") && svg.contains("n1 &amp; n2 &lt;crash&gt;"), "{svg}");
        let opened = svg.matches("<text").count();
        assert_eq!(opened, svg.matches("</text>").count());
    }

    // Names on top of each other can be read by nobody: what has no room is left out, its line not.
    #[test]
    fn names_of_marks_do_not_overlap() {
        let marks: Vec<(f64, &str)> = (0..50).map(|at| (at as f64 / 5.0, "somebody")).collect();
        let svg = picture(&marks, &[(0.0, 1.0)]);
        assert_eq!(svg.matches("stroke-dasharray").count(), 50);
        let named = svg.matches(">somebody<").count();
        assert!((20..45).contains(&named), "{named}");
    }

    // Points are put where the axis says they are.
    #[test]
    fn a_line_goes_from_its_first_point_to_its_last() {
        let svg = picture(&[], &[(0.0, 0.0), (10.0, 100.0)]);
        let line = svg.lines().find(|line| line.contains("#1b6ca8' stroke-width")).unwrap();
        assert!(line.contains("M80.0 166.0L880.0 88.0"), "{line}");
    }
}
