//! From figures to one table and verdicts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drystone_versus::figures::{Goal, Verdict};
use drystone_versus::spread::Spread;
use drystone_versus::table::table;

use crate::contender::Contender;

/// What is wanted of us.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// Nothing: the figure helps to understand another.
    Nothing,
    /// Our figure in that of a peer, within a round.
    Times(Contender, Goal),
    /// Our figure.
    Figure(Goal),
}

/// One kind of figure of everybody who has it, one for each round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The row of the goals that it belongs to, and what it is.
    pub(crate) what: String,
    pub(crate) want: Want,
    pub(crate) figures: BTreeMap<Contender, Vec<f64>>,
}

impl Row {
    /// Of what does not differ from round to round.
    pub(crate) fn counted(
        what: impl Into<String>,
        want: Want,
        figures: impl IntoIterator<Item = (Contender, f64)>,
    ) -> Row {
        let figures = figures.into_iter().map(|(it, figure)| (it, vec![figure])).collect();
        Row { what: what.into(), want, figures }
    }

    /// Ours, and what it is in that of a peer, where both are there.
    fn ratio(&self, peer: Contender) -> Option<Spread> {
        let ours = self.figures.get(&Contender::Ours)?;
        let theirs = self.figures.get(&peer)?;
        let mut pairs = ours.iter().zip(theirs);
        let comparable = pairs.clone().all(|(_, theirs)| *theirs != 0.0 && theirs.is_finite());
        comparable.then(|| Spread::of(pairs.by_ref().map(|(ours, theirs)| ours / theirs)))
    }

    /// The peer that ours is held against: if the goal names none, the first that has a figure.
    fn peer(&self) -> Contender {
        let first = self.figures.keys().copied().next();
        match self.want {
            Want::Times(peer, _) => peer,
            Want::Nothing | Want::Figure(_) => first.unwrap_or(Contender::RaftRs),
        }
    }

    fn goal(&self) -> String {
        let signed = |goal| match goal {
            Goal::AtLeast(bound) => format!(">= {}", short(bound)),
            Goal::AtMost(bound) => format!("<= {}", short(bound)),
        };
        match self.want {
            Want::Nothing => "-".to_owned(),
            Want::Times(peer, goal) => format!("{} x {}", signed(goal), peer.name()),
            Want::Figure(goal) => signed(goal),
        }
    }

    /// None if nothing is wanted; a verdict of none if we did not take part.
    fn verdict(&self) -> Option<Option<Verdict>> {
        let (figure, goal) = match self.want {
            Want::Nothing => return None,
            Want::Times(peer, goal) => (self.ratio(peer).map(|it| it.median), goal),
            Want::Figure(goal) => {
                let ours = self.figures.get(&Contender::Ours);
                (ours.map(|all| Spread::of(all.iter().copied()).median), goal)
            }
        };
        Some(figure.map(|figure| Verdict { what: self.what.clone(), figure, goal }))
    }
}

/// Everything in one table.
pub(crate) fn table_of(rows: &[Row], contenders: &[Contender]) -> String {
    let heads: Vec<&str> = std::iter::once("row")
        .chain(contenders.iter().map(|it| it.name()))
        .chain(["ours/peer", "min..max", "goal", "verdict"])
        .collect();
    let cells = |row: &Row| {
        let figure = |it: &Contender| {
            let figures = row.figures.get(it);
            figures.map_or_else(
                || "-".to_owned(),
                |figures| short(Spread::of(figures.iter().copied()).median),
            )
        };
        let ratio = row.ratio(row.peer());
        let verdict = match row.verdict() {
            None => "-",
            Some(None) => "not measured",
            Some(Some(verdict)) if verdict.passes() => "PASS",
            Some(Some(_)) => "FAIL",
        };
        std::iter::once(row.what.clone())
            .chain(contenders.iter().map(figure))
            .chain([
                ratio.map_or_else(|| "-".to_owned(), |it| format!("{:.2}x", it.median)),
                ratio.map_or_else(|| "-".to_owned(), |it| it.to_string()),
                row.goal(),
                verdict.to_owned(),
            ])
            .collect()
    };
    table(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// A line for each goal.
pub(crate) fn verdicts(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        match row.verdict() {
            None => continue,
            Some(None) => writeln!(text, "* not measured {}: goal {}", row.what, row.goal()),
            Some(Some(verdict)) => writeln!(text, "* {verdict}"),
        }
        .expect("a String takes all");
    }
    text
}

/// Three digits that count, or whole numbers.
fn short(figure: f64) -> String {
    match figure {
        it if it.is_infinite() => "never".to_owned(),
        it if it.fract() == 0.0 || it >= 100.0 => format!("{it:.0}"),
        it if it < 1.0 => format!("{it:.3}"),
        it if it < 10.0 => format!("{it:.2}"),
        it => format!("{it:.1}"),
    }
}
