//! The questions, one a file; every answer is a row with a cell for each protocol.

pub(crate) mod anomaly;
pub(crate) mod bootstrap;
pub(crate) mod crash;
pub(crate) mod loss;
pub(crate) mod rapid;
pub(crate) mod speed;
pub(crate) mod spread;
pub(crate) mod steady;

use drystone_versus::gossip::Subject;

use crate::goals::Goal;

/// What came of a question.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    pub(crate) goals: Vec<Goal>,
}

/// One figure of everyone.
#[derive(Debug)]
pub(crate) struct Row {
    label: String,
    cells: Vec<String>,
}

impl Row {
    /// Asks everyone.
    fn of(
        label: impl Into<String>,
        subjects: &[&dyn Subject],
        ask: impl Fn(&dyn Subject) -> String,
    ) -> Row {
        Row { label: label.into(), cells: subjects.iter().map(|it| ask(*it)).collect() }
    }

    /// The same row with dashes for those who do not take part.
    pub(crate) fn spread_over(self, takes: &[bool]) -> Row {
        let mut cells = self.cells.into_iter();
        let dash = || "-".to_owned();
        let spread = takes.iter().map(|takes| if *takes { cells.next() } else { None });
        Row { label: self.label, cells: spread.map(|it| it.unwrap_or_else(dash)).collect() }
    }

    /// The cells of a table.
    pub(crate) fn line(&self) -> Vec<String> {
        std::iter::once(&self.label).chain(&self.cells).cloned().collect()
    }
}

/// The mean of figures, if there are any.
fn mean(figures: &[f64]) -> Option<f64> {
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}

/// `12.3`, or a dash.
fn text(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"))
}

/// Median and largest of those that came to an end, and how many did not. Not the mean: one member
/// in some thousand is missed by all gossip and finds out by itself, a minute later.
fn ended(figures: &[Option<f64>]) -> String {
    let mut found: Vec<f64> = figures.iter().flatten().copied().collect();
    found.sort_by(f64::total_cmp);
    let (Some(median), Some(most)) = (found.get(found.len() / 2), found.last()) else {
        return "never".to_owned();
    };
    let never = match figures.len() - found.len() {
        0 => String::new(),
        some => format!(", {some} of {} never", figures.len()),
    };
    format!("{median:.2} (at most {most:.2}{never})")
}
