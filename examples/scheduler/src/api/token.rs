//! The shared secret of a mason: who has it may do everything.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Shortest token, bytes: what is shorter can be guessed.
const BYTES_MIN: usize = 16;
/// Longest token, bytes.
const BYTES_MAX: usize = 512;

/// Why a text is no token. The text is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is {BYTES_MIN} to {BYTES_MAX} visible ASCII letters")]
pub struct BadToken;

/// A bearer token. It is not printed.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// This text; white space around it is left out, for files end with a line feed.
    ///
    /// # Errors
    /// If it is too short, too long, or cannot stand in a header.
    pub fn new(text: &str) -> Result<Token, BadToken> {
        let text = text.trim();
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || !(BYTES_MIN..=BYTES_MAX).contains(&text.len()) {
            return Err(BadToken);
        }
        Ok(Token(Zeroizing::new(text.to_owned())))
    }

    /// A new random one.
    pub fn generate() -> Token {
        let bytes: [u8; 16] = rand::random();
        Token(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The text itself: to be sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it was sent. How long the comparison takes says nothing of the token: digests are
    /// compared, all of them.
    pub fn is(&self, sent: &[u8]) -> bool {
        let (ours, theirs) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(sent));
        let differences = ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b));
        differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever guesses half of it has nothing.
    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in [&b""[..], b"0123456789abcde", b"0123456789abcdef0", b"0123456789ABCDEF"] {
            assert!(!token.is(other));
        }
        assert!(!Token::generate().is(Token::generate().expose().as_bytes()));
    }

    /// It is in the hands of whoever prints a struct.
    #[test]
    fn a_token_is_not_printed() {
        let token = Token::new("hunter2hunter2hunter2").unwrap();
        assert!(!format!("{token:?}").contains("hunter2"));
        for bad in
            ["short", "with a space in it it is none", &"x".repeat(513), "ä".repeat(20).as_str()]
        {
            assert_eq!(Token::new(bad).err(), Some(BadToken));
        }
    }
}
