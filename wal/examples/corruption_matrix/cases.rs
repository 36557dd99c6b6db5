//! The matrix: every kind of damage, in both states, with what must become of it and why.
//!
//! The first rows are those that the peers have been put through; theirs were measured earlier, the
//! same way: 1000 puts, each synced, the process killed or the store closed, the file edited,
//! opened again with defaults.

use drystone_wal::{Damage, Lsn};

use super::lab::{HEADER_BYTES, Lab, Outcome, Patient, RECORDS, Shape, State, load, place, store};
use State::{Closed, Killed};

/// Whose outcomes stand in [`Row::peers`], in this order.
pub(crate) const PEERS: [&str; 4] = ["RocksDB 7.8.3", "fjall 3.1", "redb 4.4", "LMDB 0.9 (heed)"];

/// One kind of damage to a log left in one state.
pub(crate) struct Row {
    pub(crate) damage: &'static str,
    pub(crate) state: State,
    pub(crate) shape: Shape,
    /// What the opener knows to have been durable.
    pub(crate) min_lsn: u64,
    pub(crate) hurt: fn(&Lab, &Patient),
    /// What must become of it.
    pub(crate) expected: Outcome,
    /// Why that is right.
    pub(crate) why: &'static str,
    /// What became of the peers' stores, if they have been measured.
    pub(crate) peers: Option<[&'static str; 4]>,
}

/// A row to fill in.
fn row(damage: &'static str, state: State, hurt: fn(&Lab, &Patient), expected: Outcome) -> Row {
    let why = match &expected {
        Outcome::Refuses { .. } => "acknowledged, so refused",
        Outcome::Opens { records: RECORDS, .. } => "nothing is lost",
        Outcome::Opens { .. } => "cannot be told from a write that was never finished",
    };
    Row { damage, state, shape: Shape::One, min_lsn: 0, hurt, expected, why, peers: None }
}

impl Row {
    fn four(self) -> Row {
        Row { shape: Shape::Four, ..self }
    }

    fn knowing(self, min_lsn: u64) -> Row {
        Row { min_lsn, ..self }
    }

    fn why(self, why: &'static str) -> Row {
        Row { why, ..self }
    }

    fn peers(self, peers: [&'static str; 4]) -> Row {
        Row { peers: Some(peers), ..self }
    }
}

fn opens(records: u64, says: &str) -> Outcome {
    Outcome::Opens { records, says: says.into() }
}

/// Refused for record `record` of a log of one file; a salvage brings all but `lost` back.
fn refuses(record: u64, reason: Damage, lost: &str) -> Outcome {
    let (offset, good, lost) = (place(record), record - 1, lost.into());
    Outcome::Refuses { file: 1, offset, record, reason, good, lost }
}

/// Refused for a whole file.
fn blames(file: u64, record: u64, reason: Damage, good: u64, lost: &str) -> Outcome {
    Outcome::Refuses { file, offset: 0, record, reason, good, lost: lost.into() }
}

/// Inverts a bit within a record's payload, in a log of one file.
fn flip(patient: &Patient, lsn: u64) {
    patient.edit(1, |bytes| bytes[place(lsn) as usize + 100] ^= 0x10);
}

fn rot_length(patient: &Patient, lsn: u64) {
    patient.edit(1, |bytes| bytes[place(lsn) as usize..][..4].fill(0xff));
}

fn flip_500(_: &Lab, patient: &Patient) {
    flip(patient, 500);
}

fn flip_last(_: &Lab, patient: &Patient) {
    flip(patient, RECORDS);
}

fn zero_page(_: &Lab, patient: &Patient) {
    let page = place(500) as usize / 4096 * 4096;
    patient.edit(1, |bytes| bytes[page..page + 4096].fill(0));
}

fn truncate(_: &Lab, patient: &Patient) {
    patient.edit(1, |bytes| bytes.truncate(place(500) as usize + 90));
}

/// The cases that the peers have been through.
pub(crate) fn shared() -> Vec<Row> {
    use Damage::{Checksum, FileEnds};
    // The zeroed page holds the end of record 491 and all up to record 512.
    let page = || refuses(491, Checksum, "491-512");
    vec![
        row("one bit flipped in mid-log", Killed, flip_500, refuses(500, Checksum, "500")).peers([
            "opens, **500 silently gone**",
            "refuses, no salvage",
            "refuses, nothing readable",
            "**wrong value**",
        ]),
        row("one bit flipped in mid-log", Closed, flip_500, refuses(500, Checksum, "500")).peers([
            "error (right)",
            "not isolated",
            "**wrong value**",
            "**wrong value**",
        ]),
        row("4 KiB zeroed in mid-log", Killed, zero_page, page()).peers([
            "**511 silently gone**",
            "**508 silently gone**",
            "refuses",
            "957 read errors",
        ]),
        row("4 KiB zeroed in mid-log", Closed, zero_page, page()).peers([
            "errors (right)",
            "errors (right)",
            "**panic**",
            "read errors",
        ]),
        row("last record's bytes wrong", Killed, flip_last, opens(999, "cut 190 bytes at 195904"))
            .peers([
                "1 lost, opens (right)",
                "**refuses to open**",
                "1 lost, opens",
                "**wrong value**",
            ]),
        row("last record's bytes wrong", Closed, flip_last, refuses(1000, Checksum, "1000")),
        row("file truncated", Killed, truncate, refuses(500, FileEnds, "500-1000")).peers([
            "log: 500 gone",
            "log: 500 gone",
            "refuses (right)",
            "**SIGBUS**",
        ]),
        row("file truncated", Closed, truncate, refuses(500, FileEnds, "500-1000")),
    ]
}

/// Damage to frames and lengths of a log in one file.
pub(crate) fn frames() -> Vec<Row> {
    use Damage::{Checksum, FileEnds, FrameHeader, Sequence, Zeros};
    let mut rows = Vec::new();
    let mut both = |damage, hurt: fn(&Lab, &Patient), killed, closed| {
        rows.push(row(damage, Killed, hurt, killed));
        rows.push(row(damage, Closed, hurt, closed));
    };
    let the_same = |outcome: Outcome| (outcome.clone(), outcome);
    let (killed, closed) = the_same(refuses(999, Checksum, "999"));
    both("last record but one flipped", |_, p| flip(p, 999), killed, closed);
    let zeroed: fn(&Lab, &Patient) =
        |_, p| p.edit(1, |bytes| bytes[place(1000) as usize..][..192].fill(0));
    let killed = opens(999, "nothing cut, not closed");
    both("last record zeroed", zeroed, killed, refuses(1000, Zeros, "1000"));
    let (killed, closed) = the_same(refuses(500, FileEnds, "500"));
    both("length field rots in mid-log", |_, p| rot_length(p, 500), killed, closed);
    let killed = opens(999, "cut 190 bytes at 195904");
    both(
        "length field of the last record rots",
        |_, p| rot_length(p, 1000),
        killed,
        refuses(1000, FileEnds, "1000"),
    );
    let kind: fn(&Lab, &Patient) = |_, p| p.edit(1, |bytes| bytes[place(500) as usize + 11] = 0xff);
    let (killed, closed) = the_same(refuses(500, FrameHeader, "500"));
    both("kind field rots in mid-log", kind, killed, closed);
    let misdirected: fn(&Lab, &Patient) = |_, p| {
        p.edit(1, |bytes| {
            bytes.copy_within(place(300) as usize..place(301) as usize, place(500) as usize);
        });
    };
    let (killed, closed) = the_same(refuses(500, Sequence, "500"));
    both("a sound frame written to the wrong place", misdirected, killed, closed);
    let boundary: fn(&Lab, &Patient) = |_, p| p.edit(1, |b| b.truncate(place(501) as usize));
    let (killed, closed) = the_same(refuses(501, FileEnds, "501-1000"));
    both("file truncated at a record's end", boundary, killed, closed);
    let behind: fn(&Lab, &Patient) = |_, p| p.edit(1, |bytes| bytes.truncate(500_000));
    let (killed, closed) = the_same(opens(1000, "500000 of 1048576 bytes, made whole"));
    both("file truncated behind the log's end", behind, killed, closed);
    let garbage: fn(&Lab, &Patient) = |_, p| {
        p.edit(1, |bytes| {
            let end = place(1001) as usize + 16;
            (0..5000_usize).for_each(|i| bytes[end + i] = (i * 31 % 251) as u8 | 1);
        });
    };
    let cut = opens(1000, "cut 5016 bytes at 196096");
    both("garbage behind the log's end", garbage, cut, opens(1000, "nothing cut, closed"));
    rows
}

/// Damage to headers and whole files.
pub(crate) fn files() -> Vec<Row> {
    use Damage::{EndsEarly, FileEnds, Header, Misplaced, SegmentMissing};
    let mut rows = Vec::new();
    let mut both = |damage, hurt: fn(&Lab, &Patient), outcome: Outcome| {
        rows.push(row(damage, Killed, hurt, outcome.clone()).four());
        rows.push(row(damage, Closed, hurt, outcome).four());
    };
    // Files of 64 KiB hold 319 records each: 1 to 319, 320 to 638, 639 to 957, 958 on.
    let missing = |file, record, good, lost| blames(file, record, SegmentMissing, good, lost);
    both("newest file removed", |_, p| p.remove(4), missing(4, 958, 957, "958-1000"));
    both("middle file removed", |_, p| p.remove(2), missing(2, 320, 319, "320-638"));
    both("oldest file removed", |_, p| p.remove(1), missing(1, 0, 0, "1-319"));
    both(
        "bit flipped in a header",
        |_, p| p.edit(2, |bytes| bytes[40] ^= 2),
        blames(2, 0, Header, 1000, "none"),
    );
    both(
        "header zeroed",
        |_, p| p.edit(4, |bytes| bytes[..HEADER_BYTES as usize].fill(0)),
        blames(4, 0, Header, 1000, "none"),
    );
    both(
        "file of another log in a file's place",
        |lab, p| store(&p.path(2), &lab.stranger(2)),
        blames(2, 320, Misplaced, 319, "320-638"),
    );
    both(
        "two files swapped",
        |_, p| {
            let (two, three) = (load(&p.path(2)), load(&p.path(3)));
            store(&p.path(2), &three);
            store(&p.path(3), &two);
        },
        blames(2, 0, Misplaced, 1000, "none"),
    );
    both(
        "older file truncated",
        |_, p| p.edit(2, |bytes| bytes.truncate(HEADER_BYTES as usize + 10 * 192)),
        Outcome::Refuses {
            file: 2,
            offset: HEADER_BYTES + 10 * 192,
            record: 330,
            reason: FileEnds,
            good: 329,
            lost: "330-638".into(),
        },
    );
    both(
        "newest file emptied",
        |_, p| p.edit(4, Vec::clear),
        blames(4, 0, Header, 957, "958-1000"),
    );
    let stale: fn(&Lab, &Patient) = |_, p| {
        let old = load(&p.path(2));
        p.edit(4, |bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).expect("it has frames") + 1;
            let (end, stop) = (end.next_multiple_of(8), bytes.len());
            bytes[end..].copy_from_slice(&old[end..stop]);
        });
    };
    let stale = |state, says: &str| {
        row("old frames of a recycled file behind the log's end", state, stale, opens(1000, says))
            .four()
            .why("they fail this file's seed")
    };
    rows.push(stale(Killed, "cut 53004 bytes at 12352"));
    rows.push(stale(Closed, "nothing cut, closed"));
    let vanish: fn(&Lab, &Patient) = |_, p| (1..=4).for_each(|n| p.remove(n));
    let early = EndsEarly { found: Lsn::NONE, expected: Lsn(RECORDS) };
    let known = blames(0, 1, early, 0, "1-1000");
    rows.push(
        row("all files removed, 1000 known", Killed, vanish, known.clone()).four().knowing(RECORDS),
    );
    rows.push(row("all files removed, 1000 known", Closed, vanish, known).four().knowing(RECORDS));
    let torn = EndsEarly { found: Lsn(999), expected: Lsn(RECORDS) };
    let known = refuses(1000, torn, "1000");
    rows.push(
        row("last record's bytes wrong, 1000 known", Killed, flip_last, known).knowing(RECORDS),
    );
    rows
}

/// Every row there is.
pub(crate) fn all() -> Vec<Row> {
    shared().into_iter().chain(frames()).chain(files()).collect()
}

/// One row as a line of a table, given what became of it.
pub(crate) fn line(row: &Row, found: &Outcome) -> String {
    let state = if row.state == Killed { "killed" } else { "closed" };
    let right = if *found == row.expected { "yes" } else { "**NO**" };
    let (what, says) = match found {
        Outcome::Opens { records, says } => (format!("opens, {records} records"), says.clone()),
        Outcome::Refuses { file, offset, record, reason, good, lost } => {
            let file = if *file == 0 { "directory".into() } else { format!("file {file}") };
            let record = if *record == 0 { String::new() } else { format!(", record {record}") };
            let says = format!("{file}, byte {offset}{record}: {reason}");
            (format!("refuses; salvage: 1-{good} good, lost: {lost}"), says)
        }
    };
    let what = what.replace("1-0 good", "none good");
    format!("| {} | {state} | {what} | {says} | {right}: {} |", row.damage, row.why)
}
