//! Reads that wait until an index is applied.
//!
//! Whoever asked may have gone away meanwhile, and a state machine that stands still answers
//! nobody: those who went are looked for each time the number of the others has doubled.

use std::collections::BTreeMap;

use crate::runtime::tickets::Answer;
use crate::types::Index;

/// Reads that wait until an index is applied.
#[derive(Debug)]
pub(crate) struct Waiting {
    by_index: BTreeMap<Index, Vec<Answer<Index>>>,
    count: usize,
    /// At so many it is looked for those who went away.
    look_at: usize,
}

impl Waiting {
    pub(crate) fn new() -> Waiting {
        Waiting { by_index: BTreeMap::new(), count: 0, look_at: LOOK_MIN }
    }

    pub(crate) fn push(&mut self, index: Index, answer: Answer<Index>) {
        self.by_index.entry(index).or_default().push(answer);
        self.count += 1;
        if self.count >= self.look_at {
            self.forget_gone();
            self.look_at = LOOK_MIN.max(2 * self.count);
        }
    }

    fn forget_gone(&mut self) {
        self.by_index.retain(|_, answers| {
            answers.retain(|answer| !answer.is_closed());
            !answers.is_empty()
        });
        self.count = self.by_index.values().map(Vec::len).sum();
    }

    /// Answers those whose index is applied.
    pub(crate) fn answer(&mut self, applied: Index) {
        while let Some(first) = self.by_index.first_entry()
            && *first.key() <= applied
        {
            let answers = first.remove();
            self.count -= answers.len();
            for answer in answers {
                // Whoever went away does not want to know.
                let _ = answer.send(Ok(applied));
            }
        }
    }
}

/// Fewer are not worth looking for.
const LOOK_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// A state machine that stands still, and callers who give up and ask again: memory follows
    /// those who are still there.
    #[test]
    fn who_went_away_is_forgotten() {
        let mut waiting = Waiting::new();
        let (answer, mut stays) = oneshot::channel();
        waiting.push(Index(7), answer);
        for index in 0..100_000 {
            let (answer, goes) = oneshot::channel();
            drop(goes);
            waiting.push(Index(8 + index % 100), answer);
            assert!(waiting.count <= LOOK_MIN, "{} are kept", waiting.count);
        }
        waiting.answer(Index(6));
        assert!(stays.try_recv().is_err());
        waiting.answer(Index(7));
        assert_eq!(stays.try_recv(), Ok(Ok(Index(7))));
        waiting.answer(Index(1000));
        assert_eq!(waiting.count, 0);
    }
}
