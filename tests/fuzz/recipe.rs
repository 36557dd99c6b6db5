//! What a fuzzer of a store works on: a string of bytes that says which specimen to take, and how
//! to hurt it.
//!
//! **The problem.** A fuzzer that is given whole files changes a byte that some checksum covers,
//! and learns what a wrong checksum leads to. And files are long: it would change zeros all day.
//!
//! **The idea.** A store is taken apart into *pieces* (pages, blocks, records), a recipe changes a
//! few bytes of a few pieces, and the store is put together again with checksums that fit. Pieces
//! stand in *layers*, which whoever takes the store apart gives a meaning; in the last one the
//! pieces are whole files, and nothing is made to fit afterwards.
//!
//! ```text
//!   ┌────────────┬────────┬────────┬─ ...
//!   │ 1 specimen │ change │ change │         a change that is cut short does not count
//!   └────────────┴────────┴────────┴─ ...
//!
//!   change    1 kind + 8 * layer │ 2 piece │ 2 place │ what the kind needs:
//!
//!     0 set      1 len, bytes               written over what is there
//!     1 number   1 which                    one that has made trouble somewhere before
//!     2 copy     2 piece, 2 place, 2 len    from anywhere
//!     3 fill     1 byte, 2 len
//!     4 cut                                 at the place
//!     5 insert   1 len, bytes
//!     6 flip     1 mask
//!     7 point    2 piece                    to another piece, as the format points to it
//! ```
//!
//! Any bytes are a recipe: a number that is too large counts modulo what there is.

use rand::{Rng, RngExt};

/// More changes than this are not made.
const CHANGES_MAX: usize = 64;
const KINDS: u8 = 8;
/// Layers that a recipe can speak of.
pub(crate) const LAYERS: u8 = 4;

const NUMBERS: [u64; 32] = [
    0,
    1,
    2,
    3,
    8,
    19,
    33,
    0x7f,
    0x80,
    0xff,
    0x100,
    4095,
    4096,
    8192,
    0x7fff,
    0x8000,
    0x8010,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    (1 << 48) - 1,
    (1 << 56) - 1,
    1 << 56,
    (1 << 62) - 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Some bytes of a store that have one checksum.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// It keeps its length, whatever is cut from it or put into it.
    pub(crate) rigid: bool,
    /// A recipe has changed it.
    pub(crate) changed: bool,
}

impl Piece {
    pub(crate) fn rigid(bytes: &[u8]) -> Piece {
        Piece { bytes: bytes.to_vec(), rigid: true, changed: false }
    }

    pub(crate) fn loose(bytes: &[u8]) -> Piece {
        Piece { bytes: bytes.to_vec(), rigid: false, changed: false }
    }

    fn overwrite(&mut self, place: usize, bytes: &[u8]) {
        let len = bytes.len().min(self.bytes.len() - place);
        self.bytes[place..place + len].copy_from_slice(&bytes[..len]);
        self.changed = true;
    }

    fn splice(&mut self, place: usize, bytes: &[u8], rest: &[u8]) {
        let len = self.bytes.len();
        self.bytes.truncate(place);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(rest);
        if self.rigid {
            self.bytes.resize(len, 0);
        }
        self.changed = true;
    }
}

/// A recipe, read.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) specimen: usize,
    changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone)]
struct Change {
    layer: u8,
    piece: usize,
    place: usize,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Set(Vec<u8>),
    Number { number: u64, width: usize },
    Copy { piece: usize, place: usize, len: usize },
    Fill { byte: u8, len: usize },
    Cut,
    Insert(Vec<u8>),
    Flip(u8),
    Point(usize),
}

/// Takes numbers from the front of a recipe.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    fn word(&mut self) -> Option<usize> {
        let bytes = self.bytes(2)?;
        Some(usize::from(bytes[0]) | usize::from(bytes[1]) << 8)
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let len = self.byte()?;
        Some(self.bytes(usize::from(len))?.to_vec())
    }

    fn change(&mut self) -> Option<Change> {
        let head = self.byte()?;
        let layer = head / KINDS % LAYERS;
        let (piece, place) = (self.word()?, self.word()?);
        let what = match head % KINDS {
            0 => What::Set(self.string()?),
            1 => {
                let which = self.byte()?;
                let number = NUMBERS[usize::from(which) % NUMBERS.len()];
                What::Number { number, width: 1 << (usize::from(which) / NUMBERS.len() % 4) }
            }
            2 => What::Copy { piece: self.word()?, place: self.word()?, len: self.word()? },
            3 => What::Fill { byte: self.byte()?, len: self.word()? },
            4 => What::Cut,
            5 => What::Insert(self.string()?),
            6 => What::Flip(self.byte()?.max(1)),
            _ => What::Point(self.word()?),
        };
        Some(Change { layer, piece, place, what })
    }
}

/// A place in so many bytes, or their end.
fn within(place: usize, len: usize) -> usize {
    // Two bytes cannot name every place in a large piece: steps, then.
    place * (1 + (len >> 16)) % (len + 1)
}

impl Recipe {
    pub(crate) fn read(input: &[u8]) -> Recipe {
        let mut input = Input(input);
        let specimen = usize::from(input.byte().unwrap_or(0));
        let changes = std::iter::from_fn(|| input.change()).take(CHANGES_MAX).collect();
        Recipe { specimen, changes }
    }

    /// Makes the changes of some layers. `pointer` says how the format points to a piece.
    pub(crate) fn apply(
        &self,
        layers: std::ops::Range<u8>,
        pieces: &mut [Piece],
        pointer: impl Fn(usize) -> Vec<u8>,
    ) {
        for change in self.changes.iter().filter(|change| layers.contains(&change.layer)) {
            change.apply(pieces, &pointer);
        }
    }
}

impl Change {
    fn apply(&self, pieces: &mut [Piece], pointer: &impl Fn(usize) -> Vec<u8>) {
        let count = pieces.len();
        if count == 0 {
            return;
        }
        let from = |piece: usize, place: usize, len: usize| {
            let source = &pieces[piece % count].bytes;
            let start = within(place, source.len());
            source[start..source.len().min(start.saturating_add(len))].to_vec()
        };
        let copied = match self.what {
            What::Copy { piece, place, len } => from(piece, place, len),
            What::Cut | What::Insert(_) => from(self.piece, self.place, usize::MAX),
            _ => Vec::new(),
        };
        let piece = &mut pieces[self.piece % count];
        let place = within(self.place, piece.bytes.len());
        match &self.what {
            What::Set(bytes) => piece.overwrite(place, bytes),
            What::Number { number, width } => {
                piece.overwrite(place, &number.to_le_bytes()[..*width]);
            }
            What::Copy { .. } => piece.overwrite(place, &copied),
            What::Fill { byte, len } => piece.overwrite(place, &vec![*byte; *len]),
            What::Cut => piece.splice(place, &[], &[]),
            What::Insert(bytes) => piece.splice(place, bytes, &copied),
            What::Flip(mask) => {
                let old = piece.bytes.get(place).copied().unwrap_or(0);
                piece.overwrite(place, &[old ^ mask]);
            }
            What::Point(to) => piece.overwrite(place, &pointer(to % count)),
        }
    }
}

/// Adds a change to a recipe.
pub(crate) fn grow(recipe: &mut Vec<u8>, rng: &mut impl Rng) {
    if recipe.is_empty() {
        recipe.push(rng.random());
    }
    // Most damage that matters is damage that a checksum vouches for.
    let layer = [0, 0, 0, 1, 1, 2, 2, 3][rng.random_range(0..8)];
    let kind = [0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 7][rng.random_range(0..13)];
    recipe.push(kind + KINDS * layer);
    // Fields crowd at the front.
    let place = if rng.random_bool(0.5) { rng.random_range(0..80) } else { rng.random::<u16>() };
    recipe.extend(rng.random::<u16>().to_le_bytes());
    recipe.extend(place.to_le_bytes());
    match kind {
        0 | 5 => {
            let len = rng.random_range(0..20);
            recipe.push(len);
            recipe.extend((0..len).map(|_| rng.random::<u8>()));
        }
        1 => recipe.push(rng.random()),
        2 => {
            recipe.extend(rng.random::<u16>().to_le_bytes());
            recipe.extend(rng.random_range(0..5000_u16).to_le_bytes());
            recipe.extend(rng.random_range(0..5000_u16).to_le_bytes());
        }
        3 => {
            recipe.push([0, 0xff, rng.random()][rng.random_range(0..3)]);
            recipe.extend(rng.random_range(0..300_u16).to_le_bytes());
        }
        4 => {}
        6 => recipe.push(1 << rng.random_range(0..8)),
        _ => recipe.extend(rng.random::<u16>().to_le_bytes()),
    }
}

/// A recipe of a few changes.
pub(crate) fn draw(rng: &mut impl Rng) -> Vec<u8> {
    let mut recipe = vec![rng.random()];
    for _ in 0..rng.random_range(1..=4) {
        grow(&mut recipe, rng);
    }
    recipe
}
