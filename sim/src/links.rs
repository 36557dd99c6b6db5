//! What each link does to messages: one usual link, and what differs from it.
//!
//! ```text
//!     said of this very link?  ──►  a spell of bad links, and this one not spared?  ──►  the usual
//! ```

use crate::cuts::Among;
use crate::link::Link;
use crate::pairs::{Pair, PairMap};
use crate::sides::Sides;
use crate::types::NodeId;

/// The links between a number of nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    usual: Link,
    spell: Option<Spell>,
    own: PairMap<Link>,
}

/// A time in which links are not as usual.
#[derive(Debug, Clone)]
struct Spell {
    link: Link,
    /// Between whom they are.
    spared: Sides,
}

impl Links {
    /// Makes room for more nodes, whose links are the usual one.
    pub(crate) fn grow(&mut self, nodes: usize) {
        if let Some(spell) = &mut self.spell {
            spell.spared.grow(nodes);
        }
    }

    pub(crate) fn usual(&self) -> &Link {
        &self.usual
    }

    /// The link between two nodes.
    #[inline]
    pub(crate) fn get(&self, from: NodeId, to: NodeId) -> &Link {
        if self.own.is_empty() && self.spell.is_none() {
            return &self.usual;
        }
        if let Some(link) = self.own.get(&Pair::new(from, to)) {
            return link;
        }
        let spell = self.spell.as_ref().filter(|spell| !spell.spared.reaches(from, to));
        spell.map_or(&self.usual, |spell| &spell.link)
    }

    pub(crate) fn set(&mut self, from: NodeId, to: NodeId, link: Link) {
        if self.spell.is_none() && link == self.usual {
            self.own.remove(&Pair::new(from, to));
        } else {
            self.own.insert(Pair::new(from, to), link);
        }
    }

    /// Sets all links, and those of nodes to come.
    pub(crate) fn set_all(&mut self, link: Link) {
        *self = Links { usual: link, spell: None, own: PairMap::default() };
    }

    /// Sets all links of `nodes` nodes but those between two that are `spared`.
    pub(crate) fn begin_spell(&mut self, nodes: usize, spared: &[NodeId], link: Link) {
        self.end_spell(spared);
        let mut sides = Sides::apart(nodes);
        sides.join(spared.iter().copied());
        self.spell = Some(Spell { link, spared: sides });
    }

    /// Makes all links the usual one but those between two that are `spared`. Of those a spell
    /// leaves nothing, as it began with them spared too.
    pub(crate) fn end_spell(&mut self, spared: &[NodeId]) {
        let among = Among::new(spared);
        self.own.retain(|pair, _| among.has(*pair));
        self.spell = None;
    }

    /// Makes all links between two of `nodes` the usual one.
    pub(crate) fn join(&mut self, nodes: &[NodeId]) {
        let among = Among::new(nodes);
        self.own.retain(|pair, _| !among.has(*pair));
        if let Some(spell) = &mut self.spell {
            spell.spared.join(nodes.iter().copied());
        }
    }
}
