//! The matrix: every kind of damage, in both states, with what must become of it and why.
//!
//! The first rows are those that the peers have been put through; theirs were measured earlier, the
//! same way: 1000 puts, each synced, the process killed or the store closed, the file edited,
//! opened again with defaults.

use super::forge::{Forge, Kind, Node, put_u32, seal_record, u16_at, u32_at};
use super::lab::{Lab, Outcome, Patient, RECORDS, State, leaf_of, record, store};
use State::{Closed, Killed};

/// Whose outcomes stand in [`Row::peers`], in this order.
pub(crate) const PEERS: [&str; 2] = ["redb 4.4", "LMDB 0.9 (heed)"];

const PAGE: usize = 4096;

/// One kind of damage to a database left in one state.
pub(crate) struct Row {
    pub(crate) damage: &'static str,
    pub(crate) state: State,
    /// What the opener knows to have been durable.
    pub(crate) min_txn: u64,
    pub(crate) hurt: fn(&Lab, &Patient),
    /// What must become of it, by what the sound file looks like.
    pub(crate) expected: fn(&Forge) -> Outcome,
    /// What became of the peers' stores, if they have been measured.
    pub(crate) peers: Option<[&'static str; 2]>,
}

type Expected = fn(&Forge) -> Outcome;

/// A row to fill in.
fn row(damage: &'static str, state: State, hurt: fn(&Lab, &Patient), expected: Expected) -> Row {
    Row { damage, state, min_txn: 0, hurt, expected, peers: None }
}

/// Why that is right.
fn why(expected: &Outcome) -> &'static str {
    match expected {
        Outcome::Refuses { .. } => "acknowledged, so refused",
        Outcome::Opens { read: RECORDS, .. } => "nothing is lost",
        Outcome::Opens { gone: 0, .. } => "an error for each record that was in it",
        Outcome::Opens { .. } => "cannot be told from a commit that was never finished",
    }
}

impl Row {
    fn knowing(self, min_txn: u64) -> Row {
        Row { min_txn, ..self }
    }

    fn peers(self, peers: [&'static str; 2]) -> Row {
        Row { peers: Some(peers), ..self }
    }
}

/// Nothing is missing.
fn whole(_: &Forge) -> Outcome {
    Outcome::Opens { read: RECORDS, errors: 0, gone: 0, says: "transaction 1000".into() }
}

/// The last commit has not happened.
fn older(_: &Forge) -> Outcome {
    Outcome::Opens { read: RECORDS - 1, errors: 0, gone: 1, says: "transaction 999".into() }
}

/// What is in these pages is in doubt; the first of them is met first.
fn errors(forge: &Forge, pages: &[Node]) -> Outcome {
    let records = |node: &Node| u16_at(&forge.bytes, forge.offset(node.id) + 2) as u64;
    let is_leaf = |node: &&Node| node.kind == Kind::Leaf;
    let below = |node: &Node| if is_leaf(&node) { records(node) } else { RECORDS };
    let errors = pages.iter().map(below).sum();
    let says = format!("byte {}: page checksum does not match", forge.offset(pages[0].id));
    Outcome::Opens { read: RECORDS - errors, errors, gone: 0, says }
}

fn errors_500(forge: &Forge) -> Outcome {
    errors(forge, &[leaf_of(forge, 500)])
}

fn errors_300(forge: &Forge) -> Outcome {
    errors(forge, &[leaf_of(forge, 300)])
}

fn errors_last(forge: &Forge) -> Outcome {
    errors(forge, &[leaf_of(forge, record(RECORDS - 1))])
}

fn errors_300_and_700(forge: &Forge) -> Outcome {
    errors(forge, &[leaf_of(forge, 300), leaf_of(forge, 700)])
}

fn refuses(byte: usize, what: &str) -> Outcome {
    Outcome::Refuses { says: format!("byte {byte}: {what}") }
}

/// Neither slot counts, for the file is too short.
fn too_short(_: &Forge) -> Outcome {
    refuses(0, "no state is left: slot 0: file ends early; slot 1: file ends early")
}

fn ends_early(_: &Forge) -> Outcome {
    refuses(0, "last transaction is 999, but 1000 was durable")
}

fn page(bytes: &mut [u8], node: Node) -> &mut [u8] {
    &mut bytes[node.id as usize * PAGE..][..PAGE]
}

/// Inverts a bit of the page that a record is in.
fn flip(patient: &Patient, record: u64) {
    let leaf = leaf_of(&patient.forge(), record);
    patient.edit(|bytes| page(bytes, leaf)[2000] ^= 0x10);
}

fn flip_500(_: &Lab, patient: &Patient) {
    flip(patient, 500);
}

fn flip_last(_: &Lab, patient: &Patient) {
    flip(patient, record(RECORDS - 1));
}

fn zero_500(_: &Lab, patient: &Patient) {
    let leaf = leaf_of(&patient.forge(), 500);
    patient.edit(|bytes| page(bytes, leaf).fill(0));
}

fn truncate(_: &Lab, patient: &Patient) {
    patient.edit(|bytes| bytes.truncate(bytes.len() / 2 + 90));
}

fn zero_slot(patient: &Patient, newest: bool) {
    let slot = patient.forge().slot;
    let slot = if newest { slot } else { 1 - slot };
    patient.edit(|bytes| bytes[slot * PAGE..][..PAGE].fill(0));
}

fn zero_kind(patient: &Patient, kind: Kind) {
    let node = patient.forge().of_kind(|found| found == kind)[0];
    patient.edit(|bytes| page(bytes, node).fill(0));
}

/// A leaf that was something else a hundred transactions before: one that was written since.
fn stale_leaf(forge: &Forge) -> Node {
    let wrote = |node: &&Node| u32_at(&forge.bytes, forge.offset(node.id) + 16);
    let leaves = forge.nodes.iter().filter(|node| node.kind == Kind::Leaf);
    let last = leaf_of(forge, record(RECORDS - 1));
    let others = leaves.filter(|node| node.id != last.id);
    *others.max_by_key(wrote).expect("there are leaves")
}

/// The cases that the peers have been through.
pub(crate) fn shared() -> Vec<Row> {
    vec![
        row("one bit flipped in mid-tree", Killed, flip_500, errors_500)
            .peers(["refuses, nothing readable", "**wrong value**"]),
        row("one bit flipped in mid-tree", Closed, flip_500, errors_500)
            .peers(["**wrong value**", "**wrong value**"]),
        row("4 KiB zeroed in mid-tree", Killed, zero_500, errors_500)
            .peers(["refuses", "957 read errors"]),
        row("4 KiB zeroed in mid-tree", Closed, zero_500, errors_500)
            .peers(["**panic**", "read errors"]),
        row("a page of the last commit wrong", Killed, flip_last, older)
            .peers(["1 lost, opens", "**wrong value**"]),
        row("a page of the last commit wrong", Closed, flip_last, errors_last),
        row("file truncated", Killed, truncate, too_short).peers(["refuses (right)", "**SIGBUS**"]),
        row("file truncated", Closed, truncate, |forge| {
            refuses(forge.bytes.len() / 2 + 90, "file ends early")
        }),
    ]
}

/// Damage to pages of the tree.
pub(crate) fn pages() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut both = |damage, hurt: fn(&Lab, &Patient), killed: Expected, closed: Expected| {
        rows.push(row(damage, Killed, hurt, killed));
        rows.push(row(damage, Closed, hurt, closed));
    };
    both(
        "two pages swapped",
        |_, p| {
            let forge = p.forge();
            let (a, b) = (leaf_of(&forge, 300), leaf_of(&forge, 700));
            p.edit(|bytes| {
                let (one, two) = (page(bytes, a).to_vec(), page(bytes, b).to_vec());
                page(bytes, a).copy_from_slice(&two);
                page(bytes, b).copy_from_slice(&one);
            });
        },
        errors_300_and_700,
        errors_300_and_700,
    );
    both(
        "a page of another database in its place",
        |lab, p| {
            let leaf = leaf_of(&p.forge(), 300);
            let other = lab.other();
            p.edit(|bytes| {
                page(bytes, leaf).copy_from_slice(&other[leaf.id as usize * PAGE..][..PAGE]);
            });
        },
        errors_300,
        errors_300,
    );
    both(
        "an old version of a page in its place",
        |lab, p| {
            let (leaf, early) = (stale_leaf(&p.forge()), lab.early());
            let at = leaf.id as usize * PAGE;
            p.edit(|bytes| page(bytes, leaf).copy_from_slice(&early[at..at + PAGE]));
        },
        |forge| errors(forge, &[stale_leaf(forge)]),
        |forge| errors(forge, &[stale_leaf(forge)]),
    );
    both(
        "the root page zeroed",
        |_, p| zero_kind(p, Kind::Branch),
        older,
        |forge| errors(forge, &forge.of_kind(|kind| kind == Kind::Branch)[..1]),
    );
    both(
        "the page of the trees' names zeroed",
        |_, p| zero_kind(p, Kind::Catalog),
        older,
        |forge| {
            let names = forge.of_kind(|kind| kind == Kind::Catalog)[0];
            refuses(forge.offset(names.id), "page checksum does not match")
        },
    );
    both(
        "a free page overwritten",
        |_, p| {
            let used = p.forge().pages();
            let last = *used.last().expect("there are pages");
            let free = (2..last).find(|page| !used.contains(page)).expect("there are free ones");
            p.edit(|bytes| bytes[free as usize * PAGE..][..PAGE].fill(0x77));
        },
        whole,
        whole,
    );
    rows
}

/// Damage to the meta page, and to the file as a whole.
pub(crate) fn files() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut both = |damage, hurt: fn(&Lab, &Patient), killed: Expected, closed: Expected| {
        rows.push(row(damage, Killed, hurt, killed));
        rows.push(row(damage, Closed, hurt, closed));
    };
    both(
        "a bit flipped in the newest record",
        |_, p| {
            let slot = p.forge().slot;
            p.edit(|bytes| bytes[slot * PAGE + 50] ^= 1);
        },
        whole,
        whole,
    );
    both("the newest slot zeroed", |_, p| zero_slot(p, true), older, ends_early);
    both("the older slot zeroed", |_, p| zero_slot(p, false), whole, whole);
    let none: Expected = |_| refuses(0, "no state is left: slot 0: no record; slot 1: no record");
    both("both slots zeroed", |_, p| p.edit(|b| b[..2 * PAGE].fill(0)), none, none);
    let strangers: Expected = |_| refuses(0, "the meta page is that of two databases");
    both(
        "a slot of another database in its place",
        |lab, p| {
            let other = lab.other();
            p.edit(|bytes| bytes[PAGE..2 * PAGE].copy_from_slice(&other[PAGE..2 * PAGE]));
        },
        strangers,
        strangers,
    );
    let version: Expected =
        |_| Outcome::Refuses { says: "format version 9 is not supported".into() };
    both(
        "a record of a later version",
        |_, p| {
            let slot = p.forge().slot;
            p.edit(|bytes| {
                put_u32(bytes, slot * PAGE + 16, 9);
                seal_record(&mut bytes[slot * PAGE..][..1536]);
            });
        },
        version,
        version,
    );
    both(
        "file truncated behind the last page",
        |_, p| {
            let end = u32_at(p.forge().record(), 72);
            p.edit(|bytes| bytes.truncate(end as usize * PAGE));
        },
        whole,
        whole,
    );
    both(
        "garbage behind the file's end",
        |_, p| p.edit(|bytes| bytes.extend((0..5000_usize).map(|i| (i * 31 % 251) as u8))),
        whole,
        whole,
    );
    both("file emptied", |_, p| p.edit(Vec::clear), too_short, too_short);
    let replace: fn(&Lab, &Patient) = |lab, p| store(&p.path, &lab.early());
    let old: Expected = |_| refuses(PAGE, "last transaction is 900, but 1000 was durable");
    rows.push(row("an old copy of the file, 1000 known", Closed, replace, old).knowing(RECORDS));
    let none: Expected = |_| refuses(0, "last transaction is 0, but 1000 was durable");
    let remove: fn(&Lab, &Patient) = |_, p| p.remove();
    rows.push(row("file removed, 1000 known", Closed, remove, none).knowing(RECORDS));
    let damage = "a page of the last commit wrong, 1000 known";
    rows.push(row(damage, Killed, flip_last, ends_early).knowing(RECORDS));
    rows
}

/// Every row there is.
pub(crate) fn all() -> Vec<Row> {
    shared().into_iter().chain(pages()).chain(files()).collect()
}

/// One row as a line of a table, given what must become of it and what has.
pub(crate) fn line(row: &Row, expected: &Outcome, found: &Outcome) -> String {
    let state = if row.state == Killed { "killed" } else { "closed" };
    let right = if found == expected { "yes" } else { "**NO**" };
    let (what, says) = match found {
        Outcome::Opens { read: RECORDS, says, .. } => (format!("opens, {RECORDS} records"), says),
        Outcome::Opens { read, errors: 0, gone, says } => {
            (format!("opens, {read} records, {gone} not there"), says)
        }
        Outcome::Opens { read, errors, gone: 0, says } => {
            (format!("opens, {read} records, errors for {errors}"), says)
        }
        Outcome::Opens { read, errors, gone, says } => {
            (format!("opens, {read} records, errors for {errors}, **{gone} silently gone**"), says)
        }
        Outcome::Refuses { says } => ("refuses".into(), says),
    };
    format!("| {} | {state} | {what} | {says} | {right}: {} |", row.damage, why(expected))
}
