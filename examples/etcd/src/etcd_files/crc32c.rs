//! CRC-32 with Castagnoli's polynomial, which etcd's journal and its tools use.
//!
//! Eight bytes at a time, by eight tables (Kounavis and Berry, "Novel Table Lookup-Based Algorithms
//! for High-Performance CRC Generation", 2008).

const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLES: [[u32; 256]; 8] = tables();

/// A checksum that goes on over any number of pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crc32c(pub(crate) u32);

impl Crc32c {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut crc = !self.0;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let low = crc ^ u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
            crc = 0;
            for (at, byte) in low.to_le_bytes().iter().chain(&chunk[4..]).enumerate() {
                crc ^= TABLES[7 - at][usize::from(*byte)];
            }
        }
        for byte in chunks.remainder() {
            crc = (crc >> 8) ^ TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
        }
        self.0 = !crc;
    }
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    // The check value of the catalogues, however the bytes are cut.
    #[test]
    fn sum_is_castagnolis_in_one_piece_or_several() {
        let bytes = b"123456789";
        for cut in 0..=bytes.len() {
            let mut crc = Crc32c::default();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.0, 0xe306_9283, "cut at {cut}");
        }
        let mut long = Crc32c::default();
        long.update(&[0; 32]);
        assert_eq!(long.0, 0x8a91_36aa);
    }
}
