//! Partitions: domains cut into disjoint groups, of equal number and as lasting as can be.
//!
//! A task's partition is its index modulo their number, and is told to it, so a system that keeps
//! three copies can keep them apart. The cut is a function of the names of the domains alone: each
//! leader makes the same. Every partition gets as many domains as any other, or one more; within
//! that, each domain goes where its hash likes it best (rendezvous hashing with bounded loads), so
//! that a rack more or less moves few of the others. Tasks that run stay where they are if it does.

use std::collections::HashMap;

use super::books::Books;
use super::domain::{Domains, Key, MISSING};
use super::mix::{hash, mix};

/// No partition: a domain without nodes, or that of the nodes without the label.
pub(crate) const NO_PARTITION: u32 = u32::MAX;

/// The cuts that are in use.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    cuts: HashMap<(Key, u32), Cut>,
}

#[derive(Debug, Default)]
struct Cut {
    version: u64,
    /// By domain.
    partition_of: Vec<u32>,
}

impl Partitions {
    /// The partition of each domain of this key.
    pub(crate) fn cut(&mut self, books: &Books, key: Key, partitions: u32) -> &[u32] {
        let version = books.domains.version;
        let cut = self.cuts.entry((key, partitions)).or_default();
        if cut.version != version {
            *cut = Cut { version, partition_of: cut_of(books, key, partitions) };
        }
        &cut.partition_of
    }
}

fn cut_of(books: &Books, key: Key, partitions: u32) -> Vec<u32> {
    let mut there: Vec<u32> = books.nodes.known().map(|node| books.domains.of(key, node)).collect();
    there.sort_unstable();
    there.dedup();
    there.retain(|&domain| domain != MISSING);
    let names: Vec<&str> = there.iter().map(|&domain| name(books, key, domain)).collect();
    let mut partition_of = vec![NO_PARTITION; books.domains.count(key)];
    for (at, partition) in assign(&names, partitions).into_iter().enumerate() {
        partition_of[there[at] as usize] = partition;
    }
    partition_of
}

/// A domain's name.
pub(crate) fn name(books: &Books, key: Key, domain: u32) -> &str {
    if key == Key::NODE {
        return books.nodes.all[domain as usize - 1].id.as_str();
    }
    let domains: &Domains = &books.domains;
    domains.value(key, domain).unwrap_or("none")
}

/// The partition of each of these domains, by the hashes of their names.
pub(crate) fn assign(names: &[&str], partitions: u32) -> Vec<u32> {
    let count = partitions as usize;
    let (least, mut larger) = (names.len() / count, names.len() % count);
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&at| names[at]);
    let mut loads = vec![0; count];
    let mut found = vec![0; names.len()];
    for at in order {
        let base = hash(0, names[at]);
        let liking = |partition: &u32| mix(base ^ mix(u64::from(*partition) + 1));
        let has_room = |partition: &u32| {
            let load = loads[*partition as usize];
            load < least || (load == least && larger > 0)
        };
        let best = (0..partitions).filter(has_room).max_by_key(liking);
        let best = best.expect("there is as much room as there are domains");
        if loads[best as usize] == least {
            larger -= 1;
        }
        loads[best as usize] += 1;
        found[at] = best;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn racks(count: u32) -> Vec<String> {
        (0..count).map(|at| format!("r{at:02}")).collect()
    }

    fn cut(names: &[String], partitions: u32) -> Vec<u32> {
        assign(&names.iter().map(String::as_str).collect::<Vec<_>>(), partitions)
    }

    /// A partition with less than its share runs full first.
    #[test]
    fn partitions_differ_by_one_domain_at_most() {
        for domains in 0..40 {
            for partitions in 1..9 {
                let found = cut(&racks(domains), partitions);
                let load = |partition| found.iter().filter(|&&one| one == partition).count();
                let loads: Vec<usize> = (0..partitions).map(load).collect();
                let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
                assert!(most - least <= 1, "{domains} domains: {loads:?}");
            }
        }
    }

    /// The cut must not depend on who came first, nor fall over when one more comes.
    #[test]
    fn a_rack_more_moves_few_others() {
        let (mut moved, mut all) = (0, 0);
        for domains in 6..40 {
            let names = racks(domains + 1);
            let (few, more) = (cut(&names[..domains as usize], 3), cut(&names, 3));
            moved += few.iter().zip(&more).filter(|(a, b)| a != b).count();
            all += few.len();
            let mut turned: Vec<String> = names.clone();
            turned.reverse();
            let mut back = cut(&turned, 3);
            back.reverse();
            assert_eq!(back, more);
        }
        assert!(moved * 4 < all, "{moved} of {all} moved");
    }
}
