//! One panel: what is on its axis, and its lines and bars.

use std::fmt::Write as _;

use super::{LEFT, RIGHT, escaped};

/// The height of a panel with what it is called above it and room below.
pub(super) const HEIGHT: f64 = 126.0;
/// Where the axis begins below the top of the panel, and how long it is.
const AXIS_TOP: f64 = 22.0;
const AXIS: f64 = 78.0;
/// How many lines the axis has at most.
const LINES: f64 = 4.0;
/// What a letter of a legend takes.
const LETTER: f64 = 7.0;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A line through its points.
    Line,
    /// A bar from each point on, as wide as it is to the next.
    Bars,
}

/// Points of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    name: String,
    colour: String,
    kind: Kind,
    points: Vec<(f64, f64)>,
}

impl Series {
    /// Points, each a time in seconds and a value, in the order of time.
    #[must_use]
    pub fn new(name: &str, colour: &str, kind: Kind, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.to_owned(), colour: colour.to_owned(), kind, points }
    }

    fn path(&self, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
        let mut path = String::new();
        match self.kind {
            Kind::Line => {
                for (place, (at, value)) in self.points.iter().enumerate() {
                    // What lies between two alike needs no point of its own.
                    let alike = |other: usize| {
                        self.points.get(other).is_some_and(|(_, other)| other == value)
                    };
                    if place > 0 && alike(place - 1) && alike(place + 1) {
                        continue;
                    }
                    let letter = if place == 0 { 'M' } else { 'L' };
                    let _ = write!(path, "{letter}{:.1} {:.1}", x(*at), y(*value));
                }
            }
            Kind::Bars => {
                let wide = self.points.windows(2).next().map_or(1.0, |two| two[1].0 - two[0].0);
                for (at, value) in self.points.iter().filter(|(_, value)| *value > 0.0) {
                    let (from, to) = (x(*at), x(at + wide));
                    let _ = write!(
                        path,
                        "M{from:.1} {:.1}H{to:.1}V{:.1}H{from:.1}Z",
                        y(0.0),
                        y(*value)
                    );
                }
            }
        }
        path
    }
}

/// A panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    title: String,
    unit: String,
    series: Vec<Series>,
}

impl Panel {
    /// Series over one axis that begins at 0. The unit is written behind each number of it.
    #[must_use]
    pub fn new(title: &str, unit: &str, series: Vec<Series>) -> Panel {
        Panel { title: title.to_owned(), unit: unit.to_owned(), series }
    }

    pub(super) fn draw(&self, out: &mut String, top: f64, x: &dyn Fn(f64) -> f64) {
        let values = self.series.iter().flat_map(|series| series.points.iter());
        let most = values.map(|(_, value)| *value).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step(most, LINES);
        let end = (most / step - 1e-9).ceil() * step;
        let floor = top + AXIS_TOP + AXIS;
        let y = |value: f64| floor - AXIS * value / end;
        let mut value = 0.0;
        while value <= end * 1.0001 {
            let (at, text) = (y(value), number(value));
            let _ = writeln!(
                out,
                "<path d='M{LEFT} {at:.1}H{RIGHT}' stroke='#ddd'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end' font-size='11'>{text}{}</text>",
                LEFT - 6.0,
                at + 4.0,
                escaped(&self.unit)
            );
            value += step;
        }
        let _ = writeln!(out, "<path d='M{LEFT} {floor}H{RIGHT}' stroke='#444'/>");
        self.draw_legend(out, top + AXIS_TOP - 8.0);
        for series in &self.series {
            let (path, colour) = (series.path(x, &y), &series.colour);
            let _ = match series.kind {
                Kind::Line => writeln!(
                    out,
                    "<path d='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"
                ),
                Kind::Bars => writeln!(out, "<path d='{path}' fill='{colour}'/>"),
            };
        }
    }

    /// What the panel shows, and its series from the right edge leftwards.
    fn draw_legend(&self, out: &mut String, y: f64) {
        let title = escaped(&self.title);
        // The white edge keeps the dashed lines of marks out of the letters.
        let halo = "paint-order='stroke' stroke='#fff' stroke-width='4'";
        let _ = writeln!(out, "<text x='{LEFT}' y='{y}' font-weight='bold' {halo}>{title}</text>");
        let mut right = RIGHT;
        for series in self.series.iter().rev() {
            let from = right - series.name.chars().count() as f64 * LETTER;
            let _ = writeln!(
                out,
                "<rect x='{:.1}' y='{:.1}' width='10' height='10' fill='{}'/>\
                 <text x='{from:.1}' y='{y}' {halo}>{}</text>",
                from - 15.0,
                y - 9.0,
                series.colour,
                escaped(&series.name)
            );
            right = from - 32.0;
        }
    }
}

/// The smallest of 1, 2, 5, 10, 20, … of which at most `lines` are needed to reach `most`. Counts
/// have no halves, so it is 1 at least.
pub(super) fn step(most: f64, lines: f64) -> f64 {
    let mut step = 1.0;
    let mut grow = [2.0, 2.5, 2.0].into_iter().cycle();
    while most / step > lines {
        step *= grow.next().expect("a cycle does not end");
    }
    step
}

/// A number with its thousands apart.
pub(super) fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // An axis with a line at 37 is read by nobody.
    #[test]
    fn axes_have_round_numbers() {
        let steps = [1.0, 4.0, 5.0, 11.0, 90.0, 100.0, 101.0, 64_000.0].map(|most| step(most, 4.0));
        assert_eq!(steps, [1.0, 1.0, 2.0, 5.0, 50.0, 50.0, 50.0, 20_000.0]);
        assert_eq!(["0", "999", "1\u{202f}000"], [0.0, 999.0, 1000.0].map(number));
    }
}
