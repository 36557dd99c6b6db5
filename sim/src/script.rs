//! Golden scripts: tests that read like stories, and write down by themselves what they saw.
//!
//! ```text
//!     # A candidate whose log is shorter gets no vote.          a story, for people
//!     node 1 log=1,1,2                                          commands
//!     node 2 log=1
//!     campaign 2
//!     ----
//!     n2 term 3 candidate: asks n1                              what they print
//!     n1 term 3 follower: refuses n2
//!                                                               an empty line ends it
//!     deliver
//!     < anything behind `< ` is input                           lines for the command above
//!     ----
//! ```
//!
//! The behaviour of a protocol is easier to judge as a transcript than as a row of assertions, and
//! much easier to change: `UPDATE=1` plays every script and writes what the commands print now, and
//! whoever reviews the change reads it as a difference of stories. Without it, a script whose
//! output is another fails, with the difference and the line.
//!
//! A test supplies a *player*, a closure from a [`Command`] to what it prints:
//!
//! ```
//! use drystone_sim::script::{Command, Script};
//!
//! let script = Script::parse("sum.txt", "\
//! ## Numbers add up, in any order.
//! add 1
//! add 2 times=3
//! total
//! ----
//! 7
//! ").unwrap();
//!
//! let mut total = 0;
//! let played = script.play(|command: &Command| match command.name() {
//!     "add" => {
//!         total += command.number::<i32>(0) * command.option_as("times").unwrap_or(1);
//!         String::new()
//!     }
//!     "total" => total.to_string(),
//!     _ => command.refuse("no such command"),
//! });
//! assert!(played.complaints().is_empty());
//! ```
//!
//! What is written and not read is a mistake: an argument or option of a command that its player
//! never asked for fails the script, so that `los=5` does not pass for a test of loss.
//!
//! **The format.** A line that begins with `#` is a story, and an empty line is air; neither means
//! anything. Other lines are commands: a name and words, each `word` or `key=word`, where a word
//! with spaces (or none at all) stands in `"quotes"`, in which `\"`, `\\` and `\n` are a quote, a
//! backslash and a new line. Lines behind a command that begin with `<` are its input. `----` ends
//! a block; what all its commands print stands below, up to an empty line. Output that has empty
//! lines of its own stands between two doubled rulers:
//!
//! ```text
//!     show
//!     ----
//!     ----
//!     first
//!
//!     second
//!     ----
//!     ----
//! ```

mod command;
mod diff;
mod parse;

use std::path::{Path, PathBuf};
use std::{env, fs, thread};

pub use command::Command;
use diff::Diff;
use parse::Block;

use crate::error::{Error, Result};

/// A parsed script.
#[derive(Debug, Clone)]
pub struct Script {
    name: String,
    blocks: Vec<Block>,
    /// Stories behind the last block.
    rest: Vec<String>,
}

impl Script {
    /// Parses the text of a script. `name` is used in complaints alone.
    pub fn parse(name: &str, text: &str) -> Result<Script> {
        let (blocks, rest) = parse::blocks(name, text)?;
        Ok(Script { name: name.to_owned(), blocks, rest })
    }

    /// Reads the script in a file.
    pub fn read(path: &Path) -> Result<Script> {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Script::parse(&path.display().to_string(), &text)
    }

    /// Gives every command to `player`, and compares what it prints with what is written.
    ///
    /// When the player panics, the command and its line are printed.
    pub fn play(&self, mut player: impl FnMut(&Command) -> String) -> Played {
        let mut played = Played { text: String::new(), complaints: Vec::new() };
        for block in &self.blocks {
            let mut output = String::new();
            for command in &block.commands {
                let place = Place { script: &self.name, command };
                output.push_str(&player(place.command));
                if !output.is_empty() && !output.ends_with('\n') {
                    output.push('\n');
                }
                for word in command.unread() {
                    played.complaints.push(format!(
                        "{}:{}: `{word}` means nothing to `{}`",
                        self.name,
                        command.line(),
                        command.name()
                    ));
                }
            }
            if output != block.output {
                let diff = Diff::new(&block.output, &output, block.output_line);
                played.complaints.push(format!("{}:{diff}", self.name));
            }
            block.write(&output, &mut played.text);
        }
        for line in &self.rest {
            played.text.push_str(line);
            played.text.push('\n');
        }
        played
    }
}

/// What came of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    text: String,
    complaints: Vec<String>,
}

impl Played {
    /// The script with what its commands printed this time.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong, each with its file and line. Empty if the script printed what it says.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

/// Plays the script in a file, as a test does. With `UPDATE=1` it writes the file instead of
/// comparing the output.
///
/// # Panics
///
/// If the script cannot be read, or does not print what it says.
#[track_caller]
pub fn file(path: impl AsRef<Path>, player: impl FnMut(&Command) -> String) {
    let failed = run_file(path.as_ref(), player);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Plays every script (`*.txt`) in a folder and those below it, in the order of their names, each
/// with a player of its own. The name of each is printed before it is played. `SCRIPT=part` plays
/// only those whose path has that part in it; `UPDATE=1` is as for [`file()`].
///
/// # Panics
///
/// If a script cannot be read, or does not print what it says: after all were played. If there is
/// none to play.
#[track_caller]
pub fn folder<P>(path: impl AsRef<Path>, mut player: impl FnMut() -> P)
where
    P: FnMut(&Command) -> String,
{
    let path = path.as_ref();
    let mut scripts = Vec::new();
    if let Err(error) = find(path, &mut scripts) {
        panic!("{error}: {}", cause(&error));
    }
    scripts.sort();
    if let Ok(part) = env::var("SCRIPT") {
        scripts.retain(|path| path.display().to_string().contains(&part));
    }
    assert!(!scripts.is_empty(), "there is no script to play in {}", path.display());
    let mut failed = Vec::new();
    for script in scripts {
        println!("{}", script.display());
        failed.extend(run_file(&script, player()));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Plays a file and returns what is wrong.
#[expect(clippy::disallowed_methods, reason = "a script is a source file, not stored data")]
fn run_file(path: &Path, player: impl FnMut(&Command) -> String) -> Vec<String> {
    let script = match Script::read(path) {
        Ok(script) => script,
        Err(error) => return vec![format!("{error}{}", cause(&error))],
    };
    let played = script.play(player);
    if env::var_os("UPDATE").is_none() {
        return played.complaints;
    }
    let written = fs::write(path, played.text());
    written.map_or_else(|error| vec![format!("{}: {error}", path.display())], |()| Vec::new())
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default()
}

/// Collects the scripts below `folder`.
#[expect(clippy::disallowed_methods, reason = "a script is a source file, not stored data")]
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let fails = |source| Error::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(fails)? {
        let path = entry.map_err(fails)?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
    Ok(())
}

/// Says which command was played when a player panics.
struct Place<'a> {
    script: &'a str,
    command: &'a Command,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}:{}: {}", self.script, self.command.line(), self.command.text());
        }
    }
}

#[cfg(test)]
mod tests;
