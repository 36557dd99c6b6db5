//! The bytes of one file in memory, in blocks that grow as they are written to.
//!
//! A log fills its segments with zeros before it needs them, for a disk's sake. In one piece of
//! memory that would cost each of these bytes twice, and moving the piece as it grows; here zeros
//! that nothing was written behind take no room, as on a disk that knows holes.

/// The bytes that one block stands for. As much as may be moved when it grows; less would make the
/// allocator ask the system for each block.
const BLOCK_BYTES: usize = 64 << 10;

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The bytes of one file.
///
/// * There are as many blocks as the length needs, none longer than [`BLOCK_BYTES`].
/// * What a block has no bytes for is zeros; so is what it has behind the length.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Vec<u8>>,
    len: usize,
}

impl Blocks {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies what there is from `start` on, and says how much that is.
    pub(super) fn read(&self, mut out: &mut [u8], start: usize) -> usize {
        let count = out.len().min(self.len.saturating_sub(start));
        out = &mut out[..count];
        let mut at = start;
        while !out.is_empty() {
            let within = at % BLOCK_BYTES;
            let piece;
            (piece, out) = out.split_at_mut((BLOCK_BYTES - within).min(out.len()));
            at += piece.len();
            let there = self.blocks[(at - 1) / BLOCK_BYTES].get(within..).unwrap_or_default();
            let (head, zeros) = piece.split_at_mut(there.len().min(piece.len()));
            head.copy_from_slice(&there[..head.len()]);
            zeros.fill(0);
        }
        count
    }

    /// Puts bytes at `start`, behind zeros if that is behind the end.
    pub(super) fn write(&mut self, mut bytes: &[u8], start: usize) {
        let end = start + bytes.len();
        if end > self.len {
            self.resize(end);
        }
        let mut at = start;
        while !bytes.is_empty() {
            let within = at % BLOCK_BYTES;
            let piece;
            (piece, bytes) = bytes.split_at((BLOCK_BYTES - within).min(bytes.len()));
            put(&mut self.blocks[at / BLOCK_BYTES], within, piece);
            at += piece.len();
        }
    }

    /// Cuts what is longer, and puts zeros behind what is shorter.
    pub(super) fn resize(&mut self, len: usize) {
        self.blocks.resize_with(len.div_ceil(BLOCK_BYTES), Vec::new);
        if len < self.len
            && let Some(last) = self.blocks.get_mut(len / BLOCK_BYTES)
        {
            last.truncate(len % BLOCK_BYTES);
        }
        self.len = len;
    }
}

/// Puts bytes into a block.
fn put(block: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if end > block.len() {
        if at >= block.len() && *bytes == ZEROS[..bytes.len()] {
            return;
        }
        block.resize(end.next_power_of_two().min(BLOCK_BYTES), 0);
    }
    block[at..end].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file is a row of bytes, wherever its blocks begin: compared with one that is.
    #[test]
    fn blocks_are_a_row_of_bytes() {
        let (mut blocks, mut row) = (Blocks::default(), Vec::new());
        let mut state = 7_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..1_000 {
            let start = draw(5 * BLOCK_BYTES);
            if draw(8) == 0 {
                blocks.resize(start);
                row.resize(start, 0);
            } else {
                let bytes = vec![draw(3) as u8; draw(2 * BLOCK_BYTES)];
                blocks.write(&bytes, start);
                row.resize(row.len().max(start + bytes.len()), 0);
                row[start..start + bytes.len()].copy_from_slice(&bytes);
            }
            let (from, mut out) = (draw(6 * BLOCK_BYTES), vec![9; draw(2 * BLOCK_BYTES)]);
            let count = blocks.read(&mut out, from);
            assert_eq!(blocks.len(), row.len());
            assert_eq!(out[..count], row[from.min(row.len())..][..count]);
            assert!(count == out.len() || from + count >= row.len());
        }
    }

    /// Segments that are filled with zeros ahead must not cost the memory that they stand for.
    #[test]
    fn zeros_take_no_room() {
        let mut blocks = Blocks::default();
        blocks.write(&vec![0; 1 << 20], 0);
        assert!(blocks.blocks.iter().all(Vec::is_empty));
        blocks.write(b"x", 5 * BLOCK_BYTES);
        assert_eq!(blocks.blocks.iter().map(Vec::len).sum::<usize>(), 1);
        assert_eq!(blocks.len(), 1 << 20);
    }
}
