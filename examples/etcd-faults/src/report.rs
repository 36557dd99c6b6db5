//! What a run came to, for people.

use std::collections::BTreeMap;
use std::fmt;

use crate::check::Verdict;
use crate::history::History;
use crate::lie::Lie;
use crate::plan::Family;
use crate::recorder::Count;
use crate::violation::Checker;

/// So many violations of one promise are shown.
const SHOWN_MAX: usize = 5;
/// And so much of each, in characters.
const TEXT_MAX: usize = 1_200;

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    /// What the server says it is.
    pub version: String,
    /// Operations by kind and outcome.
    pub counts: BTreeMap<&'static str, Count>,
    /// Faults by kind.
    pub faults: BTreeMap<Family, u32>,
    /// Faults that could not be done, and why.
    pub failed: Vec<String>,
    /// What this machine cannot do.
    pub skipped: Vec<String>,
    /// The lie, if one was asked for, and whether there was an occasion.
    pub told: Option<(Lie, bool)>,
    /// How long the checks took.
    pub check_seconds: f32,
    /// What they found.
    pub verdict: Verdict,
    /// All that was seen.
    pub history: History,
}

impl Report {
    /// Whether nothing was violated.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdict.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "server {}", self.version)?;
        writeln!(f, "{:<22} {:>8} {:>8} {:>8}", "operations", "done", "refused", "unknown")?;
        for (kind, count) in &self.counts {
            let Count { done, refused, unknown } = count;
            writeln!(f, "  {kind:<20} {done:>8} {refused:>8} {unknown:>8}")?;
        }
        writeln!(f, "faults")?;
        for (family, count) in &self.faults {
            writeln!(f, "  {family:<20} {count:>8}")?;
        }
        for failed in &self.failed {
            writeln!(f, "  not done: {failed}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "  SKIPPED {skipped}")?;
        }
        write!(f, "{}", self.verdict)?;
        if let Some((lie, told)) = self.told {
            let told = if told { "was told" } else { "found no occasion" };
            writeln!(f, "the lie {lie} {told}")?;
        }
        writeln!(f, "checked in {:.1} s", self.check_seconds)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "checks")?;
        for (what, count) in &self.checks {
            writeln!(f, "  {what:<28} {count:>8}")?;
        }
        if self.violations.is_empty() {
            return writeln!(f, "no violations");
        }
        for checker in Checker::ALL {
            let mut of = self.violations.iter().filter(|it| it.checker == checker);
            for violation in of.by_ref().take(SHOWN_MAX) {
                let text: String = violation.to_string().chars().take(TEXT_MAX).collect();
                writeln!(f, "VIOLATION {text}")?;
            }
            match of.count() {
                0 => {}
                more => writeln!(f, "VIOLATION [{checker}] and {more} more")?,
            }
        }
        Ok(())
    }
}
