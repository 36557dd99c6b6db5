//! The matrix: every kind of damage, in both states, with what must become of it and why.
//!
//! The first rows are those that the peers have been put through; theirs were measured earlier, the
//! same way: 1000 puts, each synced, the process killed or the store closed, the file edited,
//! opened again with defaults.

use super::lab::{Lab, Outcome, Patient, RECORDS, Shape, State, place, store};
use Shape::{Journal, Tables};
use State::{Closed, Killed};

/// Whose outcomes stand in [`Row::peers`], in this order.
pub(crate) const PEERS: [&str; 2] = ["RocksDB 7.8.3", "fjall 3.1"];

const JOURNAL: &str = "journal/0000000000000001.wal";
const MANIFEST: &str = "manifest.a/0000000000000001.wal";
/// Records 1 to 300, and 301 to 600.
const TABLES: [&str; 2] = ["0000000000000001.table", "0000000000000002.table"];

const BAD: &str = "block checksum does not match";
const SHORT: &str = "file is shorter than a footer";
const OTHER: &str = "footer is damaged or of another table";

/// One kind of damage to a database left in one state.
pub(crate) struct Row {
    pub(crate) damage: &'static str,
    pub(crate) state: State,
    pub(crate) shape: Shape,
    pub(crate) hurt: fn(&Lab, &Patient),
    /// What must become of it.
    pub(crate) expected: Outcome,
    /// Why that is right.
    pub(crate) why: &'static str,
    /// What became of the peers' stores, if they have been measured.
    pub(crate) peers: Option<[&'static str; 2]>,
}

const NOTHING_LOST: &str = "nothing is lost";
const REFUSED: &str = "acknowledged, so refused";
const UNFINISHED: &str = "cannot be told from a write that was never finished";
const CONTAINED: &str = "what cannot be read is an error, the rest is served";

/// A row to fill in.
fn row(
    damage: &'static str,
    (shape, state): (Shape, State),
    hurt: fn(&Lab, &Patient),
    expected: Outcome,
) -> Row {
    let why = match &expected {
        Outcome::Refuses { .. } => REFUSED,
        Outcome::Opens { right: RECORDS, .. } => NOTHING_LOST,
        Outcome::Opens { errors: 0, .. } => UNFINISHED,
        Outcome::Opens { .. } => CONTAINED,
    };
    Row { damage, state, shape, hurt, expected, why, peers: None }
}

/// The same in both states.
fn both(
    damage: &'static str,
    shape: Shape,
    hurt: fn(&Lab, &Patient),
    expected: &Outcome,
) -> [Row; 2] {
    [Killed, Closed].map(|state| row(damage, (shape, state), hurt, expected.clone()))
}

impl Row {
    fn peers(self, peers: [&'static str; 2]) -> Row {
        Row { peers: Some(peers), ..self }
    }
}

fn opens(right: u64) -> Outcome {
    Outcome::Opens { right, errors: 0, says: "nothing".into() }
}

fn contains(errors: u64, file: &str, offset: u64, what: &str) -> Outcome {
    let says = format!("{file}, byte {offset}: {what}");
    Outcome::Opens { right: RECORDS - errors, errors, says }
}

fn refuses(file: &str, offset: u64, what: &str) -> Outcome {
    Outcome::Refuses { file: file.into(), offset, what: what.into() }
}

/// Inverts a bit within a record's payload in the journal.
fn flip(patient: &Patient, n: u64) {
    patient.edit(JOURNAL, |bytes| bytes[place(n) as usize + 100] ^= 0x10);
}

fn zero_page(_: &Lab, patient: &Patient) {
    let page = place(500) as usize / 4096 * 4096;
    patient.edit(JOURNAL, |bytes| bytes[page..page + 4096].fill(0));
}

fn truncate(_: &Lab, patient: &Patient) {
    patient.edit(JOURNAL, |bytes| bytes.truncate(place(500) as usize + 90));
}

/// Damage to the journal, which holds everything.
fn journal() -> Vec<Row> {
    let checksum = |n| refuses(JOURNAL, place(n), "frame checksum does not match");
    let ends = || refuses(JOURNAL, place(500), "file ends early");
    let flip_500: fn(&Lab, &Patient) = |_, p| flip(p, 500);
    let flip_last: fn(&Lab, &Patient) = |_, p| flip(p, RECORDS);
    let mut rows = vec![
        row("one bit flipped in mid-journal", (Journal, Killed), flip_500, checksum(500))
            .peers(["opens, **500 silently gone**", "refuses, no salvage"]),
        row("one bit flipped in mid-journal", (Journal, Closed), flip_500, checksum(500)),
        row("4 KiB zeroed in mid-journal", (Journal, Killed), zero_page, checksum(491))
            .peers(["**511 silently gone**", "**508 silently gone**"]),
        row("4 KiB zeroed in mid-journal", (Journal, Closed), zero_page, checksum(491)),
        row("last record's bytes wrong", (Journal, Killed), flip_last, opens(999))
            .peers(["1 lost, opens (right)", "**refuses to open**"]),
        row("last record's bytes wrong", (Journal, Closed), flip_last, checksum(1000)),
        row("journal truncated", (Journal, Killed), truncate, ends())
            .peers(["500 gone", "500 gone"]),
        row("journal truncated", (Journal, Closed), truncate, ends()),
    ];
    let lost = refuses("the folder", 0, "the journal is missing");
    rows.extend(both("journal removed", Journal, |_, p| p.remove(JOURNAL), &lost));
    let foreign: fn(&Lab, &Patient) = |lab, p| store(&p.dir.join(JOURNAL), &lab.stranger(JOURNAL));
    let strange = refuses("journal", 0, "journal belongs to another database");
    rows.extend(both("journal of another database", Journal, foreign, &strange));
    let behind: fn(&Lab, &Patient) = |_, p| {
        p.edit(JOURNAL, |bytes| {
            let end = place(1001) as usize + 16;
            (0..5000_usize).for_each(|i| bytes[end + i] = (i * 31 % 251) as u8 | 1);
        });
    };
    rows.extend(both("garbage behind the journal's end", Journal, behind, &opens(1000)));
    rows
}

/// The part of a table that its footer names at `at`: filter, ranges, fences, description.
fn part(bytes: &[u8], at: usize) -> usize {
    let footer = bytes.len() - 64 + 12 * at;
    u64::from_le_bytes(*bytes[footer..].first_chunk().expect("a footer has 64 bytes")) as usize
}

/// Damage to tables, which hold the first 600 records.
fn tables() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |damage, hurt: fn(&Lab, &Patient), expected: Outcome| {
        rows.extend(both(damage, Tables, hurt, &expected));
    };
    let flip_block: fn(&Lab, &Patient) = |_, p| p.edit(TABLES[0], |bytes| bytes[9000] ^= 1);
    add("one bit flipped in a table's block", flip_block, contains(26, TABLES[0], 8777, BAD));
    let zero: fn(&Lab, &Patient) = |_, p| p.edit(TABLES[0], |bytes| bytes[8192..12288].fill(0));
    add("4 KiB zeroed in a table", zero, contains(78, TABLES[0], 6582, BAD));
    let moved: fn(&Lab, &Patient) = |_, p| p.edit(TABLES[0], |b| b.copy_within(4096..8192, 12288));
    add("a table's page written to the wrong place", moved, contains(78, TABLES[0], 10972, BAD));
    let filter: fn(&Lab, &Patient) = |_, p| {
        p.edit(TABLES[0], |bytes| {
            let at = part(bytes, 0) + 30;
            bytes[at] ^= 1;
        });
    };
    add("bit flipped in a table's filter", filter, refuses(TABLES[0], 25762, BAD));
    let fences: fn(&Lab, &Patient) = |_, p| {
        p.edit(TABLES[0], |bytes| {
            let at = part(bytes, 2) + 5;
            bytes[at] ^= 1;
        });
    };
    add("bit flipped in a table's index", fences, refuses(TABLES[0], 25923, BAD));
    let footer: fn(&Lab, &Patient) = |_, p| {
        p.edit(TABLES[0], |bytes| {
            let at = bytes.len() - 50;
            bytes[at] ^= 1;
        });
    };
    add(
        "bit flipped in a table's footer",
        footer,
        refuses(TABLES[0], 26091, "parts of the table do not fill it"),
    );
    let short: fn(&Lab, &Patient) = |_, p| p.edit(TABLES[0], |bytes| bytes.truncate(20_000));
    add("table truncated", short, refuses(TABLES[0], 19924, "file does not end as a table does"));
    add("table emptied", |_, p| p.edit(TABLES[0], Vec::clear), refuses(TABLES[0], 0, SHORT));
    add("table removed", |_, p| p.remove(TABLES[1]), refuses(TABLES[1], 0, "table is missing"));
    let swapped: fn(&Lab, &Patient) = |_, p| {
        let other = super::lab::load(&p.dir.join(TABLES[1]));
        p.edit(TABLES[0], |bytes| *bytes = other);
    };
    add("a table in another's place", swapped, refuses(TABLES[0], 26128, OTHER));
    let foreign: fn(&Lab, &Patient) =
        |lab, p| store(&p.dir.join(TABLES[0]), &lab.stranger(TABLES[0]));
    add("table of another database", foreign, refuses(TABLES[0], 26091, OTHER));
    rows
}

/// Where the bytes of the manifest end.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

/// Damage to the list of files.
fn manifest() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |damage, hurt: fn(&Lab, &Patient), killed: Outcome, closed: Outcome| {
        rows.push(row(damage, (Tables, Killed), hurt, killed));
        rows.push(row(damage, (Tables, Closed), hurt, closed));
    };
    let first: fn(&Lab, &Patient) = |_, p| p.edit(MANIFEST, |bytes| bytes[4096 + 40] ^= 1);
    let refused = refuses(MANIFEST, 4096, "frame checksum does not match");
    add("one bit flipped in the manifest", first, refused.clone(), refused);
    // The last record but the seal behind it, and the mark of a clean close.
    let last: fn(&Lab, &Patient) = |_, p| {
        p.edit(MANIFEST, |bytes| {
            let at = used(bytes) - 100;
            bytes[at] ^= 1;
        });
    };
    let refused = refuses(MANIFEST, 4672, "frame checksum does not match");
    add("last edit of the manifest wrong", last, refused.clone(), refused);
    let end: fn(&Lab, &Patient) = |_, p| {
        p.edit(MANIFEST, |bytes| {
            let at = used(bytes) - 1;
            bytes[at] ^= 1;
        });
    };
    add("last byte of the manifest wrong", end, opens(1000), opens(1000));
    let cut: fn(&Lab, &Patient) = |_, p| p.edit(MANIFEST, |bytes| bytes.truncate(4096 + 100));
    let refused = refuses(MANIFEST, 4192, "file ends early");
    add("manifest truncated", cut, refused.clone(), refused);
    let refused = refuses(TABLES[0], 0, "there is no manifest beside it");
    add("manifest removed", |_, p| p.remove(MANIFEST), refused.clone(), refused);
    rows
}

/// Every row there is.
pub(crate) fn all() -> Vec<Row> {
    journal().into_iter().chain(tables()).chain(manifest()).collect()
}

/// One row as a line of a table, given what became of it.
pub(crate) fn line(row: &Row, found: &Outcome) -> String {
    let state = if row.state == Killed { "killed" } else { "closed" };
    let right = if *found == row.expected { "yes" } else { "**NO**" };
    let (what, says) = match found {
        Outcome::Opens { right, errors: 0, says } => {
            (format!("opens, {right} records"), says.clone())
        }
        Outcome::Opens { right, errors, says } => {
            (format!("opens, {right} records, {errors} read errors"), says.clone())
        }
        Outcome::Refuses { file, offset, what } => {
            ("refuses".into(), format!("{file}, byte {offset}: {what}"))
        }
    };
    format!("| {} | {state} | {what} | {says} | {right}: {} |", row.damage, row.why)
}
