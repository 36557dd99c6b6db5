//! How much a user may have, as `--user-limits` says it.
//!
//! ```text
//!   alice=requests:100/bytes:1048576/in-flight:20,*=requests:1000,?=requests:50
//!   └ user  └ a second     └ a second       └ at once  │             └ who has no name, by address
//!                                                      └ every other user, each by himself
//! ```

use std::collections::BTreeMap;

/// How much one user may have; what is not said is not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Requests a second.
    pub(super) requests: Option<u64>,
    /// Bytes of messages a second, of both directions together.
    pub(super) bytes: Option<u64>,
    /// Requests under way at once.
    pub(super) in_flight: Option<u64>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    named: BTreeMap<String, Rule>,
    /// Of a user who is not named.
    others: Option<Rule>,
    /// Of whoever has no name.
    nameless: Option<Rule>,
}

/// Nobody bounds him who has to mend things, unless by name.
const ROOT: &str = "root";
const OTHERS: &str = "*";
const NAMELESS: &str = "?";

impl Rules {
    /// Reads them; the empty text is none.
    ///
    /// # Errors
    /// What cannot be understood.
    pub(crate) fn parse(text: &str) -> Result<Rules, String> {
        let mut rules = Rules::default();
        for entry in text.split(',').filter(|entry| !entry.is_empty()) {
            let bad = |reason: &str| format!("--user-limits: {entry:?}: {reason}");
            let (name, said) =
                entry.rsplit_once('=').ok_or_else(|| bad("is not NAME=LIMIT:NUMBER/…"))?;
            let rule = rule(said).map_err(|reason| bad(&reason))?;
            let is_new = match name {
                "" => return Err(bad("has no name")),
                OTHERS => rules.others.replace(rule).is_none(),
                NAMELESS => rules.nameless.replace(rule).is_none(),
                name => rules.named.insert(name.to_owned(), rule).is_none(),
            };
            if !is_new {
                return Err(bad("is there twice"));
            }
        }
        Ok(rules)
    }

    /// Whether nobody is bounded.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Rules::default()
    }

    /// Of this user; `None` if he may have anything.
    pub(super) fn of_user(&self, name: &str) -> Option<Rule> {
        let others = || self.others.filter(|_| name != ROOT);
        self.named.get(name).copied().or_else(others)
    }

    /// Of somebody without a name.
    pub(super) fn of_nameless(&self) -> Option<Rule> {
        self.nameless
    }
}

fn rule(text: &str) -> Result<Rule, String> {
    let mut rule = Rule::default();
    for part in text.split('/') {
        let (what, number) = part.split_once(':').unwrap_or((part, ""));
        let place = match what {
            "requests" => &mut rule.requests,
            "bytes" => &mut rule.bytes,
            "in-flight" => &mut rule.in_flight,
            _ => return Err(format!("{what:?} is none of requests, bytes and in-flight")),
        };
        let number = number.parse().ok().filter(|number: &u64| *number > 0);
        let number = number.ok_or_else(|| format!("{part:?} has no number above 0"))?;
        if place.replace(number).is_some() {
            return Err(format!("{what} is there twice"));
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    // An operator who mistypes must hear of it, and not find out in the next outage.
    #[test]
    fn limits_are_read_as_they_are_written() {
        let text = "alice=requests:100/bytes:1048576/in-flight:20,*=requests:1000,?=bytes:5,\
            a=b=in-flight:1";
        let rules = Rules::parse(text).unwrap();
        let alice = Rule { requests: Some(100), bytes: Some(1 << 20), in_flight: Some(20) };
        assert_eq!(rules.of_user("alice"), Some(alice));
        let others = Rule { requests: Some(1000), ..Rule::default() };
        assert_eq!(rules.of_user("bob"), Some(others));
        assert_eq!(rules.of_user("a=b").unwrap().in_flight, Some(1));
        assert_eq!(rules.of_nameless().unwrap().bytes, Some(5));
        assert!(Rules::parse("").unwrap().is_empty());
        for bad in [
            "alice",
            "=requests:1",
            "alice=",
            "alice=requests",
            "alice=requests:0",
            "alice=speed:1",
            "alice=requests:-1",
            "alice=requests:1/requests:2",
            "a=bytes:1,a=bytes:1",
        ] {
            assert!(Rules::parse(bad).is_err(), "{bad}");
        }
    }

    // Who has to lift the limits of others must get in while they stand.
    #[test]
    fn root_is_bounded_by_name_alone() {
        assert_eq!(Rules::parse("*=requests:1").unwrap().of_user("root"), None);
        assert!(Rules::parse("root=requests:1").unwrap().of_user("root").is_some());
    }
}
