//! What a node of a graph waits for: `a && (b.Failed || !c.Succeeded)`.

use super::super::problem::shown;

/// An expression over siblings, taken apart.
pub(in super::super) struct Depends<'a> {
    names: Vec<&'a str>,
}

/// How a node may have ended.
const ENDS: [&str; 7] =
    ["Succeeded", "Failed", "Errored", "Skipped", "Omitted", "AnySucceeded", "AllFailed"];

impl<'a> Depends<'a> {
    /// Takes it apart. There is no tree to build and no depth to fear: whether an operand or an
    /// operator comes next, and how many brackets are open, is all that must be known.
    pub(in super::super) fn parse(text: &'a str) -> Result<Depends<'a>, String> {
        let bad = |why: &str| Err(format!("{} is no expression over nodes: {why}", shown(text)));
        let (mut names, mut open, mut operand, mut rest) = (Vec::new(), 0_usize, true, text);
        loop {
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { break };
            let word = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            match first {
                '(' if operand => open += 1,
                '!' if operand => {}
                ')' if !operand && open > 0 => open -= 1,
                '&' | '|' if !operand => {
                    let Some(tail) = rest.strip_prefix("&&").or(rest.strip_prefix("||")) else {
                        return bad("write && or ||");
                    };
                    (operand, rest) = (true, tail);
                    continue;
                }
                letter if operand && word(letter) => {
                    let end = rest.find(|letter| !word(letter)).unwrap_or(rest.len());
                    let (name, tail) = rest.split_at(end);
                    let (name, how) = name.split_once('.').unwrap_or((name, "Succeeded"));
                    if !ENDS.contains(&how) {
                        return bad(&format!("a node ends as one of {}", ENDS.join(", ")));
                    }
                    names.push(name);
                    (operand, rest) = (false, tail);
                    continue;
                }
                _ if operand => {
                    return bad("the name of a node must stand where it ends or breaks");
                }
                _ => return bad("&& or || must stand between nodes"),
            }
            rest = &rest[1..];
        }
        match (operand, open) {
            (true, _) => bad("it ends where the name of a node must stand"),
            (false, 0) => Ok(Depends { names }),
            (false, _) => bad("a bracket is not closed"),
        }
    }

    /// The nodes in it.
    pub(in super::super) fn names(&self) -> &[&'a str] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half an expression would be a node that waits for half of what it needs.
    #[test]
    fn expressions_are_taken_apart_whole() {
        let names = |text: &str| Depends::parse(text).map(|depends| depends.names().join(" "));
        assert_eq!(names("a").unwrap(), "a");
        assert_eq!(names("a && (b.Failed||!c-1.Succeeded)").unwrap(), "a b c-1");
        assert!(names(&"(".repeat(100_000)).is_err());
        let deep = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(names(&deep).unwrap(), "a");
        for text in
            ["", "a b", "a &&", "&& a", "a & b", "(a", "a)", "a.Great", "!", "a !b", "ä", "a.b.c"]
        {
            assert!(names(text).is_err(), "{text}");
        }
    }
}
