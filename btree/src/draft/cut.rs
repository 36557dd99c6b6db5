//! Removing a range: subtrees that lie within it are dropped whole.
//!
//! ```text
//!            ┌───────────[ branch ]────────────┐
//!       ┌────┴────┐   whole    whole     ┌─────┴─────┐
//!       │ keep cut│  dropped  dropped    │ cut  keep │
//!       └─────────┘                      └───────────┘
//!             start                           end
//! ```
//!
//! Only the two ways to `start` and to `end` are copied. What lies between is visited to know which
//! pages and values become free and how many records they held, and is not changed. All reading
//! comes first, so that an error leaves the tree as it was.

use super::edit::{Edit, Path};
use crate::error::{Damage, Result};
use crate::page::{Page, children, runs};
use crate::pages::{Pages, Source};
use crate::types::{PagePtr, RunPtr, TreeRoot};

/// Keys with `start <= key < end`; without one, there is no bound on that side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut<'k> {
    pub start: Option<&'k [u8]>,
    pub end: Option<&'k [u8]>,
}

/// What a cut will make free.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pages: Vec<PagePtr>,
    runs: Vec<RunPtr>,
    records: u64,
    /// Pages that may still be visited: in a sound file none is visited twice.
    visits_left: u32,
}

impl Cut<'_> {
    const ALL: Cut<'static> = Cut { start: None, end: None };

    /// The children of a branch that the cut touches, the first and the last maybe in part.
    fn children(self, branch: Page<'_>) -> (usize, usize) {
        let first = self.start.map_or(0, |key| branch.find_child(key));
        let last = self.end.map_or(branch.count() - 1, |key| branch.find_child(key));
        (first, last.max(first))
    }

    /// The records of a leaf that the cut removes.
    fn records(self, leaf: Page<'_>) -> std::ops::Range<usize> {
        let find = |key| leaf.find(key).unwrap_or_else(|at| at);
        let start = self.start.map_or(0, find);
        let end = self.end.map_or(leaf.count(), find);
        start..end.max(start)
    }

    /// What is left of the cut in child `at`, of those from `first` to `last`.
    fn within(self, at: usize, first: usize, last: usize) -> Self {
        Cut { start: self.start.filter(|_| at == first), end: self.end.filter(|_| at == last) }
    }

    fn is_all(self) -> bool {
        self.start.is_none() && self.end.is_none()
    }
}

impl Survey {
    pub(super) fn new(visits_max: u32) -> Survey {
        Survey { visits_left: visits_max, ..Survey::default() }
    }

    /// Notes all pages and values of a subtree, or of the part of it that the cut covers.
    pub(super) fn visit<'a, S: Source<'a>>(
        &mut self,
        source: S,
        ptr: PagePtr,
        level: u8,
        cut: Cut<'_>,
    ) -> Result<()> {
        self.visits_left = match self.visits_left.checked_sub(1) {
            Some(left) => left,
            None => return Err(source.corrupt(ptr.id, Damage::Twice)),
        };
        let bytes = source.page_at(ptr, level)?;
        let page = Page(&bytes);
        if cut.is_all() {
            self.pages.push(ptr);
        }
        if level == 0 {
            let records = cut.records(page);
            self.runs.extend(runs(page).filter(|(i, _)| records.contains(i)).map(|(_, ptr)| ptr));
            self.records += records.len() as u64;
            return Ok(());
        }
        let (first, last) = cut.children(page);
        for (at, child) in children(page).enumerate().take(last + 1).skip(first) {
            self.visit(source, child, level - 1, cut.within(at, first, last))?;
        }
        Ok(())
    }
}

impl<P: Pages> Edit<'_, P> {
    /// Removes the records of a range; how many.
    pub(super) fn delete_range(&mut self, start: &[u8], end: Option<&[u8]>) -> Result<u64> {
        if self.root.ptr.is_none() || end.is_some_and(|end| end <= start) {
            return Ok(0);
        }
        *self.hint = None;
        let cut = Cut { start: Some(start).filter(|key| !key.is_empty()), end };
        let mut survey = self.survey(cut)?;
        if survey.records == 0 {
            return Ok(0);
        }
        if !cut.is_all() {
            self.descend(cut.start.or(Some(&[])), &mut Path::new())?;
            self.descend(end, &mut Path::new())?;
            // The pages on the ways have become other ones.
            survey = self.survey(cut)?;
        }
        let is_empty = cut.is_all() || {
            let root = self.root.ptr.slot().expect("the ways are private");
            self.cut(root, cut)
        };
        self.free(&survey);
        if is_empty {
            if !cut.is_all() {
                self.dirty.free_page(self.root.ptr);
            }
            *self.root = TreeRoot::default();
            return Ok(survey.records);
        }
        self.root.records = self.root.records.saturating_sub(survey.records);
        self.repair(start);
        if let Some(end) = end {
            self.repair(end);
        }
        Ok(survey.records)
    }

    /// Frees all pages and values of the tree.
    pub(super) fn clear(&mut self) -> Result<()> {
        *self.hint = None;
        if !self.root.ptr.is_none() {
            let survey = self.survey(Cut::ALL)?;
            self.free(&survey);
            *self.root = TreeRoot::default();
        }
        Ok(())
    }

    fn survey(&self, cut: Cut<'_>) -> Result<Survey> {
        let source = self.overlay();
        let mut survey = Survey::new(source.page_count());
        survey.visit(source, self.root.ptr, self.root.level, cut)?;
        Ok(survey)
    }

    fn free(&mut self, survey: &Survey) {
        for ptr in &survey.pages {
            self.dirty.free_page(*ptr);
        }
        for ptr in &survey.runs {
            self.dirty.free_run(*ptr);
        }
    }

    /// Takes the records and children of a range out of a private page and those below it; true if
    /// nothing is left of it. Its children that are not wholly within the range are private.
    fn cut(&mut self, slot: u32, cut: Cut<'_>) -> bool {
        let page = self.dirty.page(slot);
        if page.is_leaf() {
            for at in cut.records(page).rev() {
                self.dirty.page_mut(slot).remove(at);
            }
        } else {
            let (first, last) = cut.children(page);
            for at in (first..=last).rev() {
                let part = cut.within(at, first, last);
                let child = self.dirty.page(slot).child(at);
                let is_gone = part.is_all() || {
                    let child = child.slot().expect("the ways are private");
                    let is_empty = self.cut(child, part);
                    if is_empty {
                        self.dirty.free_page(PagePtr::draft(child));
                    }
                    is_empty
                };
                if is_gone {
                    self.remove_child(slot, at);
                }
            }
        }
        self.dirty.page(slot).count() == 0
    }
}
