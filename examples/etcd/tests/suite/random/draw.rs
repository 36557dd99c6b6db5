//! Choices made of bytes, one after another; zeros when there are no more.

/// Random bytes, from the front.
pub(super) struct Draw<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl<'b> Draw<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Draw<'b> {
        Draw { bytes: bytes.iter() }
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    /// A number below `max`, which is at most 256.
    pub(super) fn below(&mut self, max: i64) -> i64 {
        i64::from(self.byte()) * max / 256
    }

    /// The same of a protocol's enumeration.
    pub(super) fn number(&mut self, max: i64) -> i32 {
        i32::try_from(self.below(max)).expect("at most 256")
    }

    /// Whether something happens that does in so many of a hundred cases.
    pub(super) fn chance(&mut self, percent: u8) -> bool {
        self.below(100) >= 100 - i64::from(percent)
    }

    /// One of several.
    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let count = i64::try_from(choices.len()).expect("a handful");
        choices[usize::try_from(self.below(count)).expect("below the count")]
    }
}
