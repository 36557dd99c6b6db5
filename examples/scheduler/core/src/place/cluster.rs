//! A cluster as placement sees it: the face of this room.

use crate::record::{ImageAt, NodeRecord};
use crate::types::NodeId;

use super::books::Books;
use super::class::ClassId;
use super::decide::{Ask, Outlook};
use super::node::{Node, NodeIx};
use super::partition::Partitions;
use super::rejections::Rejections;
use super::score::Score;
use super::shape::{BadShape, Shape};
use super::views::Views;

/// Nodes, tasks, and all that is counted about them.
///
/// * What is free of a node is what it has less what the tasks on it ask for.
/// * Each count of tasks by domain is what counting the tasks again would give.
/// * Each rank that is kept, of a view that is up to date, is what looking at the node would give.
/// * A place that was decided is free for that task: no decision uses what is not there.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) books: Books,
    pub(crate) views: Views,
    pub(crate) partitions: Partitions,
    seed: u64,
}

/// A decision. It is in the books already; [`Cluster::release`] undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where the task goes.
    pub node: NodeIx,
    /// How good that is.
    pub score: Score,
    /// Its partition, if its strategy has any.
    pub partition: Option<u32>,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::new(0)
    }
}

impl Cluster {
    /// Without nodes. The seed decides between equally good nodes: with the same, all choose alike.
    pub fn new(seed: u64) -> Cluster {
        let (views, partitions) = (Views::default(), Partitions::default());
        Cluster { books: Books::new(), views, partitions, seed }
    }

    /// What a node is, whether its lease lives, and which images it has: all anew.
    pub fn set_node(
        &mut self,
        id: &NodeId,
        record: &NodeRecord,
        alive: bool,
        images: &[ImageAt],
    ) -> NodeIx {
        let NodeIx(at) = self.node(id);
        let node = &mut self.books.nodes.all[at as usize];
        let same = node.record.as_ref() == Some(record);
        node.alive = alive;
        if !same {
            self.change_record(at, Some(record.clone()));
        }
        if self.books.nodes.all[at as usize].images != images {
            self.books.image_node(at, images);
        }
        self.books.nodes.regate(at);
        self.books.note(at);
        NodeIx(at)
    }

    /// A node is gone for good. What is known of tasks on it stays until they are released.
    pub fn remove_node(&mut self, id: &NodeId) {
        let Some(at) = self.books.nodes.find(id) else { return };
        if self.books.nodes.all[at as usize].record.is_some() {
            self.change_record(at, None);
        }
        self.books.image_node(at, &[]);
        let node = &mut self.books.nodes.all[at as usize];
        (node.alive, node.suspect) = (false, false);
        self.books.nodes.regate(at);
        self.books.note(at);
        self.forget_if_empty(at);
    }

    /// Its lease lives, or does not.
    pub fn set_alive(&mut self, id: &NodeId, alive: bool) {
        self.regate(id, |node| node.alive = alive);
    }

    /// Gossip says that it is silent, or that it is back: meanwhile nothing new goes there.
    pub fn set_suspect(&mut self, id: &NodeId, suspect: bool) {
        self.regate(id, |node| node.suspect = suspect);
    }

    fn regate(&mut self, id: &NodeId, change: impl FnOnce(&mut Node)) {
        let Some(at) = self.books.nodes.find(id) else { return };
        change(&mut self.books.nodes.all[at as usize]);
        self.books.nodes.regate(at);
        self.books.note(at);
    }

    fn change_record(&mut self, at: u32, record: Option<NodeRecord>) {
        let books = &mut self.books;
        let none = std::collections::BTreeMap::new();
        let labels = record.as_ref().map_or(&none, |record| &record.labels);
        books.count_residents(at, false);
        let moved = books.domains.put(at, labels);
        books.count_residents(at, true);
        let node = &mut books.nodes.all[at as usize];
        if moved || node.record.is_some() != record.is_some() {
            books.domains.version += 1;
        }
        node.record = record;
        let used = books.used_on(at);
        books.nodes.reckon(at, &used);
        books.profile_node(at);
    }

    /// A node by its name. One that is not known is noted, so that tasks can be said to be there
    /// before it is said what it is.
    pub fn node(&mut self, id: &NodeId) -> NodeIx {
        if let Some(at) = self.books.nodes.find(id) {
            return NodeIx(at);
        }
        let (at, new) = self.books.nodes.add(id, self.seed);
        if new {
            self.books.domains.grow();
        }
        self.books.domains.version += 1;
        self.books.profile_node(at);
        NodeIx(at)
    }

    /// Its name.
    ///
    /// # Panics
    /// If the node has been forgotten.
    pub fn name(&self, node: NodeIx) -> &NodeId {
        &self.books.nodes.all[node.0 as usize].id
    }

    /// The class of tasks of this shape. It is kept until [`Cluster::retire`].
    ///
    /// # Errors
    /// If the shape cannot be placed by anyone: see [`Shape::check`].
    pub fn class(&mut self, shape: &Shape) -> Result<ClassId, BadShape> {
        shape.check()?;
        Ok(ClassId(self.books.admit(shape)))
    }

    /// No more tasks of this class will come: it is forgotten when its last one is released. Asking
    /// for the same shape before that brings it back.
    pub fn retire(&mut self, class: ClassId) {
        self.books.classes[class.0].retired = true;
        self.dismiss_if_empty(class.0);
    }

    /// The shape of a class.
    ///
    /// # Panics
    /// If the class has been forgotten.
    pub fn shape(&self, class: ClassId) -> &Shape {
        self.books.classes.key(class.0)
    }

    /// How many tasks of a class are on a node.
    pub fn count(&self, class: ClassId, node: NodeIx) -> u32 {
        self.books.classes[class.0].places.at(node.0)
    }

    /// How many tasks of a class are on nodes.
    pub fn total(&self, class: ClassId) -> u64 {
        self.books.classes[class.0].places.total()
    }

    /// How many nodes have a record.
    pub fn nodes(&self) -> usize {
        self.books.nodes.known().count()
    }

    /// A task of this class is on this node, as the store says: it is not asked whether it fits.
    pub fn assign(&mut self, class: ClassId, node: NodeIx) {
        self.books.put(class.0, node.0);
    }

    /// A task of this class is no longer on this node. Says whether there was one.
    pub fn release(&mut self, class: ClassId, node: NodeIx) -> bool {
        let there = self.books.take(class.0, node.0);
        if there {
            self.forget_if_empty(node.0);
            if self.books.classes[class.0].retired {
                self.dismiss_if_empty(class.0);
            }
        }
        there
    }

    /// So many tasks of this class have failed on this node lately. Whoever counts lets the number
    /// decay, and says so again; 0 forgets.
    pub fn set_failures(&mut self, class: ClassId, node: NodeIx, count: f64) {
        // The cast saturates; no number of failures is below 0.
        let hundredths = (count * 100.0) as u32;
        let kind = &mut self.books.classes[class.0];
        if hundredths == 0 {
            kind.failures.remove(&node.0);
        } else {
            kind.failures.insert(node.0, hundredths);
        }
        let relations = &self.books.relations.all;
        if kind.scope_with(|id| relations.key(id).key).personal != kind.scope.personal {
            self.books.rescope(class.0);
        }
        self.books.note(node.0);
    }

    /// The best node for a task, which is counted there from now on; none if there is no place.
    pub fn try_place(&mut self, class: ClassId, ask: Ask) -> Option<Placed> {
        let ClassId(at) = class;
        let (view, layout) = self.views.of(&mut self.books, at);
        let books = &self.books;
        let kind = &books.classes[at];
        let outlook = books.outlook(kind, ask, (view, layout), &mut self.partitions);
        let (node, rank) = books.best(kind, &outlook, (view, layout))?;
        let partition = match outlook {
            Outlook::Mine(mine, _) => Some(mine),
            _ => None,
        };
        self.books.put(at, node);
        Some(Placed { node: NodeIx(node), score: Score::of(rank), partition })
    }

    /// The best node for a task, which is counted there from now on.
    ///
    /// # Errors
    /// Why there is none, node by node. To find that out all nodes are looked at: who does not want
    /// to know asks [`Cluster::try_place`].
    pub fn place(&mut self, class: ClassId, ask: Ask) -> Result<Placed, Box<Rejections>> {
        match self.try_place(class, ask) {
            Some(placed) => Ok(placed),
            None => Err(Box::new(self.rejections(class, ask))),
        }
    }

    /// Places tasks with these indexes one after another, until one has no place.
    pub fn place_many(&mut self, class: ClassId, indexes: &[u32]) -> Vec<Placed> {
        let mut placed = Vec::with_capacity(indexes.len());
        for (at, &index) in indexes.iter().enumerate() {
            let rest = u32::try_from(indexes.len() - at).unwrap_or(u32::MAX);
            match self.try_place(class, Ask { index, rest }) {
                Some(one) => placed.push(one),
                None => break,
            }
        }
        placed
    }

    fn forget_if_empty(&mut self, at: u32) {
        let node = &self.books.nodes.all[at as usize];
        if node.record.is_some() || !node.residents.is_empty() {
            return;
        }
        let ids: Vec<u32> = self.books.classes.ids().collect();
        for class in ids {
            if self.books.classes[class].failures.remove(&at).is_some() {
                self.books.rescope(class);
            }
        }
        self.books.nodes.forget(at);
    }

    fn dismiss_if_empty(&mut self, class: u32) {
        if self.books.classes[class].places.total() == 0 {
            if self.books.classes[class].has_own_view {
                self.views.drop_own(self.books.classes.serial(class));
            }
            self.books.dismiss(class);
        }
    }
}
