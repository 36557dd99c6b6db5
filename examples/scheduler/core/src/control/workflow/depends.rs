//! What a node of a graph waits for: `a && (b.Failed || !c.Skipped)`.
//!
//! Nothing is decided before all that are named have ended. A name by itself means that it went
//! well: it succeeded, or was skipped; or failed, if its failure is to be gone past.

use super::NodePhase;

/// Parentheses and `!` within each other.
const DEPTH_MAX: usize = 50;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Depends {
    /// Flat, like `And`: a long line of names is no deep tree, and needs no stack.
    Or(Vec<Depends>),
    And(Vec<Depends>),
    Not(Box<Depends>),
    Node(String, Verb),
}

/// How a node should have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Well,
    Succeeded,
    Failed,
    Errored,
    Skipped,
    Omitted,
    /// Of a sidecar that serves others; there are none here, so it never holds.
    Daemoned,
    /// Of one that is done once for each of several items.
    AnySucceeded,
    /// Likewise.
    AllFailed,
}

/// How a node that is waited for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) phase: NodePhase,
    pub(super) continue_on_failed: bool,
    pub(super) any_succeeded: bool,
    pub(super) all_failed: bool,
}

impl Depends {
    /// Reads it.
    ///
    /// # Errors
    /// Says what does not read.
    pub(super) fn parse(text: &str) -> Result<Depends, String> {
        let mut parser = Parser { text, rest: text.trim_start(), depth: 0 };
        let depends = parser.or()?;
        match parser.rest.is_empty() {
            true => Ok(depends),
            false => Err(format!("`{}` was not expected in `{text}`", parser.rest)),
        }
    }

    /// The names in it.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Depends::Or(all) | Depends::And(all) => all.iter().flat_map(Depends::names).collect(),
            Depends::Not(a) => a.names(),
            Depends::Node(name, _) => vec![name],
        }
    }

    /// Whether it holds, of nodes that have all ended.
    pub(super) fn holds(&self, ended: &dyn Fn(&str) -> Ended) -> bool {
        match self {
            Depends::Or(all) => all.iter().any(|one| one.holds(ended)),
            Depends::And(all) => all.iter().all(|one| one.holds(ended)),
            Depends::Not(a) => !a.holds(ended),
            Depends::Node(name, verb) => verb.holds(ended(name)),
        }
    }
}

impl Verb {
    fn holds(self, of: Ended) -> bool {
        let failed = matches!(of.phase, NodePhase::Failed | NodePhase::Errored);
        match self {
            Verb::Well => {
                matches!(of.phase, NodePhase::Succeeded | NodePhase::Skipped)
                    || failed && of.continue_on_failed
            }
            Verb::Succeeded => of.phase == NodePhase::Succeeded,
            Verb::Failed => of.phase == NodePhase::Failed,
            Verb::Errored => of.phase == NodePhase::Errored,
            Verb::Skipped => of.phase == NodePhase::Skipped,
            Verb::Omitted => of.phase == NodePhase::Omitted,
            Verb::Daemoned => false,
            Verb::AnySucceeded => of.any_succeeded,
            Verb::AllFailed => of.all_failed,
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, sign: &str) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn or(&mut self) -> Result<Depends, String> {
        let mut all = vec![self.and()?];
        while self.take("||") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Depends::Or(all) })
    }

    fn and(&mut self) -> Result<Depends, String> {
        let mut all = vec![self.atom()?];
        while self.take("&&") {
            all.push(self.atom()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Depends::And(all) })
    }

    fn atom(&mut self) -> Result<Depends, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("it nests deeper than {DEPTH_MAX}"));
        }
        let found = if self.take("!") {
            Depends::Not(Box::new(self.atom()?))
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err("a parenthesis is not closed".to_owned());
            }
            inner
        } else {
            self.node()?
        };
        self.depth -= 1;
        Ok(found)
    }

    fn word(&mut self) -> String {
        let plain = |next: char| next.is_ascii_alphanumeric() || next == '-' || next == '_';
        let length = self.rest.find(|next| !plain(next)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word.to_owned()
    }

    fn node(&mut self) -> Result<Depends, String> {
        let name = self.word();
        if name.is_empty() {
            return Err(format!("a name is missing in `{}`", self.text));
        }
        let verb = match self.rest.strip_prefix('.') {
            None => Verb::Well,
            Some(rest) => {
                self.rest = rest;
                let word = self.word();
                match word.as_str() {
                    "Succeeded" => Verb::Succeeded,
                    "Failed" => Verb::Failed,
                    "Errored" => Verb::Errored,
                    "Skipped" => Verb::Skipped,
                    "Omitted" => Verb::Omitted,
                    "Daemoned" => Verb::Daemoned,
                    "AnySucceeded" => Verb::AnySucceeded,
                    "AllFailed" => Verb::AllFailed,
                    _ => return Err(format!("`{name}.{word}` is no way to end")),
                }
            }
        };
        self.rest = self.rest.trim_start();
        Ok(Depends::Node(name, verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(name: &str) -> Ended {
        let phase = match &name[..1] {
            "s" => NodePhase::Succeeded,
            "f" => NodePhase::Failed,
            "e" => NodePhase::Errored,
            "k" => NodePhase::Skipped,
            _ => NodePhase::Omitted,
        };
        let any_succeeded = name.ends_with("-any");
        let all_failed = name.ends_with("-all");
        let continue_on_failed = name.ends_with("-go");
        Ended { phase, continue_on_failed, any_succeeded, all_failed }
    }

    /// The words are Argo's, and so is what they mean.
    #[test]
    fn names_and_verbs_mean_what_argo_says() {
        for yes in [
            "s",
            "k",
            "s && k",
            "f || s",
            "!f",
            "f-go && e-go",
            "f.Failed",
            "e.Errored",
            "k.Skipped",
            "o.Omitted",
            "s.Succeeded && (f.Succeeded || f.Failed)",
            "!s.Daemoned",
            "s-any.AnySucceeded",
            "f-all.AllFailed",
            " ( s )&&! f ",
            "f && s || s",
        ] {
            assert!(Depends::parse(yes).unwrap().holds(&ended), "{yes}");
        }
        for no in ["f", "e", "o", "s && f", "!s", "e.Failed", "f.Errored", "s.Failed", "f && s"] {
            assert!(!Depends::parse(no).unwrap().holds(&ended), "{no}");
        }
        assert_eq!(Depends::parse("a && (b.Failed || !c)").unwrap().names(), ["a", "b", "c"]);
    }

    /// It may be as long as a manifest, and a tree as deep as it is long would overflow the stack
    /// of whoever reads it.
    #[test]
    fn a_long_line_of_names_needs_no_stack() {
        let walk = || {
            for (sign, one, last) in [("||", "f", "s"), ("&&", "s", "s")] {
                let line = format!("{}{last}", format!("{one}{sign}").repeat(50_000));
                let depends = Depends::parse(&line).unwrap();
                assert!(depends.holds(&ended));
                assert_eq!(depends.names().len(), 50_001);
            }
        };
        let small = std::thread::Builder::new().stack_size(256 << 10).spawn(walk);
        small.unwrap().join().unwrap();
    }

    /// A mistake must be told when the workflow is handed in, by what is wrong.
    #[test]
    fn what_does_not_read_says_why() {
        for (bad, why) in [
            ("", "a name is missing"),
            ("a &&", "a name is missing"),
            ("a b", "`b` was not expected"),
            ("a & b", "`& b` was not expected"),
            ("(a", "a parenthesis is not closed"),
            ("a.Finished", "`a.Finished` is no way to end"),
            ("a.", "`a.` is no way to end"),
            ("ä", "a name is missing"),
            (&"(".repeat(9_999), "it nests deeper than 50"),
            (&"!".repeat(9_999), "it nests deeper than 50"),
        ] {
            let found = Depends::parse(bad).unwrap_err();
            assert!(found.starts_with(why), "{bad:.30}: {found}");
        }
    }
}
