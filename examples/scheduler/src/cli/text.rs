//! Text for terminals that does nothing but stand there.
//!
//! Names, messages and labels come from whoever may apply a manifest. A terminal obeys what is
//! printed to it: an escape sequence in a message can rewrite the lines above it, or the title of
//! the window. So whatever is not a container's own output goes through [`plain`] first.

use std::borrow::Cow;

/// Without anything that a terminal would obey: control characters, and those that turn the
/// direction of writing, are written out as `\u{1b}`. Tabs become spaces.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\t' => out.push(' '),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            letter if is_active(letter) => out.extend(letter.escape_unicode()),
            letter => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// As [`plain`], of text of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        out.push_str(&plain(line));
    }
    out
}

fn is_active(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever may name a job must not command the terminals of those who list it.
    #[test]
    fn a_terminal_is_given_nothing_to_obey() {
        for (text, expected) in [
            ("plain, ä, 漢", "plain, ä, 漢"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("a\tb\r\n", "a b\\r\\n"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}cod", "\\u{202e}cod"),
            ("\x07\x7f", "\\u{7}\\u{7f}"),
        ] {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(plain_lines("a\n\x1b]0;x\x07\nb"), "a\n\\u{1b}]0;x\\u{7}\nb");
    }
}
