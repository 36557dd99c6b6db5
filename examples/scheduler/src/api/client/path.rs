//! Paths of requests, put together so that no name can leave its place in them.

use std::fmt::Write as _;

/// A path: words between slashes, then what follows the question mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    /// `/v1`, and these words, each in its place whatever is in it.
    pub fn of(words: &[&str]) -> Path {
        let mut path = Path { text: "/v1".to_owned(), has_query: false };
        for word in words {
            path.text.push('/');
            path.push(word);
        }
        path
    }

    /// With a further parameter.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and words alike are given so")]
    pub fn with(mut self, name: &str, value: impl ToString) -> Path {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self.text.push('=');
        self.push(&value.to_string());
        self
    }

    /// With a further parameter, if there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl ToString>) -> Path {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    self.text.push(char::from(byte));
                }
                _ => write!(self.text, "%{byte:02X}").expect("a string takes all"),
            }
        }
    }
}

impl AsRef<str> for Path {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name comes from whoever calls: it must not reach another object, or add a parameter.
    #[test]
    fn a_name_stays_in_its_place() {
        let path = Path::of(&["objects", "a/b?c", "ä"]).with("label", "x=y&z").with("n", 3);
        assert_eq!(path.as_ref(), "/v1/objects/a%2Fb%3Fc/%C3%A4?label=x%3Dy%26z&n=3");
    }
}
