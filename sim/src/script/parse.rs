//! From the text of a script to its blocks, and back.

use std::cell::Cell;
use std::mem;

use super::command::{Arg, Command};
use crate::error::{Error, Result};

const RULER: &str = "----";

/// Stories and commands, and what they are to print.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The lines above the ruler, as they are written.
    head: Vec<String>,
    pub(super) commands: Vec<Command>,
    pub(super) output: String,
    /// The line at which the output begins, counted from 1.
    pub(super) output_line: usize,
}

impl Block {
    /// Appends the block to `text`, with `output` in place of its own.
    pub(super) fn write(&self, output: &str, text: &mut String) {
        for line in &self.head {
            text.push_str(line);
            text.push('\n');
        }
        // Output that a reader of the file could take for its end needs the doubled ruler.
        let odd = |line: &str| line.is_empty() || line == RULER;
        let rulers = if output.lines().any(odd) { 2 } else { 1 };
        let ruler = format!("{RULER}\n").repeat(rulers);
        text.push_str(&ruler);
        text.push_str(output);
        if rulers == 2 {
            text.push_str(&ruler);
        }
    }
}

/// The blocks of a script, and the stories behind the last.
pub(super) fn blocks(name: &str, text: &str) -> Result<(Vec<Block>, Vec<String>)> {
    let mut lines = (1..).zip(text.lines()).peekable();
    let (mut blocks, mut head, mut commands) = (Vec::new(), Vec::new(), Vec::<Command>::new());
    let wrong = |line, what| Err(Error::Script { file: name.to_owned(), line, what });
    while let Some((number, line)) = lines.next() {
        if line == RULER {
            if commands.is_empty() {
                return wrong(number, "there is no command above the ruler");
            }
            let doubled = lines.next_if(|(_, line)| *line == RULER).is_some();
            let output_line = number + if doubled { 2 } else { 1 };
            let Some(output) = output(&mut lines, doubled) else {
                return wrong(number, "a doubled ruler has no doubled ruler below the output");
            };
            let (head, commands) = (mem::take(&mut head), mem::take(&mut commands));
            blocks.push(Block { head, commands, output, output_line });
            continue;
        }
        head.push(line.to_owned());
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(input) = line.strip_prefix('<') {
            let Some(command) = commands.last_mut() else {
                return wrong(number, "there is no command above the input");
            };
            command.input.push(input.strip_prefix(' ').unwrap_or(input).to_owned());
            continue;
        }
        match command(name, number, line) {
            Ok(command) => commands.push(command),
            Err(what) => return wrong(number, what),
        }
    }
    match commands.last() {
        Some(command) => wrong(command.line, "there is no ruler below the command"),
        None => Ok((blocks, head)),
    }
}

/// Takes the output off `lines`; `None` if it does not end. The empty line that ends it is left:
/// it belongs to the head of the next block.
fn output<'a>(
    lines: &mut std::iter::Peekable<impl Iterator<Item = (usize, &'a str)>>,
    doubled: bool,
) -> Option<String> {
    let mut output = String::new();
    if !doubled {
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
            output.push_str(line);
            output.push('\n');
        }
        return Some(output);
    }
    loop {
        let (_, line) = lines.next()?;
        if line == RULER && lines.next_if(|(_, line)| *line == RULER).is_some() {
            return Some(output);
        }
        output.push_str(line);
        output.push('\n');
    }
}

/// Parses one line.
fn command(script: &str, line: usize, text: &str) -> std::result::Result<Command, &'static str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (arg, behind) = arg(rest)?;
        words.push(arg);
        rest = behind.trim_start();
    }
    let name = words.remove(0);
    if name.key.is_some() {
        return Err("a command begins with its name");
    }
    Ok(Command {
        script: script.to_owned(),
        line,
        text: text.to_owned(),
        name: name.value,
        args: words,
        input: Vec::new(),
        input_read: Cell::new(false),
    })
}

/// Takes one word off `text`, and returns what is behind it.
fn arg(text: &str) -> std::result::Result<(Arg, &str), &'static str> {
    let is_key = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let end = text.find(|c| !is_key(c)).unwrap_or(text.len());
    let keyed = end > 0 && text[end..].starts_with('=');
    let (key, rest) =
        if keyed { (Some(text[..end].to_owned()), &text[end + 1..]) } else { (None, text) };
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    Ok((Arg { key, value, read: Cell::new(false) }, rest))
}

/// Takes a quoted word off `text`, whose opening quote is gone already.
fn unquote(text: &str) -> std::result::Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = &text[at + 1..];
                let ends = rest.is_empty() || rest.starts_with(char::is_whitespace);
                return if ends { Ok((value, rest)) } else { Err("a quote ends within a word") };
            }
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                _ => return Err("only \\\", \\\\ and \\n are known in quotes"),
            },
            c => value.push(c),
        }
    }
    Err("a quote does not end")
}
