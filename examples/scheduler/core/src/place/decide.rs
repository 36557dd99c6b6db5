//! One decision: the best of the best nodes of all cells.
//!
//! The rank of a node is kept (see [`super::view`]). What is asked of a whole domain (how many
//! tasks of the job are in the zone, whether a friend is in the rack) is asked here, once for each
//! cell, and adds to the rank of the cell's best node or strikes the cell out. So a decision looks
//! at as many cells as there are, mostly one, and at no node; and what it finds is the best node
//! there is, not the best of a sample.

use super::books::Books;
use super::class::{Class, Plan};
use super::domain::{Key, MISSING};
use super::layout::Layout;
use super::partition::{NO_PARTITION, Partitions, name};
use super::score::{Term, evenness, raised};
use super::tally::Tally;
use super::view::View;

/// Which task of a class is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its index: which partition it belongs to.
    pub index: u32,
    /// How many tasks of its job wait to be placed, this one included: a cluster is looked for that
    /// has room for all.
    pub rest: u32,
}

impl Ask {
    /// One task, and no more to come.
    pub fn one(index: u32) -> Ask {
        Ask { index, rest: 1 }
    }
}

/// What a decision has to know of all domains before it looks at one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    Nothing,
    /// Spread: how many of its tasks are in the emptiest domain that counts.
    Least(u32),
    /// Partition: which it is, and the partition of each domain.
    Mine(u32, Vec<u32>),
    /// Cluster: the place of the label, and the domain; none if there is none with enough room.
    Domain(Option<(usize, u32)>),
}

/// Why a strategy wants nothing of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    Partition,
    NoDomain(Key),
    DomainMax,
    Skew,
    Cluster,
}

/// The place of a key among those that tell cells apart.
pub(crate) fn place_of(class: &Class, key: Key) -> usize {
    class.scope.keys.binary_search(&key).expect("what is asked about tells cells apart")
}

impl Books {
    /// Looks at all domains.
    pub(crate) fn outlook(
        &self,
        class: &Class,
        ask: Ask,
        (view, layout): (&View, &Layout),
        partitions: &mut Partitions,
    ) -> Outlook {
        match &class.plan {
            Plan::Pack => Outlook::Nothing,
            Plan::Spread { key, by_domain, .. } => {
                let (place, matched) = (place_of(class, *key), self.matched(*by_domain));
                let eligible = (0..layout.cells.len()).filter(|&cell| view.sums[cell] > 0);
                let counts = eligible.map(|cell| matched.at(layout.domains_of(cell)[place]));
                // If none counts, the first to open is the emptiest: none is too far ahead of it.
                Outlook::Least(counts.min().unwrap_or(u32::MAX))
            }
            Plan::Partition { key, partitions: count } => {
                let cut = partitions.cut(self, *key, *count);
                Outlook::Mine(ask.index % count, cut.to_vec())
            }
            Plan::Cluster { levels } => {
                let found = levels.iter().find_map(|&(key, own)| {
                    let domain = self.roomy(class, ask, (key, own), (view, layout))?;
                    Some((place_of(class, key), domain))
                });
                Outlook::Domain(found)
            }
        }
    }

    /// The domain by this label into which all that waits fits, and in which all that is there is:
    /// of several the one with the least room, of those the first by name.
    fn roomy(
        &self,
        class: &Class,
        ask: Ask,
        (key, own): (Key, u32),
        (view, layout): (&View, &Layout),
    ) -> Option<u32> {
        let (place, matched) = (place_of(class, key), self.matched(own));
        let rooms = self.rooms(class, key, (view, layout));
        let enough = |domain: u32| rooms[domain as usize] >= u64::from(ask.rest.max(1));
        if matched.total() > 0 {
            let (domain, _) = matched.iter().next().expect("a task is somewhere");
            let here = matched.places() == 1 && domain != MISSING;
            return (here && enough(domain)).then_some(domain);
        }
        let mut domains: Vec<u32> =
            (0..layout.cells.len()).map(|cell| layout.domains_of(cell)[place]).collect();
        domains.sort_unstable();
        domains.dedup();
        let found = domains.into_iter().filter(|&domain| domain != MISSING && enough(domain));
        found.min_by_key(|&domain| (rooms[domain as usize], name(self, key, domain)))
    }

    /// How many tasks of a class fit into each domain of a label.
    pub(crate) fn rooms(
        &self,
        class: &Class,
        key: Key,
        (view, layout): (&View, &Layout),
    ) -> Vec<u64> {
        let place = place_of(class, key);
        let mut rooms = vec![0; self.domains.count(key)];
        for cell in 0..layout.cells.len() {
            let domains = layout.domains_of(cell);
            if view.sums[cell] > 0 && !self.is_kept_away(class, domains) {
                rooms[domains[place] as usize] += view.sums[cell];
            }
        }
        rooms
    }

    /// The best node for a task, with its rank.
    pub(crate) fn best(
        &self,
        class: &Class,
        outlook: &Outlook,
        (view, layout): (&View, &Layout),
    ) -> Option<(u32, u64)> {
        let (mut best, mut best_cell) = (0, 0);
        for (cell, &rank) in view.cells.iter().enumerate() {
            if rank == 0 {
                continue;
            }
            let domains = layout.domains_of(cell);
            if self.bar(class, outlook, domains).is_some() || self.is_kept_away(class, domains) {
                continue;
            }
            let rank = raised(rank, self.domain_points(class, outlook, domains));
            if rank > best {
                (best, best_cell) = (rank, cell);
            }
        }
        (best > 0).then(|| (view.best_of(layout, best_cell), best))
    }

    fn matched(&self, relation: u32) -> &Tally {
        &self.relations.all[relation].matched
    }

    /// Why the strategy wants nothing of these domains.
    #[inline]
    pub(crate) fn bar(&self, class: &Class, outlook: &Outlook, domains: &[u32]) -> Option<Barred> {
        match (&class.plan, outlook) {
            (Plan::Partition { key, .. }, Outlook::Mine(mine, cut)) => {
                let domain = domains[place_of(class, *key)];
                match cut[domain as usize] {
                    NO_PARTITION => Some(Barred::NoDomain(*key)),
                    partition => (partition != *mine).then_some(Barred::Partition),
                }
            }
            (Plan::Spread { key, domain_max, skew_max, by_domain, .. }, Outlook::Least(least)) => {
                let more = self.matched(*by_domain).at(domains[place_of(class, *key)]) + 1;
                if *domain_max > 0 && more > *domain_max {
                    return Some(Barred::DomainMax);
                }
                (*skew_max > 0 && more > least.saturating_add(*skew_max)).then_some(Barred::Skew)
            }
            (_, Outlook::Domain(found)) => {
                let here = found.is_some_and(|(place, domain)| domains[place] == domain);
                (!here).then_some(Barred::Cluster)
            }
            _ => None,
        }
    }

    /// Whether what it asks about other tasks in these domains keeps it away.
    #[inline]
    pub(crate) fn is_kept_away(&self, class: &Class, domains: &[u32]) -> bool {
        let questions = &class.scope.cell;
        let unmet = |&(place, id): &(usize, u32)| self.is_unmet(class, id, domains[place]);
        let avoids = |&(place, id): &(usize, u32)| self.avoids(id, domains[place]);
        let avoided = |&(place, id): &(usize, u32)| self.is_avoided(id, domains[place]);
        questions.near.iter().any(unmet)
            || questions.avoid.iter().any(avoids)
            || questions.avoided_by.iter().any(avoided)
    }

    /// Nobody is in the domain whom the class wants near, and it does not start a crowd of its own.
    pub(crate) fn is_unmet(&self, class: &Class, relation: u32, domain: u32) -> bool {
        let matched = self.matched(relation);
        domain == MISSING || (matched.at(domain) == 0 && !class.starts(relation, matched))
    }

    /// Somebody is in the domain whom this question avoids.
    pub(crate) fn avoids(&self, relation: u32, domain: u32) -> bool {
        domain != MISSING && self.matched(relation).at(domain) > 0
    }

    /// Somebody is in the domain who avoids by this question.
    pub(crate) fn is_avoided(&self, relation: u32, domain: u32) -> bool {
        domain != MISSING && self.relations.all[relation].holders.at(domain) > 0
    }

    /// How good these domains are.
    #[inline]
    pub(crate) fn domain_points(&self, class: &Class, outlook: &Outlook, domains: &[u32]) -> u32 {
        let mut points = 0;
        if let (Plan::Spread { key, by_domain, .. }, Outlook::Least(least)) = (&class.plan, outlook)
        {
            let count = self.matched(*by_domain).at(domains[place_of(class, *key)]);
            points += Term::Domain.points(evenness(count.saturating_sub(*least)));
        }
        for &(place, more, wished, id) in &class.scope.cell.prefer {
            let there = domains[place] != MISSING && self.matched(id).at(domains[place]) > 0;
            if there == wished {
                points += more;
            }
        }
        points
    }
}
