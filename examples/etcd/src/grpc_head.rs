//! The five bytes that gRPC puts before each message: a flag, and the length of what follows.

use bytes::Buf;

/// A head of which a part may not have come yet.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: [u8; Head::BYTES],
    filled: usize,
}

impl Head {
    pub(crate) const BYTES: usize = 5;

    /// Takes what is the head's off the front of `data`; whether it is whole.
    pub(crate) fn fill(&mut self, data: &mut impl Buf) -> bool {
        let part = data.remaining().min(Head::BYTES - self.filled);
        data.copy_to_slice(&mut self.bytes[self.filled..self.filled + part]);
        self.filled += part;
        self.is_whole()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.filled == Head::BYTES
    }

    /// 1 if the message is compressed, 0 if it is as it is.
    pub(crate) fn flag(&self) -> u8 {
        self.bytes[0]
    }

    /// How many bytes the message says that it has.
    pub(crate) fn length(&self) -> u32 {
        let [_, length @ ..] = self.bytes;
        u32::from_be_bytes(length)
    }
}
