//! From samples to medians, ratios and a table.

use super::{
    Metric, Sample, Scenario,
    sample::{DISK, START, WRITTEN},
};

/// The samples of one scenario on clusters of one size: one of each contender a round.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// What was done.
    pub scenario: Scenario,
    /// Members of a cluster.
    pub members: usize,
    /// Of each contender, in the order of the rounds; none of one that did not take part.
    pub samples: Vec<Vec<Sample>>,
}

/// Least, middle and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of one figure or more.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Spread {
        // Nothing of nothing (bytes written by a load that reads) is as much as nothing.
        let figure = |figure: f64| if figure.is_nan() { 1.0 } else { figure };
        let mut sorted: Vec<f64> = figures.into_iter().map(figure).collect();
        assert!(!sorted.is_empty(), "a spread needs a figure");
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[half - 1], sorted[half])
        } else {
            sorted[half]
        };
        Spread { min: sorted[0], median, max: sorted[sorted.len() - 1] }
    }
}

/// Which figures a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// Not what loads write, what lies on the disk, and how long a start takes.
    Serving,
    /// All.
    ServingAndStoring,
}

impl Figures {
    fn shows(self, metric: Metric) -> bool {
        self == Figures::ServingAndStoring || ![WRITTEN, DISK, START].contains(&metric)
    }
}

impl Rounds {
    /// The scenario, and how many members.
    #[must_use]
    pub fn title(&self) -> String {
        let plural = if self.members == 1 { "" } else { "s" };
        format!("{}, {} member{plural}", self.scenario.name, self.members)
    }

    /// A figure of one contender, if it has any.
    #[must_use]
    pub fn spread(&self, contender: usize, metric: Metric) -> Option<Spread> {
        let figures: Option<Vec<f64>> =
            self.samples[contender].iter().map(|sample| sample.of(metric)).collect();
        figures.filter(|figures| !figures.is_empty()).map(Spread::of)
    }

    /// A figure of contender number `one` divided by that of number `other`, round by round.
    #[must_use]
    pub fn ratio(&self, one: usize, other: usize, metric: Metric) -> Option<Spread> {
        let pairs = self.samples[one].iter().zip(&self.samples[other]);
        let ratios: Option<Vec<f64>> =
            pairs.map(|(one, other)| Some(one.of(metric)? / other.of(metric)?)).collect();
        ratios.filter(|ratios| !ratios.is_empty()).map(Spread::of)
    }

    /// What anybody's samples have, in the order of the first that has any.
    fn metrics(&self) -> Vec<Metric> {
        self.samples.iter().flatten().next().map_or_else(Vec::new, |one| one.metrics().collect())
    }
}

/// A table for people and for Markdown alike. `names` are the contenders, and `pairs` who is
/// divided by whom; such a column stands behind that of the contender that is divided.
#[must_use]
pub fn table(
    all: &[Rounds],
    names: &[String],
    pairs: &[(usize, usize)],
    figures: Figures,
) -> String {
    let mut heads = ["scenario", "members", "median of"].map(str::to_owned).to_vec();
    for (number, name) in names.iter().enumerate() {
        heads.push(name.clone());
        for (one, other) in pairs.iter().filter(|(one, _)| *one == number) {
            let divided = format!("{}/{}", short(&names[*one]), short(&names[*other]));
            heads.extend([divided, "min..max".to_owned()]);
        }
    }
    let mut rows = vec![heads];
    for rounds in all {
        for metric in rounds.metrics().into_iter().filter(|metric| figures.shows(*metric)) {
            rows.push(row(rounds, metric, names.len(), pairs));
        }
    }
    lined_up(rows)
}

fn row(
    rounds: &Rounds,
    metric: Metric,
    contenders: usize,
    pairs: &[(usize, usize)],
) -> Vec<String> {
    let nothing = || "-".to_owned();
    let name = rounds.scenario.name.to_owned();
    let mut row = vec![name, rounds.members.to_string(), metric.name.to_owned()];
    for number in 0..contenders {
        let spread = rounds.spread(number, metric);
        row.push(spread.map_or_else(nothing, |spread| {
            let decimals = metric.decimals;
            format!("{:.decimals$}", spread.median)
        }));
        for &(one, other) in pairs.iter().filter(|(one, _)| *one == number) {
            let ratio = rounds.ratio(one, other, metric);
            row.push(ratio.map_or_else(nothing, |ratio| times(ratio.median)));
            row.push(ratio.map_or_else(nothing, |ratio| {
                format!("{}..{}", figure(ratio.min), figure(ratio.max))
            }));
        }
    }
    row
}

/// A ratio to three digits or more: a hundredth and a thousandth are not the same.
fn figure(ratio: f64) -> String {
    let decimals = match ratio.abs() {
        0.1.. => 2,
        0.01.. => 3,
        _ => 4,
    };
    format!("{ratio:.decimals$}")
}

fn times(ratio: f64) -> String {
    figure(ratio) + "x"
}

/// A name without its version, unless it is etcd's, of which there are several.
fn short(name: &str) -> &str {
    name.split(' ').next().unwrap_or_default()
}

/// Columns of names, in front of those of figures.
const NAMES: usize = 3;

/// The rows, the first of which holds the heads, as one text: names to the left, figures to the
/// right.
fn lined_up(mut rows: Vec<Vec<String>>) -> String {
    let mut widths = vec![0; rows[0].len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let rules = widths.iter().enumerate().map(|(column, &width)| rule(width, column >= NAMES));
    rows.insert(1, rules.collect());
    let mut table = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            table += &if column < NAMES {
                format!("| {cell:<width$} ")
            } else {
                format!("| {cell:>width$} ")
            };
        }
        table += "|\n";
    }
    table
}

fn rule(width: usize, to_the_right: bool) -> String {
    let dashes = "-".repeat(width - 1);
    if to_the_right { dashes + ":" } else { dashes + "-" }
}

#[cfg(test)]
mod tests;
