//! Conditions: `{{steps.flip.outputs.result}} == heads && !({{item}} in (1, 2))`.
//!
//! A word without quotes is a number or `true` or `false` if it looks like one, and else a text. A
//! quoted one is a text. Numbers compare as numbers, texts by their bytes; a number never equals a
//! text. What a tag becomes is one value, never an operator, whatever it says: a task cannot print
//! itself past a condition. Only a condition that is a tag and nothing else is read as a condition
//! itself, so that one can be handed in as a parameter.
//!
//! ```text
//!   or   := and { "||" and }
//!   and  := not { "&&" not }
//!   not  := "!" not | cmp
//!   cmp  := atom [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "=~" | "!~") atom
//!                | "in" "(" atom { "," atom } ")" ]
//!   atom := word | quoted | "(" or ")"
//! ```

use std::cell::Cell;

use super::node::spend;
use super::text::{self, Piece};

/// Parentheses and `!` within each other.
const DEPTH_MAX: usize = 50;

/// Where the values of tags come from, and what has been spent on this walk.
#[derive(Clone, Copy)]
struct Source<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    spent: &'a Cell<u64>,
}

/// Whether a condition holds.
///
/// # Errors
/// Says what does not read, which tag has no value, or that the walk has done too much.
pub(super) fn holds(
    when: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    spent: &Cell<u64>,
) -> Result<bool, String> {
    spend(spent, when.len() as u64)?;
    let whole = text::pieces(when.trim());
    let handed_in = matches!(whole.as_slice(), [Piece::Tag(_)]);
    if handed_in {
        let inner = text::render(when.trim(), lookup)?;
        return parse(&inner)?.truth(Source { lookup: &|_| None, spent });
    }
    parse(when)?.truth(Source { lookup, spent })
}

/// Reads a condition.
///
/// # Errors
/// Says what does not read.
pub(super) fn parse(when: &str) -> Result<Expr, String> {
    let tokens = tokens(when)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) => Err(format!("{token} was not expected in `{when}`")),
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// Flat, like `And`: however many stand beside each other, a tree is no deeper than what is
    /// nested in it, so that whoever walks or drops it needs no stack for a long line.
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Compare, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Word(String),
    Quoted(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    MatchesNot,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
}

impl Expr {
    fn truth(&self, source: Source<'_>) -> Result<bool, String> {
        match self.value(source)? {
            Value::Bool(truth) => Ok(truth),
            Value::Number(number) => Err(format!("{number} is neither true nor false")),
            Value::Text(text) => Err(format!("`{text}` is neither true nor false")),
        }
    }

    fn value(&self, source: Source<'_>) -> Result<Value, String> {
        Ok(match self {
            Expr::Or(all) => Value::Bool(any(all, true, source)?),
            Expr::And(all) => Value::Bool(!any(all, false, source)?),
            Expr::Not(a) => Value::Bool(!a.truth(source)?),
            Expr::Compare(how, a, b) => {
                let (a, b) = (a.value(source)?, b.value(source)?);
                Value::Bool(compare(*how, &a, &b, source.spent)?)
            }
            Expr::In(a, all) => {
                let a = a.value(source)?;
                let mut found = false;
                for one in all {
                    found |= one.value(source)? == a;
                }
                Value::Bool(found)
            }
            Expr::Word(word) => typed(text::render(word, source.lookup)?),
            Expr::Quoted(quoted) => Value::Text(text::render(quoted, source.lookup)?),
        })
    }
}

/// Whether one of them is that; those behind it are not looked at.
fn any(all: &[Expr], wanted: bool, source: Source<'_>) -> Result<bool, String> {
    for one in all {
        if one.truth(source)? == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A number, a truth, or a text, by what it looks like.
fn typed(word: String) -> Value {
    let numeric = word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match word.parse::<f64>() {
        Ok(number) if numeric => Value::Number(number),
        _ if word == "true" => Value::Bool(true),
        _ if word == "false" => Value::Bool(false),
        _ => Value::Text(word),
    }
}

fn compare(how: Compare, a: &Value, b: &Value, spent: &Cell<u64>) -> Result<bool, String> {
    let order = match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    };
    let ordered = |wanted: &dyn Fn(std::cmp::Ordering) -> bool| {
        order.map(wanted).ok_or_else(|| format!("{} and {} have no order", show(a), show(b)))
    };
    match how {
        Compare::Equal => Ok(a == b),
        Compare::Unequal => Ok(a != b),
        Compare::Less => ordered(&std::cmp::Ordering::is_lt),
        Compare::LessOrEqual => ordered(&std::cmp::Ordering::is_le),
        Compare::Greater => ordered(&std::cmp::Ordering::is_gt),
        Compare::GreaterOrEqual => ordered(&std::cmp::Ordering::is_ge),
        Compare::Matches => matches(a, b, spent),
        Compare::MatchesNot => matches(a, b, spent).map(|found| !found),
    }
}

/// So large a pattern may become, bytes; it is tried with the smallest, which tells what it costs.
const PATTERN_BYTES_MAX: [usize; 3] = [2 << 10, 16 << 10, 256 << 10];
/// What a state of a pattern takes, bytes, about.
const STATE_BYTES: u64 = 40;

fn matches(a: &Value, b: &Value, spent: &Cell<u64>) -> Result<bool, String> {
    let (text, pattern) = (show(a), show(b));
    let mut why = String::new();
    for bytes_max in PATTERN_BYTES_MAX {
        spend(spent, bytes_max as u64)?;
        match regex_lite::RegexBuilder::new(&pattern).size_limit(bytes_max).build() {
            // This engine takes time in proportion to states and text: that is paid for, or a few
            // thousand nodes with a large pattern would hold up the leader for an hour.
            Ok(regex) => {
                let states = bytes_max as u64 / STATE_BYTES;
                spend(spent, text.len() as u64 * states / 2)?;
                return Ok(regex.is_match(&text));
            }
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!("`{pattern}` is no pattern: {why}"))
}

fn show(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Text(text) => text.clone(),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Sign(&'static str),
    Word(String),
    Quoted(String),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Sign(sign) => write!(f, "`{sign}`"),
            Token::Word(word) | Token::Quoted(word) => write!(f, "`{word}`"),
        }
    }
}

/// The longer ones first.
const SIGNS: [&str; 13] = ["==", "!=", "<=", ">=", "=~", "!~", "&&", "||", "<", ">", "!", "(", ")"];

fn tokens(when: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = when.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(sign) = SIGNS.into_iter().chain([","]).find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '\'' || first == '"' {
            let end = rest[1..].find(first).ok_or("a quote is not closed")?;
            tokens.push(Token::Quoted(rest[1..=end].to_owned()));
            rest = &rest[end + 2..];
        } else {
            let length = word_length(rest);
            if length == 0 {
                return Err(format!("`{first}` was not expected in `{when}`"));
            }
            tokens.push(Token::Word(rest[..length].to_owned()));
            rest = &rest[length..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// How far a word goes; tags within it belong to it, with all that is in them.
fn word_length(rest: &str) -> usize {
    let mut at = 0;
    while let Some(next) = rest[at..].chars().next() {
        if rest[at..].starts_with("{{")
            && let Some(close) = rest[at..].find("}}")
        {
            at += close + 2;
        } else if next.is_whitespace() || "()=!<>&|,'\"~".contains(next) {
            break;
        } else {
            at += next.len_utf8();
        }
    }
    at
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(is)) if *is == sign);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut all = vec![self.and()?];
        while self.take("||") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut all = vec![self.not()?];
        while self.take("&&") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    fn not(&mut self) -> Result<Expr, String> {
        if self.take("!") {
            self.deeper()?;
            let inner = self.not()?;
            self.depth -= 1;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.compared()
    }

    fn compared(&mut self) -> Result<Expr, String> {
        let left = self.atom()?;
        if matches!(self.peek(), Some(Token::Word(word)) if word == "in") {
            self.at += 1;
            return Ok(Expr::In(Box::new(left), self.list()?));
        }
        let how = match self.peek() {
            Some(Token::Sign("==")) => Compare::Equal,
            Some(Token::Sign("!=")) => Compare::Unequal,
            Some(Token::Sign("<")) => Compare::Less,
            Some(Token::Sign("<=")) => Compare::LessOrEqual,
            Some(Token::Sign(">")) => Compare::Greater,
            Some(Token::Sign(">=")) => Compare::GreaterOrEqual,
            Some(Token::Sign("=~")) => Compare::Matches,
            Some(Token::Sign("!~")) => Compare::MatchesNot,
            _ => return Ok(left),
        };
        self.at += 1;
        Ok(Expr::Compare(how, Box::new(left), Box::new(self.atom()?)))
    }

    fn list(&mut self) -> Result<Vec<Expr>, String> {
        if !self.take("(") {
            return Err("`in` asks for a list: `(a, b)`".to_owned());
        }
        let mut all = vec![self.atom()?];
        while self.take(",") {
            all.push(self.atom()?);
        }
        if self.take(")") { Ok(all) } else { Err("a list is not closed".to_owned()) }
    }

    fn atom(&mut self) -> Result<Expr, String> {
        if self.take("(") {
            self.deeper()?;
            let inner = self.or()?;
            self.depth -= 1;
            return match self.take(")") {
                true => Ok(inner),
                false => Err("a parenthesis is not closed".to_owned()),
            };
        }
        let expr = match self.peek() {
            Some(Token::Word(word)) => Expr::Word(word.clone()),
            Some(Token::Quoted(quoted)) => Expr::Quoted(quoted.clone()),
            Some(token) => return Err(format!("{token} was found where a value should be")),
            None => return Err("it ends where a value should be".to_owned()),
        };
        self.at += 1;
        Ok(expr)
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        match self.depth <= DEPTH_MAX {
            true => Ok(()),
            false => Err(format!("it nests deeper than {DEPTH_MAX}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(when: &str) -> Result<bool, String> {
        let lookup = |tag: &str| match tag {
            "steps.flip.outputs.result" => Some("heads".to_owned()),
            "inputs.parameters.n" => Some("10".to_owned()),
            "inputs.parameters.evil" => Some("x || true".to_owned()),
            "inputs.parameters.when" => Some("1 < 2 && a == a".to_owned()),
            "inputs.parameters.none" => Some(String::new()),
            _ => None,
        };
        holds(when, &lookup, &Cell::new(0))
    }

    /// Conditions as people write them for Argo.
    #[test]
    fn conditions_hold_as_written() {
        for yes in [
            "{{steps.flip.outputs.result}} == heads",
            "\"{{steps.flip.outputs.result}}\" == 'heads'",
            "{{inputs.parameters.n}} > 9 && {{inputs.parameters.n}} < 11",
            "{{inputs.parameters.n}} >= 10 || {{steps.nobody.status}} == x",
            "( a == a && b != c ) || (d == e)",
            "!(a == b)",
            "!false && true",
            "a < b",
            "10.0 == 1e1",
            "-1 < +1",
            "{{steps.flip.outputs.result}} =~ '^he.*s$'",
            "heads !~ tails",
            "{{steps.flip.outputs.result}} in (tails, 'heads')",
            "{{inputs.parameters.when}}",
            "{{inputs.parameters.none}} == ''",
            "v1.2-rc/{{inputs.parameters.n}} == v1.2-rc/10",
            "'5' != 5",
            "true",
        ] {
            assert_eq!(run(yes), Ok(true), "{yes}");
        }
        for no in ["a == b", "true && false", "!true", "b < a", "9 > 10", "a in (b)"] {
            assert_eq!(run(no), Ok(false), "{no}");
        }
    }

    /// What a task prints must not decide more than it is asked.
    #[test]
    fn a_value_cannot_become_an_operator() {
        assert_eq!(run("{{inputs.parameters.evil}} == y"), Ok(false));
        assert_eq!(run("'{{inputs.parameters.evil}}' == y"), Ok(false));
    }

    /// A condition that does not read is an error with a reason, never a panic or a guess.
    #[test]
    fn bad_conditions_say_why() {
        for (bad, why) in [
            ("", "it ends where a value should be"),
            ("a ==", "it ends where a value should be"),
            ("== a", "`==` was found where a value should be"),
            ("a b", "`b` was not expected in `a b`"),
            ("(a == b", "a parenthesis is not closed"),
            ("'a == b", "a quote is not closed"),
            ("a", "`a` is neither true nor false"),
            ("1", "1 is neither true nor false"),
            ("a < 1", "a and 1 have no order"),
            ("a =~ '('", "`(` is no pattern"),
            ("a in b", "`in` asks for a list"),
            ("a = b", "`=` was not expected in `a = b`"),
            ("{{steps.nobody.status}} == a", "`{{steps.nobody.status}}` has no value"),
            (&"(".repeat(10_000), "it nests deeper than 50"),
            (&"!".repeat(10_000), "it nests deeper than 50"),
        ] {
            let found = run(bad).unwrap_err();
            assert!(found.starts_with(why), "{bad:.40}: {found}");
        }
    }

    /// A condition of sixty kilobytes fits into a manifest. A tree as deep as it is long would end
    /// the leader that walks it, and each leader after it.
    #[test]
    fn a_long_line_of_conditions_needs_no_stack() {
        let walk = || {
            for (sign, one, last) in [("||", "1==2", "1==1"), ("&&", "1==1", "true")] {
                let line = format!("{}{last}", format!("{one}{sign}").repeat(50_000));
                assert_eq!(run(&line), Ok(true));
            }
        };
        let small = std::thread::Builder::new().stack_size(256 << 10).spawn(walk);
        small.unwrap().join().unwrap();
    }

    /// Matching is the one thing here that takes longer than reading; so it is paid for.
    #[test]
    fn patterns_are_paid_for() {
        let text = "a".repeat(40_000);
        let spent = Cell::new(0);
        let hold = |pattern: &str| holds(&format!("{text} =~ '{pattern}'"), &|_| None, &spent);
        assert_eq!(hold("^a+$"), Ok(true));
        let large = format!("{}b", "[a-z]*".repeat(800));
        let found = (0..20).map(|_| hold(&large)).find_map(Result::err);
        assert_eq!(found.unwrap(), "its values and conditions are more than 64 MiB of work");
        spent.set(0);
        assert!((0..20).all(|_| hold("^a+$") == Ok(true)));
        assert!(hold("(a?){100000}").unwrap_err().contains("is no pattern"));
    }

    /// Whatever bytes come, there is an answer.
    #[test]
    fn any_text_has_an_answer() {
        let alphabet: Vec<char> = "ab1'\"(){}!=<>&|~,. ä-in".chars().collect();
        for seed in 0..20_000_u64 {
            let mut state = seed;
            let text: String = (0..seed % 24)
                .map(|_| {
                    state = crate::control::name::mix(state);
                    alphabet[usize::try_from(state % alphabet.len() as u64).unwrap()]
                })
                .collect();
            let found = run(&text);
            assert_eq!(run(&text), found, "seed {seed}: {text}");
        }
    }
}
