//! A value that must not be seen.

use zeroize::Zeroizing;

/// A value that must not be seen. It cannot be printed, compared, cloned or serialised, so that no
/// log line, error or panic can show it by accident; its memory is overwritten when it is dropped.
///
/// ```compile_fail
/// println!("{:?}", mason::secrets::Plain::new(b"secret".to_vec()));
/// ```
/// ```compile_fail
/// println!("{}", mason::secrets::Plain::new(b"secret".to_vec()));
/// ```
/// ```compile_fail
/// serde_json::to_string(&mason::secrets::Plain::new(b"secret".to_vec()));
/// ```
pub struct Plain(Zeroizing<Vec<u8>>);

impl Plain {
    /// Takes these bytes over. Copies that the caller has made are its own to overwrite.
    pub fn new(bytes: Vec<u8>) -> Plain {
        Plain(Zeroizing::new(bytes))
    }

    /// The value, for whoever must have it: the file or the variable of a container.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
