//! Texts with `{{…}}` in them.
//!
//! A tag names a value by a path, as `{{inputs.parameters.x}}`. Only tags that begin with a word of
//! ours are tags: `{{.Names}}` in somebody's command is theirs, and stays. What a tag becomes is
//! not looked at again, so a value cannot smuggle in another tag.

use serde_json::Value;

/// First words of tags.
const ROOTS: [&str; 10] =
    ["workflow", "inputs", "outputs", "steps", "tasks", "item", "pod", "node", "retries", "="];

/// So long a text may become: a template that calls itself with twice what it was told would else
/// use up all memory within a few calls.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Itself.
    Plain(&'a str),
    /// A tag: what is between the braces.
    Tag(&'a str),
}

/// Cuts a text at its tags.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let (mut plain, mut from) = (0, 0);
    while let Some(open) = text[from..].find("{{").map(|at| from + at) {
        let Some(close) = text[open..].find("}}").map(|at| open + at) else { break };
        let tag = text[open + 2..close].trim();
        if !is_ours(tag) {
            from = open + 2;
            continue;
        }
        if plain < open {
            found.push(Piece::Plain(&text[plain..open]));
        }
        found.push(Piece::Tag(tag));
        (plain, from) = (close + 2, close + 2);
    }
    if plain < text.len() {
        found.push(Piece::Plain(&text[plain..]));
    }
    found
}

fn is_ours(tag: &str) -> bool {
    let root = tag.split(['.', ' ']).next().unwrap_or("");
    ROOTS.contains(&root) || tag.starts_with('=')
}

/// The tags of a text.
pub(super) fn tags(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Tag(tag) => Some(tag),
        Piece::Plain(_) => None,
    })
}

/// The text with each tag replaced.
///
/// # Errors
/// Names the first tag that has no value, or with which it becomes too long.
pub(super) fn render(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => out.push_str(plain),
            Piece::Tag(tag) => match lookup(tag) {
                Some(value) if out.len() + value.len() > TEXT_BYTES_MAX => {
                    let most = TEXT_BYTES_MAX;
                    return Err(format!("with `{{{{{tag}}}}}` it is longer than {most} bytes"));
                }
                Some(value) => out.push_str(&value),
                None => return Err(format!("`{{{{{tag}}}}}` has no value")),
            },
        }
    }
    Ok(out)
}

/// All texts within a value, rendered.
///
/// # Errors
/// Names the first tag that has no value.
pub(super) fn render_all(
    value: &mut Value,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(), String> {
    match value {
        Value::String(text) => {
            if text.contains("{{") {
                *text = render(text, lookup)?;
            }
        }
        Value::Array(all) => {
            for one in all {
                render_all(one, lookup)?;
            }
        }
        Value::Object(fields) => {
            for (_, one) in fields.iter_mut() {
                render_all(one, lookup)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// A JSON value as a text: a text as itself.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let found = render(text, &|tag| match tag {
            "item" => Some("{{workflow.name}}".to_owned()),
            "inputs.parameters.x" => Some("7".to_owned()),
            _ => None,
        });
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    /// A value is data, whatever it looks like; and other people's braces are theirs.
    #[test]
    fn tags_are_replaced_once() {
        check("a {{item}} b", Ok("a {{workflow.name}} b"));
        check("{{ inputs.parameters.x }}{{inputs.parameters.x}}", Ok("77"));
        check("{{.Names}} {{inputs.parameters.x}} {{range}}", Ok("{{.Names}} 7 {{range}}"));
        check("{{ {{item}}", Ok("{{ {{workflow.name}}"));
        check("{{item", Ok("{{item"));
        check("ä{{item}}ö", Ok("ä{{workflow.name}}ö"));
        check("{{steps.a.status}}", Err("`{{steps.a.status}}` has no value"));
        check("{{=1+1}}", Err("`{{=1+1}}` has no value"));
    }
}
