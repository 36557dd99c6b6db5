//! A log's directory as one string of bytes, which is what a fuzzer works on.
//!
//! ```text
//!     ┌────────────────── a file ──────────────────┐┌─ the next ─ ...
//!      1 name   1 form   4 len   4 zeros   len bytes, then zeros
//! ```
//!
//! Any bytes mean some directory: numbers that are too large are cut to what is there, and the last
//! file of one name counts. The form says what is done to the bytes on the way: a header may be
//! given without its zeros, and checksums may be made to fit, for no fuzzer would guess them.

use std::collections::BTreeMap;

use super::layout::{HEADER_BYTES, fix_frames, fix_header, header_field};

const FORM_SHORT_HEADER: u8 = 1;
const FORM_FIX_HEADER: u8 = 2;
const FORM_FIX_FRAMES: u8 = 4;

/// Bytes of a header that are not always zero.
const HEADER_USED_BYTES: usize = header_field(super::layout::HEADER_FIELDS);
const ENTRY_BYTES: usize = 10;
/// Zeros are cheap to ask for; this is all that a directory gets.
const ZEROS_MAX: usize = 256 << 10;
const FILES_MAX: usize = 64;

/// The files of a log, by [`name`].
pub(crate) type Folder = BTreeMap<u8, Vec<u8>>;

/// The name that a number stands for: segments mostly, and the two temporary files.
pub(crate) fn name(number: u8) -> String {
    let segment = match number {
        0 => return "cut.tmp".to_owned(),
        1 => return "spare.tmp".to_owned(),
        252 => 1 << 32,
        253 => 1 << 63,
        254 => u64::MAX - 1,
        255 => u64::MAX,
        small => u64::from(small) - 1,
    };
    format!("{segment:016x}.wal")
}

/// The inverse of [`name`], for the names a log of a few segments has.
pub(crate) fn number(name: &str) -> Option<u8> {
    (0..=251).find(|number| self::name(*number) == name)
}

pub(crate) fn bytes(folder: &Folder) -> usize {
    folder.values().map(Vec::len).sum()
}

pub(crate) fn encode(folder: &Folder) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, file) in folder {
        let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let zeros = file.len() - used;
        let rest = file.get(HEADER_USED_BYTES..HEADER_BYTES.min(used));
        let short = used >= HEADER_BYTES && rest.is_some_and(|rest| rest.iter().all(|b| *b == 0));
        let (head, body) = match short {
            true => (&file[..HEADER_USED_BYTES], &file[HEADER_BYTES..used]),
            false => (&file[..0], &file[..used]),
        };
        out.extend([*name, if short { FORM_SHORT_HEADER } else { 0 }]);
        out.extend(((head.len() + body.len()) as u32).to_le_bytes());
        out.extend((zeros as u32).to_le_bytes());
        out.extend(head);
        out.extend(body);
    }
    out
}

pub(crate) fn decode(mut input: &[u8]) -> Folder {
    let mut folder = Folder::new();
    let mut zeros_left = ZEROS_MAX;
    for _ in 0..FILES_MAX {
        let Some((entry, rest)) = input.split_at_checked(ENTRY_BYTES) else { break };
        let (name, form) = (entry[0], entry[1]);
        let len = super::layout::word(entry, 2) as usize;
        let zeros = (super::layout::word(entry, 6) as usize).min(zeros_left);
        zeros_left -= zeros;
        let (given, after) = rest.split_at(len.min(rest.len()));
        input = after;
        let mut file = given.to_vec();
        if form & FORM_SHORT_HEADER != 0 && file.len() >= HEADER_USED_BYTES {
            let body = file.split_off(HEADER_USED_BYTES);
            file.resize(HEADER_BYTES, 0);
            file.extend(body);
        }
        file.resize(file.len() + zeros, 0);
        if form & FORM_FIX_HEADER != 0 {
            fix_header(&mut file);
        }
        if form & FORM_FIX_FRAMES != 0 && file.len() >= HEADER_BYTES {
            fix_frames(&mut file);
        }
        folder.insert(name, file);
    }
    folder
}
