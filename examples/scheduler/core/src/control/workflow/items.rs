//! What a node is done for, once each.

use serde_json::Value;

use super::text;
use crate::spec::Items;

/// So many items a node may have.
pub const FANOUT_MAX: usize = 1_000;

/// The items of a node.
///
/// # Errors
/// Says what does not read, which tag has no value, or that there are too many.
pub(super) fn expand(
    items: &Items,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Value>, String> {
    let all = match items {
        Items::List(all) => {
            let mut all = Value::Array(all.clone());
            text::render_all(&mut all, lookup)?;
            let Value::Array(all) = all else { return Err("no list".to_owned()) };
            all
        }
        Items::Param(param) => {
            let rendered = text::render(param, lookup)?;
            match serde_json::from_str(&rendered) {
                Ok(Value::Array(all)) => all,
                _ => return Err(format!("`{}` is no JSON list", cut(&rendered))),
            }
        }
        Items::Sequence { count, start, end, format } => {
            let number = |field: &str, text: &Option<String>| match text {
                None => Ok(None),
                Some(text) => {
                    let text = text::render(text, lookup)?;
                    let parsed = text.trim().parse::<i64>();
                    parsed.map(Some).map_err(|_| format!("{field}: `{}` is no number", cut(&text)))
                }
            };
            let (count, end) = (number("count", count)?, number("end", end)?);
            let start = number("start", start)?.unwrap_or(0);
            let format = format.as_deref().map(|format| text::render(format, lookup));
            sequence(count, start, end, format.transpose()?.as_deref())?
        }
    };
    match all.len() <= FANOUT_MAX {
        true => Ok(all),
        false => Err(format!("{} items, and {FANOUT_MAX} are the most", all.len())),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

fn sequence(
    count: Option<i64>,
    start: i64,
    end: Option<i64>,
    format: Option<&str>,
) -> Result<Vec<Value>, String> {
    let (count, step) = match (count, end) {
        (Some(count), None) => (i128::from(count).max(0), 1),
        // Down, if the end is below the start.
        (None, Some(end)) => {
            let span = i128::from(end) - i128::from(start);
            (span.abs() + 1, if span < 0 { -1 } else { 1 })
        }
        _ => return Err("a sequence has a count or an end, and not both".to_owned()),
    };
    if count > FANOUT_MAX as i128 {
        return Err(format!("{count} items, and {FANOUT_MAX} are the most"));
    }
    let format = format.map(Format::parse).transpose()?;
    let numbers = (0..count).map(|n| i128::from(start) + n * step);
    Ok(numbers
        .map(|number| {
            let plain = || number.to_string();
            Value::String(format.as_ref().map_or_else(plain, |format| format.write(number)))
        })
        .collect())
}

/// `a%03xb`: what printf does with one whole number.
pub(super) struct Format {
    before: String,
    zeros: bool,
    width: usize,
    radix: char,
    after: String,
}

impl Format {
    /// Reads it.
    ///
    /// # Errors
    /// Says that it is none.
    pub(super) fn parse(text: &str) -> Result<Format, String> {
        let bad = || format!("`{}` is no format of a number, as `%03d` is", cut(text));
        // `%%` is a percent sign.
        let escaped = text.replace("%%", "\u{0}");
        let (before, rest) = escaped.split_once('%').ok_or_else(bad)?;
        let digits = rest.find(|next: char| !next.is_ascii_digit()).ok_or_else(bad)?;
        let (width, rest) = rest.split_at(digits);
        let radix = rest.chars().next().filter(|radix| "dxXo".contains(*radix)).ok_or_else(bad)?;
        let after = &rest[1..];
        if after.contains('%') {
            return Err(bad());
        }
        let width_number = if width.is_empty() { Ok(0) } else { width.parse::<usize>() };
        let width_number = width_number.ok().filter(|&width| width <= 40).ok_or_else(bad)?;
        Ok(Format {
            before: before.replace('\u{0}', "%"),
            zeros: width.starts_with('0'),
            width: width_number,
            radix,
            after: after.replace('\u{0}', "%"),
        })
    }

    fn write(&self, number: i128) -> String {
        let size = number.unsigned_abs();
        let digits = match self.radix {
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'o' => format!("{size:o}"),
            _ => size.to_string(),
        };
        let sign = if number < 0 { "-" } else { "" };
        let pad = self.width.saturating_sub(digits.len() + sign.len());
        let number = match self.zeros {
            true => format!("{sign}{}{digits}", "0".repeat(pad)),
            false => format!("{}{sign}{digits}", " ".repeat(pad)),
        };
        format!("{}{number}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: &Items, expected: Result<&str, &str>) {
        let found = expand(items, &|tag| match tag {
            "inputs.parameters.list" => Some(r#"["a",1,{"k":"v"}]"#.to_owned()),
            "inputs.parameters.n" => Some("3".to_owned()),
            _ => None,
        });
        let found = found.map(|all| Value::Array(all).to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{items:?}");
    }

    fn counted(
        count: Option<&str>,
        start: Option<&str>,
        end: Option<&str>,
        format: Option<&str>,
    ) -> Items {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let (count, start, end) = (own(count), own(start), own(end));
        Items::Sequence { count, start, end, format: own(format) }
    }

    /// Lists come from the manifest, or from what another node printed.
    #[test]
    fn lists_are_read_and_filled_in() {
        let list = vec![Value::from("x{{inputs.parameters.n}}"), Value::from(2)];
        check(&Items::List(list), Ok(r#"["x3",2]"#));
        let param = Items::Param("{{inputs.parameters.list}}".to_owned());
        check(&param, Ok(r#"["a",1,{"k":"v"}]"#));
        check(&Items::Param("{}".to_owned()), Err("`{}` is no JSON list"));
        check(&Items::Param("[1,".to_owned()), Err("`[1,` is no JSON list"));
        let many = Items::List(vec![Value::Null; FANOUT_MAX + 1]);
        check(&many, Err("1001 items, and 1000 are the most"));
    }

    /// Numbers as printf writes them, up and down, and never without end.
    #[test]
    fn sequences_count_and_format() {
        check(&counted(Some("3"), None, None, None), Ok(r#"["0","1","2"]"#));
        let n = Some("{{inputs.parameters.n}}");
        check(&counted(None, Some("1"), n, Some("u%02X%%")), Ok(r#"["u01%","u02%","u03%"]"#));
        check(&counted(None, Some("1"), Some("-1"), Some("%3d")), Ok(r#"["  1","  0"," -1"]"#));
        check(&counted(Some("0"), None, None, None), Ok("[]"));
        check(&counted(Some("-5"), None, None, None), Ok("[]"));
        let far = "1000001 items, and 1000 are the most";
        check(&counted(None, None, Some("1000000"), None), Err(far));
        let (lo, hi) = (i64::MIN.to_string(), i64::MAX.to_string());
        let all = "18446744073709551616 items, and 1000 are the most";
        check(&counted(None, Some(&lo), Some(&hi), None), Err(all));
        check(
            &counted(None, None, None, None),
            Err("a sequence has a count or an end, and not both"),
        );
        check(&counted(Some("x"), None, None, None), Err("count: `x` is no number"));
        for bad in ["", "x", "%", "%s", "%d%d", "%999999999d"] {
            let why = format!("`{bad}` is no format of a number, as `%03d` is");
            check(&counted(Some("1"), None, None, Some(bad)), Err(&why));
        }
    }
}
