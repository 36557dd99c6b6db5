//! Files to hurt, and how a recipe hurts them.
//!
//! | layer | pieces |
//! |---|---|
//! | 0, 1 | pages and values, of the trees and of the free map: all checksums above them fit |
//! | 2 | the two records of the meta page, and the two marks: their checksums fit |
//! | 3 | the file |

use drystone_btree::Sync;

use super::recipe::{Piece, Recipe};
use crate::forge::{Forge, record_seq, seal_mark, seal_record};
use crate::support::{PAGE, RECORD, SLOT, disk, fill, key, load, open, options, path, try_open};

/// Where the mark of a slot lies, and how long it is.
const MARK: usize = 2 * RECORD;
const MARK_BYTES: usize = 40;

/// A sound file.
#[derive(Debug)]
pub(crate) struct Specimen {
    pub(crate) name: &'static str,
    forge: Forge,
}

/// A closed database with all kinds of pages: two levels of branches, long values, several trees,
/// free pages, a free map of its own.
pub(crate) fn sound() -> Vec<u8> {
    let disk = disk();
    let db = open(&disk);
    for round in 0..2_u64 {
        let mut w = db.write().unwrap();
        for (name, count) in [("a", 150), ("b", 3), ("empty", 0)] {
            let tree = w.create_tree(name).unwrap();
            for i in 0..count {
                w.put(tree, &key(i * 3 + round), &[i as u8; 70]).unwrap();
            }
        }
        let tree = w.create_tree("long").unwrap();
        for i in 0..3 {
            w.put(tree, &key(i), &vec![i as u8; 5000 * (i as usize + 1)]).unwrap();
        }
        let tree = w.create_tree("long keys").unwrap();
        for i in 0..40 {
            let mut name = vec![b'k'; 900];
            name.extend(key(i));
            w.put(tree, &name, &[i as u8; 40]).unwrap();
        }
        w.commit().unwrap().wait().unwrap();
    }
    db.close().unwrap();
    load(&disk, &path())
}

/// A file as a kill leaves it after a few small commits, whose record lists its pages.
fn killed() -> Vec<u8> {
    let disk = disk();
    let db = open(&disk);
    fill(&db, 120);
    let bytes = load(&disk.kill_copy(), &path());
    drop(db);
    bytes
}

/// One leaf, and nothing else.
fn small() -> Vec<u8> {
    let disk = disk();
    let db = open(&disk);
    fill(&db, 5);
    db.close().unwrap();
    load(&disk, &path())
}

/// Large pages, most of them free.
fn holey() -> Vec<u8> {
    let disk = disk();
    let db = try_open(&disk, options().page_bytes(8192).sync(Sync::OnRequest)).unwrap();
    let tree = fill(&db, 300);
    db.persist().unwrap();
    for round in 0..3 {
        let mut w = db.write().unwrap();
        w.delete_range(tree, key(20 * round)..key(20 * round + 100 * round)).unwrap();
        w.put(tree, &key(7), &vec![3; 20_000]).unwrap();
        drop(w.commit().unwrap());
        db.persist().unwrap();
    }
    db.close().unwrap();
    load(&disk, &path())
}

/// All of them.
pub(crate) fn make() -> Vec<Specimen> {
    let made = [("sound", sound()), ("killed", killed()), ("small", small()), ("holey", holey())];
    made.map(|(name, bytes)| Specimen { name, forge: Forge::open(bytes) }).into()
}

/// The file that a recipe makes.
pub(crate) fn hurt(specimens: &[Specimen], recipe: &[u8]) -> Vec<u8> {
    let recipe = Recipe::read(recipe);
    let specimen = &specimens[recipe.specimen % specimens.len()];
    let mut bytes = hurt_pages(&recipe, &specimen.forge);
    let places = [(0, RECORD), (SLOT, RECORD), (MARK, MARK_BYTES), (SLOT + MARK, MARK_BYTES)];
    let mut pieces = places.map(|(at, len)| Piece::rigid(&bytes[at..at + len]));
    recipe.apply(2..3, &mut pieces, |_| Vec::new());
    for ((at, len), mut piece) in places.into_iter().zip(pieces).filter(|(_, p)| p.changed) {
        if len == RECORD {
            seal_record(&mut piece.bytes);
            bytes[at + RECORD..at + 2 * RECORD].copy_from_slice(&piece.bytes);
        } else {
            seal_mark(&mut piece.bytes);
        }
        bytes[at..at + len].copy_from_slice(&piece.bytes);
    }
    let mut file = [Piece::loose(&bytes)];
    recipe.apply(3..4, &mut file, |_| Vec::new());
    let [file] = file;
    file.bytes
}

fn hurt_pages(recipe: &Recipe, forge: &Forge) -> Vec<u8> {
    let nodes = &forge.nodes;
    let mut pieces: Vec<Piece> =
        nodes.iter().map(|node| Piece::rigid(forge.node_bytes(*node))).collect();
    recipe.apply(0..2, &mut pieces, |to| forge.pointer(nodes[to]).to_vec());
    if !pieces.iter().any(|piece| piece.changed) {
        return forge.bytes.clone();
    }
    let mut forged = forge.clone();
    for (node, piece) in nodes.iter().zip(&pieces).filter(|(_, piece)| piece.changed) {
        forged.edit(*node).copy_from_slice(&piece.bytes);
    }
    forged.seal()
}

/// Whether the file's newest record can be believed, as far as its checksum goes.
pub(crate) fn has_record(bytes: &[u8]) -> bool {
    [0, SLOT].iter().any(|at| bytes.get(*at..at + RECORD).and_then(record_seq).is_some())
}

const _: () = assert!(PAGE as usize == SLOT, "the slots lie in the first two pages");
