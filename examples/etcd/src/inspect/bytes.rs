//! Keys and values: for people, and for programs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// As etcd's JSON has them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// In quotes, with everything escaped that is not text; no more than `max` bytes, and then how many
/// there are.
pub(crate) fn quoted(bytes: &[u8], max: usize) -> String {
    let shown = &bytes[..bytes.len().min(max)];
    let text = match std::str::from_utf8(shown) {
        Ok(text) => escaped(text),
        // Cut within a character.
        Err(error) if error.error_len().is_none() && shown.len() < bytes.len() => {
            escaped(&String::from_utf8_lossy(&shown[..error.valid_up_to()]))
        }
        Err(_) => shown.escape_ascii().to_string(),
    };
    let rest = bytes.len() - shown.len();
    if rest == 0 { format!("\"{text}\"") } else { format!("\"{text}\"… ({} bytes)", bytes.len()) }
}

fn escaped(text: &str) -> String {
    // A quote within a pair of quotes is what must not stand alone; the other kind may.
    text.chars()
        .flat_map(|c| if c == '\'' { vec![c] } else { c.escape_debug().collect() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // A key that ends the line, or the quotes, makes an entry that was never there.
    #[test]
    fn nothing_leaves_its_quotes() {
        let check = |bytes: &[u8], max: usize, text: &str| assert_eq!(quoted(bytes, max), text);
        check(b"a/b", 9, r#""a/b""#);
        check(b"a\"\n\0'", 9, r#""a\"\n\0'""#);
        check("größe".as_bytes(), 99, "\"größe\"");
        check("größe".as_bytes(), 3, "\"gr\"… (7 bytes)");
        check(&[0xff, 0xfe, b'x'], 9, r#""\xff\xfex""#);
        check(&[7; 1000], 2, "\"\\u{7}\\u{7}\"… (1000 bytes)");
        assert_eq!(base64(b"foo"), "Zm9v");
    }
}
