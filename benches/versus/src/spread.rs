//! Least, middle and greatest.

use std::fmt;

/// Of some figures, one from each round.
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
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        assert!(!sorted.is_empty(), "a spread needs a figure");
        sorted.sort_by(f64::total_cmp);
        let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Spread {
            min: sorted[0],
            median: f64::midpoint(sorted[low], sorted[high]),
            max: sorted[sorted.len() - 1],
        }
    }
}

/// The two ends, as a ratio is printed.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}..{:.2}", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One wild round must not move the figure.
    #[test]
    fn the_middle_is_the_median() {
        assert_eq!(Spread::of([5.0, 1.0, 900.0]), Spread { min: 1.0, median: 5.0, max: 900.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).median, 3.0);
        assert_eq!(Spread::of([7.0]).median, 7.0);
    }
}
