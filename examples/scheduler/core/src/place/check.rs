//! What must always hold of a cluster's books: for tests, after each step.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::tally::Tally;

impl Cluster {
    /// Asserts the invariants of [`Cluster`], in their order.
    ///
    /// # Panics
    /// If one is broken.
    pub fn check(&mut self) {
        self.check_free();
        self.check_places();
        self.check_relations();
        self.check_images();
        self.views.check(&mut self.books);
    }

    fn check_free(&self) {
        let nodes = &self.books.nodes;
        for (at, node) in (0..).zip(&nodes.all) {
            let used = self.books.used_on(at);
            let free = nodes.slots[at as usize].free;
            for (kind, capacity) in node.capacity().into_iter().enumerate() {
                assert_eq!(free[kind], capacity - used[kind], "free is what is not used");
            }
            let mut classes = node.residents.iter().map(|&(class, _)| class);
            assert!(classes.by_ref().is_sorted(), "residents are in the order of classes");
        }
    }

    fn check_places(&self) {
        let mut places: BTreeMap<u32, Tally> = BTreeMap::new();
        for (at, node) in (0..).zip(&self.books.nodes.all) {
            for &(class, count) in &node.residents {
                places.entry(class).or_default().add(at, count);
            }
        }
        for class in self.books.classes.ids() {
            let recount = places.remove(&class).unwrap_or_default();
            assert_eq!(self.books.classes[class].places, recount, "a class counts its tasks");
        }
        assert!(places.is_empty(), "a task is of a class that is known");
    }

    fn check_relations(&self) {
        let books = &self.books;
        for id in books.relations.all.ids() {
            let (question, relation) = (books.relations.all.key(id), &books.relations.all[id]);
            let (mut matched, mut holders, mut avoiders) = (Tally::default(), Tally::default(), 0);
            for class in books.classes.ids() {
                let kind = &books.classes[class];
                let namespace = &books.classes.key(class).job.namespace;
                let matches = question.matches(namespace, &kind.labels);
                assert_eq!(kind.matches.contains(&id), matches, "a class knows what asks about it");
                let avoids = kind.avoid.contains(&id);
                avoiders += u32::from(avoids);
                for (node, count) in kind.places.iter() {
                    let domain = books.domains.of(question.key, node);
                    matched.add(domain, if matches { count } else { 0 });
                    holders.add(domain, if avoids { count } else { 0 });
                }
            }
            assert_eq!(relation.matched, matched, "who matches is counted by domain");
            assert_eq!(relation.holders, holders, "who avoids is counted by domain");
            assert_eq!(relation.avoiders, avoiders, "classes that avoid are counted");
            assert!(books.relations.all.holders(id) > 0, "a question is asked by somebody");
        }
        for class in books.classes.ids() {
            let kind = &books.classes[class];
            let avoided = |id: &u32| books.relations.all[*id].avoiders > 0;
            let expected: Vec<u32> = kind.matches.iter().copied().filter(avoided).collect();
            assert_eq!(kind.avoided_by, expected, "a class knows who avoids it");
            let scope = kind.scope_with(|id| books.relations.all.key(id).key);
            assert_eq!(kind.scope, scope, "a scope is up to date");
        }
    }

    fn check_images(&self) {
        for id in self.books.images.ids() {
            let nodes = self.books.nodes.all.iter();
            let have = nodes.map(|node| {
                node.images.iter().filter(|one| one.name == *self.books.images.key(id)).count()
            });
            let classes = self.books.classes.ids();
            let want = classes.filter(|&class| self.books.classes[class].image == id).count();
            let holders = self.books.images.holders(id) as usize;
            assert_eq!(
                holders,
                have.sum::<usize>() + want,
                "an image is held by who has or wants it"
            );
        }
    }
}
