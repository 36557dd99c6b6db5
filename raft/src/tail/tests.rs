//! A tail beside a plain list of entries: however it is cut into pieces, it holds the same.

use std::sync::Arc;

use super::*;
use crate::entry::Payload;
use crate::rng::Rng;
use crate::types::Term;

fn entry(index: u64, len: u64) -> Entry {
    let payload = Payload::Data(vec![0; len as usize].into());
    Entry { term: Term(1), index: Index(index), payload }
}

/// A list that does what a tail should.
#[derive(Default)]
struct Plain(Vec<Entry>);

impl Plain {
    fn bytes(&self) -> usize {
        self.0.iter().map(Entry::bytes).sum()
    }

    fn next(&self, otherwise: u64) -> u64 {
        self.0.last().map_or(otherwise, |entry| entry.index.0 + 1)
    }

    fn drop_beyond(&mut self, bytes_max: usize, through: Index) {
        while self.bytes() > bytes_max && self.0.first().is_some_and(|it| it.index <= through) {
            self.0.remove(0);
        }
    }

    /// Every range, and what of it goes into one message.
    fn compare(&self, tail: &Tail) {
        tail.check();
        assert_eq!(tail.is_empty(), self.0.is_empty());
        assert_eq!(tail.start(), self.0.first().map(|entry| entry.index));
        let Some(first) = self.0.first().map(|entry| entry.index.0) else { return };
        for from in 0..=self.0.len() {
            for to in from..=self.0.len() {
                let range = Index(first + from as u64)..Index(first + to as u64);
                let wanted = &self.0[from..to];
                assert!(tail.range(range.clone()).eq(wanted), "{range:?}");
                let pieces = tail.pieces(&range);
                assert!(pieces.iter().flat_map(Piece::entries).eq(wanted), "{range:?}");
                for bytes_max in [1, 60, 200] {
                    self.compare_piece(tail, &range, bytes_max);
                }
            }
        }
    }

    /// A piece is what a message would hold that is made entry by entry, or it is not offered.
    fn compare_piece(&self, tail: &Tail, range: &Range<Index>, bytes_max: usize) {
        let Some((piece, counted)) = tail.piece(range, bytes_max) else { return };
        let inside = self.0.iter().filter(|entry| range.contains(&entry.index));
        let mut bytes = 0;
        let fits = inside.take_while(|entry| {
            bytes += entry.bytes();
            bytes <= bytes_max
        });
        assert!(fits.eq(&piece[..]), "{range:?}, {bytes_max} bytes");
        assert_eq!(counted, piece.iter().map(Entry::bytes).sum::<usize>());
    }
}

/// Entries that are put in one by one and together, cut off at both ends, and looked at.
#[test]
fn a_tail_is_what_a_list_is() {
    let first = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + 300 {
        println!("SEED={seed} cargo test -p drystone-raft --lib a_tail_is_what_a_list_is");
        let mut rng = Rng::new(seed);
        let (mut tail, mut plain) = (Tail::default(), Plain::default());
        let mut next = 1;
        for _ in 0..40 {
            next = plain.next(next);
            let some = |rng: &mut Rng| Index((next + 1).saturating_sub(rng.below(14)));
            match rng.below(7) {
                0..3 => {
                    let fresh = entry(next, rng.below(40));
                    plain.0.push(fresh.clone());
                    tail.push(fresh);
                }
                3 => {
                    let skipped = rng.below(3).min(next - 1);
                    let count = skipped + 1 + rng.below(5);
                    let all: Vec<Entry> =
                        (0..count).map(|i| entry(next - skipped + i, rng.below(40))).collect();
                    plain.0.extend_from_slice(&all[skipped as usize..]);
                    tail.share(all.into(), skipped as usize);
                }
                4 => {
                    let last = some(&mut rng);
                    plain.0.retain(|entry| entry.index <= last);
                    tail.truncate(last);
                    next = next.min(last.0 + 1);
                }
                5 => {
                    let through = some(&mut rng);
                    plain.0.retain(|entry| entry.index > through);
                    tail.drop_through(through);
                    next = next.max(through.0 + 1);
                }
                _ => {
                    let (bytes_max, through) = (rng.below(300) as usize, some(&mut rng));
                    plain.drop_beyond(bytes_max, through);
                    tail.drop_beyond(bytes_max, through);
                }
            }
            if rng.below(3) == 0 {
                tail.seal();
            }
            plain.compare(&tail);
        }
    }
}

/// What is handed on is not copied: followers, the one who applies and the log hold the same.
#[test]
fn what_came_together_is_shared() {
    let mut tail = Tail::default();
    (1..=5).for_each(|index| tail.push(entry(index, 1)));
    let range = Index(1)..Index(6);
    assert!(tail.piece(&range, usize::MAX).is_none(), "what is open may still grow");
    tail.seal();
    let (one, _) = tail.piece(&range, usize::MAX).unwrap();
    let (other, _) = tail.piece(&range, usize::MAX).unwrap();
    assert!(Arc::ptr_eq(&one, &other));
    let mut follower = Tail::default();
    follower.share(Arc::clone(&one), 2);
    assert_eq!(follower.start(), Some(Index(3)));
    assert!(std::ptr::eq(follower.range(Index(3)..Index(4)).next().unwrap(), &raw const one[2]));
}
