//! A list whose copies share what they have in common.
//!
//! ```text
//!     a ◄── b ◄── c ◄── [one]
//!            ▲
//!            └─── d ◄── [other]
//! ```
//!
//! The search keeps the state of every configuration. With lists of thousands of values that would
//! be gigabytes; here an append is one link and a copy is one count. Each link has the hash of all
//! up to it, so that different lists are told apart at once; equal hashes are not trusted, and the
//! values compared as far as the lists are not the same links.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// A list that grows at its end.
#[derive(Clone)]
pub(super) struct Chain<V> {
    last: Option<Rc<Link<V>>>,
}

struct Link<V> {
    value: V,
    before: Chain<V>,
    len: usize,
    hash: u64,
}

impl<V> Chain<V> {
    pub(super) fn new() -> Chain<V> {
        Chain { last: None }
    }

    /// How many values it has.
    pub(super) fn len(&self) -> usize {
        self.last.as_ref().map_or(0, |link| link.len)
    }

    /// The values, the last one first.
    fn backwards(&self) -> impl Iterator<Item = &V> {
        let links = std::iter::successors(self.last.as_ref(), |link| link.before.last.as_ref());
        links.map(|link| &link.value)
    }

    fn hash_so_far(&self) -> u64 {
        self.last.as_ref().map_or(0, |link| link.hash)
    }
}

impl<V: Clone + Eq + Hash> Chain<V> {
    pub(super) fn push(&mut self, value: V) {
        let mut hasher = DefaultHasher::new();
        self.hash_so_far().hash(&mut hasher);
        value.hash(&mut hasher);
        let (len, hash) = (self.len() + 1, hasher.finish());
        let before = Chain { last: self.last.take() };
        self.last = Some(Rc::new(Link { value, before, len, hash }));
    }

    /// The values, the first one first.
    pub(super) fn to_vec(&self) -> Vec<V> {
        let mut values: Vec<V> = self.backwards().cloned().collect();
        values.reverse();
        values
    }

    /// Whether these are its values.
    pub(super) fn is(&self, values: &[V]) -> bool {
        self.len() == values.len() && self.backwards().eq(values.iter().rev())
    }
}

impl<V: Eq> PartialEq for Chain<V> {
    fn eq(&self, other: &Chain<V>) -> bool {
        if self.len() != other.len() || self.hash_so_far() != other.hash_so_far() {
            return false;
        }
        let (mut one, mut two) = (&self.last, &other.last);
        while let (Some(left), Some(right)) = (one, two) {
            if Rc::ptr_eq(left, right) {
                return true;
            }
            if left.value != right.value {
                return false;
            }
            (one, two) = (&left.before.last, &right.before.last);
        }
        true
    }
}

impl<V: Eq> Eq for Chain<V> {}

impl<V> Hash for Chain<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.hash_so_far().hash(state);
    }
}

impl<V: fmt::Debug> fmt::Debug for Chain<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values: Vec<&V> = self.backwards().collect();
        values.reverse();
        f.debug_list().entries(values).finish()
    }
}

/// Link by link: left to itself, a list of a million would need a stack of a million calls.
impl<V> Drop for Chain<V> {
    fn drop(&mut self) {
        let mut next = self.last.take();
        while let Some(link) = next {
            let Ok(mut link) = Rc::try_unwrap(link) else { break };
            next = link.before.last.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(values: &[u32]) -> Chain<u32> {
        let mut chain = Chain::new();
        values.iter().for_each(|value| chain.push(*value));
        chain
    }

    // Two configurations that are taken for one would make a verdict wrong.
    #[test]
    fn lists_are_equal_if_their_values_are() {
        let one = chain(&[1, 2, 3]);
        let mut other = one.clone();
        assert!(one == other && one == chain(&[1, 2, 3]));
        other.push(4);
        assert!(one != other && one != chain(&[1, 3, 2]) && one != chain(&[]));
        assert_eq!((one.to_vec(), other.to_vec()), (vec![1, 2, 3], vec![1, 2, 3, 4]));
        assert!(other.is(&[1, 2, 3, 4]) && !other.is(&[1, 2, 3]) && !other.is(&[0, 2, 3, 4]));
        assert_eq!(format!("{one:?}"), "[1, 2, 3]");
    }

    // The drop of a long list must not need a long stack.
    #[test]
    fn a_long_list_is_dropped() {
        let mut long = Chain::new();
        (0..1_000_000_u32).for_each(|value| long.push(value));
        let copy = long.clone();
        drop(long);
        assert_eq!(copy.len(), 1_000_000);
    }
}
