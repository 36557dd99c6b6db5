//! Damage with an eye for the format.
//!
//! *Plain* damage is what disks, people and bugs do: bits flip, ranges become zeros or garbage,
//! files are cut, lost, swapped, copied. Every byte of a sound frame that it leaves is one that
//! somebody wrote. *Forgery* makes the checksums fit afterwards, so that what lies behind them is
//! reached: lengths, positions, watermarks and kinds that no writer would have written.

use rand::{Rng, RngExt};

use super::corpus::Corpus;
use super::folder::Folder;
use super::layout::{
    FRAME_HEAD_BYTES, HEADER_BYTES, HEADER_FIELDS, fix_frame, fix_frames, fix_header, frame_bytes,
    frames, header_field, long, word,
};

const GARBAGE_BYTES_MAX: usize = 12_000;

/// Changes the directory a few times. `true` if checksums were forged.
pub(crate) fn mutate(folder: &mut Folder, corpus: &Corpus, rng: &mut impl Rng) -> bool {
    if rng.random_bool(0.5) {
        trim(folder, rng);
    }
    let mut forged = false;
    for _ in 0..rng.random_range(1..=4) {
        match rng.random_range(0..100) {
            0..50 => damage(folder, corpus, rng),
            50..62 => shuffle(folder, corpus, rng),
            _ => {
                forge(folder, rng);
                forged = true;
            }
        }
    }
    forged
}

/// Shortens the zeros at the files' ends, for speed, and to have ends in odd places.
fn trim(folder: &mut Folder, rng: &mut impl Rng) {
    for file in folder.values_mut() {
        let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        file.truncate(used + rng.random_range(0..100));
    }
}

fn pick<'a>(folder: &'a mut Folder, rng: &mut impl Rng) -> Option<&'a mut Vec<u8>> {
    let count = folder.len();
    (count > 0).then(|| rng.random_range(0..count)).and_then(|i| folder.values_mut().nth(i))
}

/// A place worth hurting: in the header, at a frame, or anywhere.
fn place(file: &[u8], rng: &mut impl Rng) -> usize {
    let frames = frames(file);
    let at = match rng.random_range(0..4) {
        0 => rng.random_range(0..header_field(HEADER_FIELDS)),
        1 | 2 if !frames.is_empty() => {
            let frame = frames[rng.random_range(0..frames.len())];
            frame + rng.random_range(0..24)
        }
        _ => rng.random_range(0..=file.len()),
    };
    at.min(file.len().saturating_sub(1))
}

fn damage(folder: &mut Folder, corpus: &Corpus, rng: &mut impl Rng) {
    // Another file of the same log, or of any.
    let own = pick(folder, rng).filter(|_| rng.random_bool(0.5)).cloned();
    let donor = own.unwrap_or_else(|| some_file(corpus, rng));
    let Some(file) = pick(folder, rng).filter(|file| !file.is_empty()) else { return };
    let at = place(file, rng);
    let len = [1, 8, 16, 100, 512, 5000][rng.random_range(0..6)];
    let end = (at + rng.random_range(1..=len)).min(file.len());
    match rng.random_range(0..12) {
        0 | 1 => file[at] ^= 1 << rng.random_range(0..8),
        2 => file[at..end].fill(0),
        3 => rng.fill(&mut file[at..end]),
        4 => file[at..end].fill(0xff),
        5 => file.truncate(at),
        6 => file.resize(file.len() + len, 0),
        7 => {
            let old = file.len();
            file.resize(old + len, 0);
            rng.fill(&mut file[old..]);
        }
        8 => {
            let to = place(file, rng).min(file.len() - (end - at));
            file.copy_within(at..end, to);
        }
        9 => {
            let (at, end) = (at.min(donor.len()), end.min(donor.len()));
            file[at..end].copy_from_slice(&donor[at..end]);
        }
        10 => move_frames(file, rng),
        _ => {
            let end = end.max((at + 3000).min(file.len()));
            plant_heads(file, at, end, rng);
        }
    }
}

fn some_file(corpus: &Corpus, rng: &mut impl Rng) -> Vec<u8> {
    let seed = &corpus.seeds[rng.random_range(0..corpus.seeds.len())];
    let files: Vec<&Vec<u8>> = seed.folder.values().collect();
    files[rng.random_range(0..files.len())].clone()
}

/// Takes a frame away, or doubles it; the ones behind it move.
fn move_frames(file: &mut Vec<u8>, rng: &mut impl Rng) {
    let frames = frames(file);
    if frames.is_empty() {
        return;
    }
    let at = frames[rng.random_range(0..frames.len())];
    let bytes = frame_bytes(file, at).expect("listed above");
    if rng.random_bool(0.5) {
        file.drain(at..at + bytes);
    } else {
        let frame = file[at..at + bytes].to_vec();
        file.splice(at..at, frame);
    }
}

/// Fills a range with what could be frame heads that testify, as a hostile record might: each of
/// them begs for its checksum to be computed.
fn plant_heads(file: &mut [u8], at: usize, end: usize, rng: &mut impl Rng) {
    let Some(last) = frames(file).pop() else { return };
    let lsn = word(file, last + 8) & 0x0fff_ffff;
    let at = at.max(HEADER_BYTES).next_multiple_of(8);
    let len = [8, 5000, (file.len() / 2) as u32][rng.random_range(0..3)];
    let step = [8, 16, 24][rng.random_range(0..3)];
    let kind = rng.random_range(1..=5_u32);
    for head in (at..end.saturating_sub(FRAME_HEAD_BYTES)).step_by(step) {
        file[head..head + 4].copy_from_slice(&len.to_le_bytes());
        file[head + 8..head + 12].copy_from_slice(&(kind << 28 | (lsn + 1)).to_le_bytes());
        file[head + 12..head + 16].fill(0);
    }
}

/// What people and lost directory entries do.
fn shuffle(folder: &mut Folder, corpus: &Corpus, rng: &mut impl Rng) {
    let name = match rng.random_range(0..10) {
        0 => 0,
        1 => 1,
        2 => rng.random_range(250..=255),
        _ => rng.random_range(2..10),
    };
    let names: Vec<u8> = folder.keys().copied().collect();
    let victim = (!names.is_empty()).then(|| names[rng.random_range(0..names.len())]);
    match (rng.random_range(0..6), victim) {
        (0, Some(victim)) => drop(folder.remove(&victim)),
        (1, Some(victim)) => {
            let file = folder.remove(&victim).expect("it is there");
            folder.insert(name, file);
        }
        (2, Some(victim)) => {
            let file = folder[&victim].clone();
            folder.insert(name, file);
        }
        (3, _) => {
            let mut file = vec![0; rng.random_range(0..GARBAGE_BYTES_MAX)];
            rng.fill(&mut file[..]);
            folder.insert(name, file);
        }
        (4, Some(victim)) => drop(folder.insert(victim, some_file(corpus, rng))),
        _ => drop(folder.insert(name, some_file(corpus, rng))),
    }
}

/// A number that has caused trouble somewhere before.
fn awkward(old: u64, rng: &mut impl Rng) -> u64 {
    match rng.random_range(0..14) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - 1,
        4 => 1 << 63,
        5 => 1 << 32,
        6 => 1 << 28,
        7 => HEADER_BYTES as u64,
        8 => old.wrapping_add(1),
        9 => old.wrapping_sub(1),
        10 => old ^ 1 << rng.random_range(0..64),
        11 => old.wrapping_mul(2),
        12 => rng.random_range(0..40_000),
        _ => rng.random(),
    }
}

/// Changes what only a writer could have changed, and makes the checksums fit.
fn forge(folder: &mut Folder, rng: &mut impl Rng) {
    let Some(file) = pick(folder, rng).filter(|file| file.len() > HEADER_BYTES) else { return };
    match rng.random_range(0..10) {
        0..4 => {
            let at = header_field(rng.random_range(0..HEADER_FIELDS));
            let value = awkward(long(file, at), rng);
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
            fix_header(file);
            // The frames' checksums depend on two of the fields.
            if rng.random_bool(0.7) {
                fix_frames(file);
            }
        }
        4..8 => forge_frame(file, rng),
        _ => append_frame(file, rng),
    }
}

fn forge_frame(file: &mut [u8], rng: &mut impl Rng) {
    let frames = frames(file);
    if frames.is_empty() {
        return;
    }
    let at = frames[rng.random_range(0..frames.len())];
    let (field, mask) = [(0, 0), (8, 0), (8, 28), (12, 0), (16, 0)][rng.random_range(0..5)];
    if at + field + 4 <= file.len() {
        let old = word(file, at + field);
        let new = match mask {
            // The kind alone.
            28 => old & 0x0fff_ffff | rng.random_range(0..8) << 28,
            _ => awkward(u64::from(old), rng) as u32,
        };
        file[at + field..at + field + 4].copy_from_slice(&new.to_le_bytes());
    }
    fix_frame(file, at);
}

/// One more frame behind the last, of any kind, with a payload that may be a segment's number.
fn append_frame(file: &mut Vec<u8>, rng: &mut impl Rng) {
    let end = frames(file).pop().and_then(|at| Some(at + frame_bytes(file, at)?));
    let (at, lsn) = match (end, frames(file).pop()) {
        (Some(end), Some(last)) => (end, word(file, last + 8) & 0x0fff_ffff),
        _ => (HEADER_BYTES, 0),
    };
    let payload = match rng.random_range(0..4) {
        0 => Vec::new(),
        1 => awkward(1, rng).to_le_bytes().to_vec(),
        2 => rng.random_range(0..6_u64).to_le_bytes().to_vec(),
        _ => vec![0x77; rng.random_range(0..300)],
    };
    let kind: u32 = rng.random_range(1..=5);
    let lsn = lsn.wrapping_add(rng.random_range(0..3)).wrapping_sub(rng.random_range(0..2));
    let mut frame = (payload.len() as u32).to_le_bytes().to_vec();
    frame.extend([0; 4]);
    frame.extend((kind << 28 | lsn & 0x0fff_ffff).to_le_bytes());
    frame.extend(rng.random_range(0..3_u32).to_le_bytes());
    frame.extend(payload);
    frame.resize(frame.len().next_multiple_of(8), 0);
    if file.len() < at + frame.len() {
        file.resize(at + frame.len(), 0);
    }
    file[at..at + frame.len()].copy_from_slice(&frame);
    fix_frame(file, at);
}
