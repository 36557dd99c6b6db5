//! Turns in shuffled order, round after round.

use anyhow::{Context as _, Result};
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// Someone who takes a turn in every round.
pub struct Unit<'a, S> {
    /// Who, for messages.
    pub name: String,
    /// The turn.
    pub run: Box<dyn FnMut() -> Result<S> + 'a>,
}

/// Runs every unit once without counting it, then `rounds` rounds; answers with the samples of each
/// unit in the order of the rounds.
///
/// # Errors
/// If a turn fails.
pub fn rounds<S>(
    title: &str,
    units: &mut [Unit<'_, S>],
    rounds: usize,
    seed: u64,
) -> Result<Vec<Vec<S>>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut samples: Vec<Vec<S>> = units.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        eprintln!(
            "{title}: {}",
            if round == 0 { "warm-up".to_owned() } else { format!("round {round} of {rounds}") }
        );
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.shuffle(&mut random);
        for i in order {
            let unit = &mut units[i];
            let sample = (unit.run)().with_context(|| format!("the turn of {}", unit.name))?;
            if round > 0 {
                samples[i].push(sample);
            }
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Whoever always follows the same neighbour pays for what that one leaves behind.
    #[test]
    fn every_round_has_everyone_in_an_order_of_its_own() {
        let seen = RefCell::new(Vec::new());
        let mut units: Vec<Unit<'_, usize>> = (0..5)
            .map(|i| Unit {
                name: i.to_string(),
                run: Box::new({
                    let seen = &seen;
                    move || {
                        seen.borrow_mut().push(i);
                        Ok(i)
                    }
                }),
            })
            .collect();
        let samples = rounds("test", &mut units, 20, 7).unwrap();
        for (i, of_unit) in samples.iter().enumerate() {
            assert_eq!(of_unit, &vec![i; 20], "the warm-up does not count");
        }
        let seen = seen.borrow();
        let orders: std::collections::HashSet<&[usize]> = seen.chunks(5).collect();
        assert!(orders.len() > 10, "orders differ");
        for order in seen.chunks(5) {
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
    }
}
