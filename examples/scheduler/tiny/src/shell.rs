//! A part of a shell: enough for `sh -c 'echo "$NAME" > /tmp/x && cat /tmp/x; exit 3'`.
//!
//! What is there: commands with words; `'…'`, `"…"` and `\`; `$NAME`, `${NAME}`, `$?`; `NAME=value`
//! before a command or alone; `;`, line feed, `&&`, `||`; `> file`, `>> file`, `< file` and `2>&1`;
//! `exit`, `cd`, `export`, `exec`; `#` comments.
//!
//! What is not there is refused, not passed over: pipes, `&`, `( )`, `{ }`, backquotes and `$( )`,
//! `if`, `for`, `while`, `case`. A `*` is a plain star. An unquoted variable is one word, however
//! many spaces it holds: unlike in a real shell, it is never split.
//!
//! An applet is run by starting this program again, anything else from `PATH`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use crate::usage;

pub(crate) fn sh(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let [flag, text, ..] = words else { return Err(usage("sh -c TEXT")) };
    if flag != "-c" {
        return Err(usage("sh -c TEXT"));
    }
    let pieces = split(text).map_err(|what| io::Error::other(format!("syntax: {what}")))?;
    out.flush()?;
    Ok(Shell::default().run(&pieces))
}

/// A part of a word: text as it stands, or a variable to fill in.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Variable(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Word(Vec<Part>),
    /// `;`, `&&`, `||`, `>`, `>>`, `<`, `2>&1`.
    Sign(&'static str),
}

/// What the text says, in pieces.
fn split(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let signs = ["&&", "||", ">>", "2>&1", "2>>", "2>", "<<", ";", "\n", ">", "<"];
        if let Some(sign) = signs.into_iter().find(|sign| rest.starts_with(sign)) {
            if ["<<", "2>>", "2>"].contains(&sign) {
                return Err(format!("`{sign}` is not in this shell"));
            }
            rest = &rest[sign.len()..];
            pieces.push(Piece::Sign(if sign == "\n" { ";" } else { sign }));
        } else if first == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else {
            let (word, after) = word(rest)?;
            if let [Part::Text(plain)] = word.as_slice() {
                let keywords = ["if", "for", "while", "until", "case", "function", "{", "!"];
                if keywords.contains(&plain.as_str()) && rest.starts_with(plain.as_str()) {
                    return Err(format!("`{plain}` is not in this shell"));
                }
            }
            pieces.push(Piece::Word(word));
            rest = after;
        }
    }
    Ok(pieces)
}

/// The word that `text` begins with, and what is after it.
fn word(text: &str) -> Result<(Vec<Part>, &str), String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut quoted = false;
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let after = at + next.len_utf8();
        match next {
            '"' => quoted = !quoted,
            '\'' if !quoted => {
                let end = text[after..].find('\'').ok_or("a ' has no end")?;
                plain.push_str(&text[after..after + end]);
                at = after + end + 1;
                continue;
            }
            '\\' => {
                let escaped = text[after..].chars().next().ok_or("a \\ at the end")?;
                plain.push(escaped);
                at = after + escaped.len_utf8();
                continue;
            }
            '$' => {
                if let Some((name, used)) = variable(&text[after..])? {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Variable(name));
                    at = after + used;
                    continue;
                }
                plain.push('$');
            }
            '`' => return Err("a backquote is not in this shell".to_owned()),
            '|' | '&' | '(' | ')' if !quoted => {
                let two = text[at..].starts_with("&&") || text[at..].starts_with("||");
                if two {
                    break;
                }
                return Err(format!("`{next}` is not in this shell"));
            }
            ';' | '>' | '<' if !quoted => break,
            _ if next.is_whitespace() && !quoted => break,
            _ => plain.push(next),
        }
        at = after;
    }
    if quoted {
        return Err("a \" has no end".to_owned());
    }
    parts.push(Part::Text(plain));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    if parts.is_empty() {
        parts.push(Part::Text(String::new()));
    }
    Ok((parts, &text[at..]))
}

/// The variable's name behind a `$`, and how many bytes name it.
fn variable(text: &str) -> Result<Option<(String, usize)>, String> {
    if text.starts_with('?') {
        return Ok(Some(("?".to_owned(), 1)));
    }
    if text.starts_with('(') {
        return Err("`$(` is not in this shell".to_owned());
    }
    let name = |text: &str| -> String {
        text.chars().take_while(|next| next.is_ascii_alphanumeric() || *next == '_').collect()
    };
    if let Some(braced) = text.strip_prefix('{') {
        let found = name(braced);
        if found.is_empty() || !braced[found.len()..].starts_with('}') {
            return Err("`${` takes a plain name and `}`".to_owned());
        }
        let used = found.len() + 2;
        return Ok(Some((found, used)));
    }
    let found = name(text);
    let used = found.len();
    Ok((used > 0).then_some((found, used)))
}

/// What a running script knows.
#[derive(Debug, Default)]
struct Shell {
    variables: BTreeMap<String, String>,
    code: u8,
    ended: bool,
}

/// One command, its variables filled in.
#[derive(Debug, Default)]
struct Line {
    words: Vec<String>,
    /// Variables set for it alone.
    set: Vec<(String, String)>,
    /// Sign and file.
    files: Vec<(&'static str, String)>,
    both: bool,
}

impl Shell {
    fn run(&mut self, pieces: &[Piece]) -> u8 {
        let mut skip = false;
        let mut from = 0;
        for at in 0..=pieces.len() {
            let sign = match pieces.get(at) {
                Some(Piece::Sign(sign @ (";" | "&&" | "||"))) => *sign,
                None => ";",
                Some(_) => continue,
            };
            if !skip && from < at {
                self.code = self.line(&pieces[from..at]).unwrap_or_else(|error| {
                    eprintln!("sh: {error}");
                    1
                });
            }
            if self.ended {
                break;
            }
            skip = match sign {
                "&&" => self.code != 0,
                "||" => self.code == 0,
                _ => false,
            };
            from = at + 1;
        }
        self.code
    }

    fn line(&mut self, pieces: &[Piece]) -> io::Result<u8> {
        let line = self.fill(pieces)?;
        let Some((name, words)) = line.words.split_first() else {
            self.variables.extend(line.set);
            return Ok(0);
        };
        match name.as_str() {
            "exit" => {
                self.ended = true;
                let given = words.first().map(|word| word.parse::<u8>());
                given.unwrap_or(Ok(self.code)).map_err(|_| usage("exit N (0 to 255)"))
            }
            "cd" => {
                let home = || std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
                std::env::set_current_dir(words.first().cloned().unwrap_or_else(home))?;
                Ok(0)
            }
            "export" => {
                for word in words {
                    if let Some((name, value)) = word.split_once('=') {
                        self.variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                Ok(0)
            }
            "exec" => Err(self.command(&line, words)?.exec()),
            _ => {
                let status = self.command(&line, &line.words)?.status();
                let status = match status {
                    Ok(status) => status,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        eprintln!("sh: {name}: not found");
                        return Ok(127);
                    }
                    Err(error) => return Err(error),
                };
                let signal = status.signal().map(|signal| 128 + signal);
                let code = status.code().or(signal).unwrap_or(1);
                Ok(u8::try_from(code).unwrap_or(1))
            }
        }
    }

    /// The words and files of a command, its variables filled in.
    fn fill(&self, pieces: &[Piece]) -> io::Result<Line> {
        let mut line = Line::default();
        let mut pieces = pieces.iter();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Sign("2>&1") => line.both = true,
                Piece::Sign(sign) => {
                    let Some(Piece::Word(parts)) = pieces.next() else {
                        return Err(io::Error::other(format!("syntax: no file after `{sign}`")));
                    };
                    line.files.push((sign, self.text(parts)));
                }
                Piece::Word(parts) => {
                    let text = self.text(parts);
                    let name = text.split_once('=').filter(|(name, _)| {
                        let plain = |next: char| next.is_ascii_alphanumeric() || next == '_';
                        !name.is_empty() && name.chars().all(plain)
                    });
                    match name {
                        Some((name, value)) if line.words.is_empty() => {
                            line.set.push((name.to_owned(), value.to_owned()));
                        }
                        _ => line.words.push(text),
                    }
                }
            }
        }
        Ok(line)
    }

    fn text(&self, parts: &[Part]) -> String {
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Variable(name) if name == "?" => text.push_str(&self.code.to_string()),
                Part::Variable(name) => match self.variables.get(name) {
                    Some(value) => text.push_str(value),
                    None => text.push_str(&std::env::var(name).unwrap_or_default()),
                },
            }
        }
        text
    }

    /// The process for these words: an applet is this program itself.
    fn command(&self, line: &Line, words: &[String]) -> io::Result<Command> {
        let Some((name, rest)) = words.split_first() else { return Err(usage("exec COMMAND")) };
        let mut command = if crate::find(name).is_some() {
            let mut own = Command::new(std::env::current_exe()?);
            own.arg(name);
            own
        } else {
            Command::new(name)
        };
        command.args(rest).envs(&self.variables).envs(line.set.iter().cloned());
        for (sign, path) in &line.files {
            let named = |error| io::Error::other(format!("{path}: {error}"));
            if *sign == "<" {
                command.stdin(std::fs::File::open(path).map_err(named)?);
                continue;
            }
            let mut open = OpenOptions::new();
            open.create(true).write(true).append(*sign == ">>").truncate(*sign == ">");
            let file = open.open(path).map_err(named)?;
            if line.both {
                command.stderr(file.try_clone()?);
            }
            command.stdout(file);
        }
        if line.both && line.files.iter().all(|(sign, _)| *sign == "<") {
            let both = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
            command.stderr(Stdio::from(both));
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Shell, split};

    /// A script's exit code is what a run reports: chains must stop where a shell's would.
    #[test]
    fn chains_end_with_the_code_that_a_shell_would_give() {
        for (text, code) in [
            ("exit 3", 3),
            ("A=4; exit $A", 4),
            ("A=1 && B=\"${A}2\"; exit $B", 12),
            ("A=x || exit 9; exit 2", 2),
            ("cd /no-such-folder || exit 7", 7),
            ("cd /no-such-folder && exit 7; exit $?", 1),
            ("# nothing\nexit 5 # more", 5),
            ("", 0),
        ] {
            let pieces = split(text).unwrap();
            assert_eq!(Shell::default().run(&pieces), code, "{text}");
        }
    }

    /// A script that means something else than it says is worse than one that is refused.
    #[test]
    fn what_this_shell_lacks_is_refused() {
        let texts =
            ["a | b", "a &", "(a)", "`a`", "$(a)", "if a", "cat <<X", "'a", "\"a", "${a-b}"];
        for text in texts {
            assert!(split(text).is_err(), "{text}");
        }
        assert_eq!(split("a 'b | c' \"d;e\"").unwrap().len(), 3);
        assert!(matches!(split("a>b").unwrap()[1], Piece::Sign(">")));
    }
}
