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

use super::text::{self, Piece};

/// Parentheses and `!` within each other.
const DEPTH_MAX: usize = 50;

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whether a condition holds.
///
/// # Errors
/// Says what does not read, or which tag has no value.
pub(super) fn holds(when: &str, lookup: Lookup<'_>) -> Result<bool, String> {
    let whole = text::pieces(when.trim());
    let handed_in = matches!(whole.as_slice(), [Piece::Tag(_)]);
    if handed_in {
        let inner = text::render(when.trim(), lookup)?;
        return parse(&inner)?.truth(&|_| None);
    }
    parse(when)?.truth(lookup)
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
    Or(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
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
    fn truth(&self, lookup: Lookup<'_>) -> Result<bool, String> {
        match self.value(lookup)? {
            Value::Bool(truth) => Ok(truth),
            Value::Number(number) => Err(format!("{number} is neither true nor false")),
            Value::Text(text) => Err(format!("`{text}` is neither true nor false")),
        }
    }

    fn value(&self, lookup: Lookup<'_>) -> Result<Value, String> {
        Ok(match self {
            Expr::Or(a, b) => Value::Bool(a.truth(lookup)? || b.truth(lookup)?),
            Expr::And(a, b) => Value::Bool(a.truth(lookup)? && b.truth(lookup)?),
            Expr::Not(a) => Value::Bool(!a.truth(lookup)?),
            Expr::Compare(how, a, b) => {
                Value::Bool(compare(*how, &a.value(lookup)?, &b.value(lookup)?)?)
            }
            Expr::In(a, all) => {
                let a = a.value(lookup)?;
                let mut found = false;
                for one in all {
                    found |= one.value(lookup)? == a;
                }
                Value::Bool(found)
            }
            Expr::Word(word) => typed(text::render(word, lookup)?),
            Expr::Quoted(quoted) => Value::Text(text::render(quoted, lookup)?),
        })
    }
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

fn compare(how: Compare, a: &Value, b: &Value) -> Result<bool, String> {
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
        Compare::Matches => matches(a, b),
        Compare::MatchesNot => matches(a, b).map(|found| !found),
    }
}

fn matches(a: &Value, b: &Value) -> Result<bool, String> {
    let pattern = show(b);
    // This engine takes time in proportion to pattern and text, so no pattern can hang a leader.
    let regex = regex_lite::RegexBuilder::new(&pattern).size_limit(1 << 18).build();
    let regex = regex.map_err(|error| format!("`{pattern}` is no pattern: {error}"))?;
    Ok(regex.is_match(&show(a)))
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
        let mut left = self.and()?;
        while self.take("||") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut left = self.not()?;
        while self.take("&&") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
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
        holds(when, &|tag| match tag {
            "steps.flip.outputs.result" => Some("heads".to_owned()),
            "inputs.parameters.n" => Some("10".to_owned()),
            "inputs.parameters.evil" => Some("x || true".to_owned()),
            "inputs.parameters.when" => Some("1 < 2 && a == a".to_owned()),
            "inputs.parameters.none" => Some(String::new()),
            _ => None,
        })
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
