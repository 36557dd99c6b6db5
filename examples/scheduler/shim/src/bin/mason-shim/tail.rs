//! The end of what a program prints, in memory: the log is cut and rotated, and this is not.

use std::collections::VecDeque;

/// The last bytes of a stream, so many at most.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes_max: usize,
    bytes: VecDeque<u8>,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Tail {
        Tail { bytes_max, bytes: VecDeque::new() }
    }

    /// More has come.
    pub(crate) fn push(&mut self, more: &[u8]) {
        let more = &more[more.len().saturating_sub(self.bytes_max)..];
        let over = (self.bytes.len() + more.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..over);
        self.bytes.extend(more);
    }

    /// All of it. A letter whose beginning is cut off is left out; what is none is replaced.
    pub(crate) fn text(&self) -> String {
        let is_middle = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let is_cut = self.bytes.len() == self.bytes_max;
        let skip = if is_cut { self.bytes.iter().take(3).take_while(is_middle).count() } else { 0 };
        let bytes: Vec<u8> = self.bytes.iter().skip(skip).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the pieces are in which it comes, the end is kept, and no more.
    #[test]
    fn the_end_is_kept_in_whole_letters() {
        let text = "abc äöü 123".as_bytes();
        for piece in 1..text.len() {
            for most in 0..=text.len() + 1 {
                let mut tail = Tail::new(most);
                text.chunks(piece).for_each(|piece| tail.push(piece));
                let from = text.len().saturating_sub(most);
                let from = (from..=text.len()).find(|&at| std::str::from_utf8(&text[at..]).is_ok());
                let expected = std::str::from_utf8(&text[from.unwrap()..]).unwrap();
                assert_eq!(tail.text(), expected, "{most} bytes, in pieces of {piece}");
            }
        }
    }
}
