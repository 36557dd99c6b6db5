//! Memory for a page that a draft writes.
//!
//! The best place to make a page is where readers will find it: then sealing needs no copy. So a
//! draft is supplied with numbers while it is made, and where the mirror has a place for one, that
//! is the memory. Elsewhere it is a box; and a draft that nobody supplies (or not in time: the
//! error is the seal's to find) has boxes without numbers, which get them when it is sealed.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::mirror::Place;
use crate::types::PageId;

/// A page's worth of memory, with anything in it.
#[derive(Debug)]
pub(crate) enum Buffer {
    /// Where the page will stay.
    Place(Place),
    /// A box, and the number its page will have, if it is known.
    Loose(Option<PageId>, Box<[u8]>),
}

/// Who gives a draft pages to write on before it is sealed.
pub(crate) trait Supply: fmt::Debug + Send + Sync {
    /// Adds buffers with numbers to `spare`, to be taken from its end; none if there are none to be
    /// had.
    fn supply(&self, spare: &mut Vec<Buffer>);
}

impl Buffer {
    pub(crate) fn new(page_bytes: usize) -> Buffer {
        Buffer::Loose(None, vec![0; page_bytes].into_boxed_slice())
    }

    /// The number that its page will have, if it is known.
    #[inline]
    pub(crate) fn id(&self) -> Option<PageId> {
        match self {
            Buffer::Place(place) => Some(place.id()),
            Buffer::Loose(id, _) => *id,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Buffer::Place(place) => place,
            Buffer::Loose(_, bytes) => bytes,
        }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Place(place) => place,
            Buffer::Loose(_, bytes) => bytes,
        }
    }
}
