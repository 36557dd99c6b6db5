//! Gathers the entries of one block.

use super::{COUNT_MAX, DIFFERENT, HEAD_BYTES, LONG, WIDE, common_bytes};
use crate::key::{InternalKey, Kind};

/// Gathers the entries of one block, then of the next; its buffers are used again.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    marks: Vec<u8>,
    rows: Vec<Row>,
    /// Whole keys and values, one after the other.
    bytes: Vec<u8>,
}

/// One entry.
#[derive(Debug, Clone, Copy)]
struct Row {
    seq: u64,
    kind: Kind,
    key_len: u16,
    /// Where its value ends in `bytes`.
    end: u32,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() == COUNT_MAX
    }

    /// About the size of the block as it stands.
    pub(crate) fn bytes(&self) -> usize {
        // A mark, an offset, and a trailer of as many bytes as numbers mostly differ in.
        HEAD_BYTES + self.bytes.len() + self.rows.len() * 6
    }

    /// Appends an entry, whose key must come after the last one's.
    pub(crate) fn add(&mut self, key: InternalKey<'_>, mark: u8, value: &[u8]) {
        assert!(!self.is_full(), "a block has a limited number of entries");
        self.bytes.extend_from_slice(key.user);
        self.bytes.extend_from_slice(value);
        self.marks.push(mark);
        self.rows.push(Row {
            seq: key.seq.0,
            kind: key.kind,
            key_len: u16::try_from(key.user.len()).expect("keys are bounded by KEY_BYTES_MAX"),
            end: u32::try_from(self.bytes.len()).expect("a block is smaller than 4 GiB"),
        });
    }

    /// What all keys begin with: as they are sorted, what the first and the last do.
    fn prefix(&self) -> usize {
        let (first, last) = (self.rows[0], self.rows[self.rows.len() - 1]);
        let last_start = self.rows.iter().rev().nth(1).map_or(0, |row| row.end as usize);
        let first_key = &self.bytes[..usize::from(first.key_len)];
        let last_key = &self.bytes[last_start..][..usize::from(last.key_len)];
        common_bytes(first_key, last_key)
    }

    /// Writes the block to `out`, which is emptied first, and begins another.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        assert!(!self.is_empty(), "a block has entries");
        let prefix = self.prefix();
        let first_len = self.rows[0].key_len;
        let alike = self.rows.iter().all(|row| row.key_len == first_len);
        let suffix = first_len - prefix as u16;
        let suffix = if alike && suffix != DIFFERENT { suffix } else { DIFFERENT };
        let seq_base = self.rows.iter().map(|row| row.seq).min().expect("there are entries");
        let all = self.rows.iter().fold(0, |all, row| all | packed(*row, seq_base));
        let trailer_bytes = (64 - all.leading_zeros()).div_ceil(8) as usize;
        // Up to three more bytes for each length.
        let wide = self.bytes.len() + 3 * self.rows.len() > usize::from(u16::MAX);

        out.clear();
        out.extend_from_slice(&(self.rows.len() as u16).to_le_bytes());
        out.extend_from_slice(&(prefix as u16).to_le_bytes());
        out.extend_from_slice(&suffix.to_le_bytes());
        let widths = trailer_bytes as u16 | if wide { WIDE } else { 0 };
        out.extend_from_slice(&widths.to_le_bytes());
        out.extend_from_slice(&seq_base.to_le_bytes());
        out.extend_from_slice(&self.marks);
        out.extend_from_slice(&self.bytes[..prefix]);
        for row in &self.rows {
            out.extend_from_slice(&packed(*row, seq_base).to_le_bytes()[..trailer_bytes]);
        }
        let offset_bytes = if wide { 4 } else { 2 };
        let mut offset_at = out.len();
        let entries = offset_at + (self.rows.len() + 1) * offset_bytes;
        out.resize(entries, 0);
        let mut start = 0;
        for row in &self.rows {
            let offset = (out.len() - entries) as u32;
            out[offset_at..][..offset_bytes].copy_from_slice(&offset.to_le_bytes()[..offset_bytes]);
            offset_at += offset_bytes;
            if suffix == DIFFERENT {
                put_len(out, row.key_len - prefix as u16);
            }
            out.extend_from_slice(&self.bytes[start + prefix..row.end as usize]);
            start = row.end as usize;
        }
        let end = (out.len() - entries) as u32;
        out[offset_at..][..offset_bytes].copy_from_slice(&end.to_le_bytes()[..offset_bytes]);

        self.marks.clear();
        self.rows.clear();
        self.bytes.clear();
    }
}

fn packed(row: Row, seq_base: u64) -> u64 {
    let kind = match row.kind {
        Kind::Put => 0,
        Kind::Delete => 1,
        Kind::Merge => 2,
    };
    ((row.seq - seq_base) << 2) | kind
}

fn put_len(out: &mut Vec<u8>, len: u16) {
    match u8::try_from(len) {
        Ok(short) if short != LONG => out.push(short),
        _ => {
            out.push(LONG);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
}
