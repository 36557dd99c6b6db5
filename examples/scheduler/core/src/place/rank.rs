//! The rank of one node for one class, as far as the node alone decides it: the innermost loop.
//!
//! What is asked about whole domains comes on top, in [`super::decide`].

use super::books::Books;
use super::class::{Class, Plan};
use super::mix::mix;
use super::node::{Gate, KINDS};
use super::profile::UNFIT;
use super::score::{ONE, Rank, Term, evenness, health, rank};
use super::tally::Tally;

/// What a view keeps of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// 0 if it cannot be there.
    pub(crate) rank: Rank,
    /// Spread: 1 if the node's domain counts among those that should be even. Cluster: how many
    /// tasks of the class fit on the node.
    pub(crate) extra: u32,
}

impl Class {
    pub(crate) fn wants_extras(&self) -> bool {
        matches!(self.plan, Plan::Spread { .. } | Plan::Cluster { .. })
    }
}

/// What is the same for all nodes while a class looks at them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lens<'a> {
    books: &'a Books,
    class: &'a Class,
    fixed: &'a [u32],
    /// The image's places; none if no node has it.
    image: Option<&'a Tally>,
    is_spread: bool,
    is_cluster: bool,
}

impl<'a> Lens<'a> {
    pub(crate) fn new(books: &'a Books, class: &'a Class) -> Lens<'a> {
        let image = &books.images[class.image];
        Lens {
            books,
            class,
            fixed: &books.profiles[class.profile].points,
            image: (image.total() > 0).then_some(image),
            is_spread: class.plan.is_spread(),
            is_cluster: matches!(class.plan, Plan::Cluster { .. }),
        }
    }

    /// Looks at one node.
    #[inline]
    pub(crate) fn leaf(&self, node: u32) -> Leaf {
        let Lens { books, class, fixed, image, is_spread, is_cluster } = *self;
        let at = node as usize;
        let (slot, fixed) = (&books.nodes.slots[at], fixed[at]);
        if slot.gate != Gate::Open || fixed == UNFIT {
            return Leaf::default();
        }
        let extra = u32::from(is_spread);
        // All are compared whatever the first says: that is cheaper than to guess.
        let lacks =
            (0..KINDS).fold(false, |lacks, kind| lacks | (class.need[kind] > slot.free[kind]));
        if lacks {
            return Leaf { rank: 0, extra };
        }
        let (fit, balance) = slot.suits(&class.request, is_spread);
        let mut points = fixed + Term::Fit.points(fit) + Term::Balance.points(balance);
        if let Some(image) = image {
            points += Term::Image.points(image.at(node));
        }
        if class.scope.personal {
            match books.personal(class, node) {
                Some(more) => points += more,
                None => return Leaf { rank: 0, extra },
            }
        } else {
            points += Term::Health.points(ONE);
        }
        let rank = rank(points, books.nodes.ties[at]);
        let extra = if is_cluster { books.room(class, node) } else { extra };
        Leaf { rank, extra }
    }
}

impl Books {
    /// What the class asks about the node's other tasks, and what it remembers of it.
    fn personal(&self, class: &Class, node: u32) -> Option<u32> {
        let relations = &self.relations.all;
        let place = node + 1;
        let questions = &class.scope.node;
        let unmet = |&(_, id): &(usize, u32)| self.is_unmet(class, id, place);
        let avoids = |&(_, id): &(usize, u32)| self.avoids(id, place);
        let avoided = |&(_, id): &(usize, u32)| self.is_avoided(id, place);
        if questions.avoid.iter().any(avoids)
            || questions.avoided_by.iter().any(avoided)
            || questions.near.iter().any(unmet)
        {
            return None;
        }
        let failures = class.failures.get(&node).copied().unwrap_or(0);
        let mut points = Term::Health.points(health(failures));
        if let Plan::Spread { by_node, .. } = class.plan {
            points += Term::Node.points(evenness(relations[by_node].matched.at(place)));
        }
        for &(_, more, wished, id) in &questions.prefer {
            if (relations[id].matched.at(place) > 0) == wished {
                points += more;
            }
        }
        Some(points)
    }

    /// How many tasks of a class fit on a node on which one fits.
    pub(crate) fn room(&self, class: &Class, node: u32) -> u32 {
        if class.scope.one_a_node {
            return 1;
        }
        let free = &self.nodes.slots[node as usize].free;
        let kinds = free.iter().zip(&class.request).filter(|&(_, &request)| request > 0);
        let room = kinds.map(|(free, request)| free / request).min().expect("a task is one task");
        u32::try_from(room.max(0)).unwrap_or(u32::MAX)
    }

    /// For which of the tasks that a class wants on the node it may be the first, as one number:
    /// when that turns, all ranks do.
    pub(crate) fn starts(&self, class: &Class) -> u64 {
        class.scope.node.near.iter().fold(0, |state, &(_, id)| {
            mix(state + u64::from(class.starts(id, &self.relations.all[id].matched)) + 1)
        })
    }
}
