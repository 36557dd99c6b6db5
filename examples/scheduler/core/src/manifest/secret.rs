//! Bytes that nobody may print.

/// The value of a key of a secret. It has no `Debug`, `Display` or `Serialize`, so it cannot slip
/// into a log or a message; whoever needs the bytes says [`SecretBytes::expose`], which is easy to
/// search for.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Box<[u8]>);

impl SecretBytes {
    /// Takes them in.
    pub fn new(bytes: Vec<u8>) -> SecretBytes {
        SecretBytes(bytes.into())
    }

    /// The bytes themselves: to be sealed, or put into a container.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
