//! The views and layouts that are in use, and how many are kept.
//!
//! A view takes twelve bytes a node. Classes come without end, so the view that was not used for
//! longest makes room: it costs a look at all nodes to have it again.

use std::collections::HashMap;

use super::books::Books;
use super::class::{Class, Plan};
use super::domain::Key;
use super::layout::Layout;
use super::view::{View, ViewKey};

/// What all views may take, about.
const VIEWS_BYTES: usize = 64 << 20;
/// And how many there may be at most, and at least.
const VIEWS_COUNT: std::ops::RangeInclusive<usize> = 8..=4096;

/// Views, and the layouts under them.
#[derive(Debug, Default)]
pub(crate) struct Views {
    by_key: HashMap<ViewKey, usize>,
    all: Vec<Entry>,
    /// By entry, when it was used last: apart from them, as all are compared.
    used: Vec<u64>,
    /// For who asks for the first time: many never ask again, and their ranks need not be kept.
    scratch: View,
    layouts: Vec<Layout>,
    by_keys: HashMap<Vec<Key>, usize>,
    /// Counts the uses.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    key: ViewKey,
    view: View,
    layout: usize,
    is_new: bool,
    /// Tells this entry from an earlier one in the same place.
    made: u64,
}

impl Views {
    /// The view of a class, as of now, and the layout that it is over.
    pub(crate) fn of(&mut self, books: &mut Books, class: u32) -> (&View, &Layout) {
        self.clock += 1;
        let known = books.classes[class].view;
        let known = known.filter(|&(at, made)| self.all.get(at).is_some_and(|it| it.made == made));
        let at = match known {
            Some((at, _)) => at,
            None => {
                let at = self.find(books, class);
                books.classes[class].view = Some((at, self.all[at].made));
                at
            }
        };
        self.used[at] = self.clock;
        let Entry { view, layout, is_new, .. } = &mut self.all[at];
        let layout = &mut self.layouts[*layout];
        if layout.version != books.domains.version {
            *layout = Layout::new(books, &books.classes[class].scope.keys);
        }
        let view = if std::mem::replace(is_new, false) {
            self.scratch.empty();
            &mut self.scratch
        } else {
            view
        };
        view.refresh(books, layout, &books.classes[class]);
        (view, layout)
    }

    fn find(&mut self, books: &mut Books, class: u32) -> usize {
        let key = key_of(books, class);
        if let Some(&at) = self.by_key.get(&key) {
            return at;
        }
        if key.own.is_some() {
            books.classes[class].has_own_view = true;
        }
        let layout = self.layout(books, &key.keys);
        let mut entry = Entry {
            key: key.clone(),
            view: View::default(),
            layout,
            is_new: true,
            made: self.clock,
        };
        let bytes = books.nodes.all.len() * 12 + 512;
        let count_max = (VIEWS_BYTES / bytes).clamp(*VIEWS_COUNT.start(), *VIEWS_COUNT.end());
        let at = if self.all.len() < count_max {
            self.all.push(entry);
            self.used.push(self.clock);
            self.all.len() - 1
        } else {
            let oldest = (0..self.all.len()).min_by_key(|&at| self.used[at]);
            let at = oldest.expect("there are some");
            self.by_key.remove(&self.all[at].key);
            // Its lists are as long as the new ones will be.
            std::mem::swap(&mut entry.view, &mut self.all[at].view);
            entry.view.empty();
            self.all[at] = entry;
            at
        };
        self.by_key.insert(key, at);
        at
    }

    fn layout(&mut self, books: &Books, keys: &[Key]) -> usize {
        if let Some(&at) = self.by_keys.get(keys) {
            return at;
        }
        self.layouts.push(Layout::new(books, keys));
        self.by_keys.insert(keys.to_vec(), self.layouts.len() - 1);
        self.layouts.len() - 1
    }

    /// Forgets the views of one class, by its serial number.
    pub(crate) fn drop_own(&mut self, serial: u64) {
        for at in (0..self.all.len()).rev() {
            if self.all[at].key.own == Some(serial) {
                let gone = self.all.swap_remove(at);
                self.used.swap_remove(at);
                self.by_key.remove(&gone.key);
                if let Some(moved) = self.all.get_mut(at) {
                    // Whoever knows its old place must look it up again.
                    self.clock += 1;
                    moved.made = self.clock;
                    self.by_key.insert(moved.key.clone(), at);
                }
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Asserts that views that are of the latest change show what is in the books.
    pub(crate) fn check(&mut self, books: &mut Books) {
        let ids: Vec<u32> = books.classes.ids().collect();
        for class in ids {
            let (view, layout) = self.of(books, class);
            view.check(books, layout, &books.classes[class]);
        }
    }
}

fn key_of(books: &Books, class: u32) -> ViewKey {
    let (serial, class): (u64, &Class) = (books.classes.serial(class), &books.classes[class]);
    ViewKey {
        profile: books.profiles.serial(class.profile),
        image: books.images.serial(class.image),
        request: class.request,
        is_spread: class.plan.is_spread(),
        is_cluster: matches!(class.plan, Plan::Cluster { .. }),
        keys: class.scope.keys.clone(),
        own: class.scope.personal.then_some(serial),
    }
}
