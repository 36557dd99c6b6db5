//! One command of a script: a name, words, options, input.

use std::any::type_name;
use std::cell::Cell;
use std::str::FromStr;

/// A command. What it was given is asked for by place (`word`, `number`) or by name (`option`);
/// what nobody asks for fails the script.
#[derive(Debug, Clone)]
pub struct Command {
    pub(super) script: String,
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) name: String,
    pub(super) args: Vec<Arg>,
    pub(super) input: Vec<String>,
    pub(super) input_read: Cell<bool>,
}

/// A word, or an option with its key.
#[derive(Debug, Clone)]
pub(super) struct Arg {
    pub(super) key: Option<String>,
    pub(super) value: String,
    pub(super) read: Cell<bool>,
}

impl Command {
    /// The first word.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it stands in its file, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// How many words it has behind its name, options not counted.
    pub fn count(&self) -> usize {
        self.positional().count()
    }

    /// The words behind its name, options left out.
    pub fn words(&self) -> Vec<&str> {
        self.positional().map(Arg::read).collect()
    }

    /// Everything behind its name, options as `key=word`: for a player that runs a program.
    pub fn args(&self) -> Vec<String> {
        let written = |arg: &Arg| match &arg.key {
            Some(key) => format!("{key}={}", arg.read()),
            None => arg.read().to_owned(),
        };
        self.args.iter().map(written).collect()
    }

    /// Word number `place` behind its name, from 0, options not counted.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn word(&self, place: usize) -> &str {
        match self.positional().nth(place) {
            Some(arg) => arg.read(),
            None => self.refuse(&format!("word {} is missing", place + 1)),
        }
    }

    /// Word number `place` as a number, or whatever else is wanted.
    ///
    /// # Panics
    ///
    /// If there is none, or it is not one.
    pub fn number<T: FromStr>(&self, place: usize) -> T {
        self.parsed(self.word(place))
    }

    /// Whether `word` is among its words.
    pub fn has(&self, word: &str) -> bool {
        let found = self.positional().find(|arg| arg.value == word);
        found.map(Arg::read).is_some()
    }

    /// What stands behind `key=`, if that is there.
    pub fn option(&self, key: &str) -> Option<&str> {
        let arg = self.args.iter().find(|arg| arg.key.as_deref() == Some(key))?;
        Some(arg.read())
    }

    /// The same as a number, or whatever else is wanted.
    ///
    /// # Panics
    ///
    /// If it is there, and not one.
    pub fn option_as<T: FromStr>(&self, key: &str) -> Option<T> {
        self.option(key).map(|text| self.parsed(text))
    }

    /// The lines of its input, without the `<`.
    pub fn input(&self) -> &[String] {
        self.input_read.set(true);
        &self.input
    }

    /// Ends the script with its place and a reason.
    ///
    /// # Panics
    ///
    /// That is what it is for.
    pub fn refuse(&self, why: &str) -> ! {
        panic!("{}:{}: {why}: {}", self.script, self.line, self.text)
    }

    /// What the player never asked for.
    pub(super) fn unread(&self) -> Vec<String> {
        let unread = self.args.iter().filter(|arg| !arg.read.get()).map(|arg| match &arg.key {
            Some(key) => format!("{key}={}", arg.value),
            None => arg.value.clone(),
        });
        let input = self.input.iter().filter(|_| !self.input_read.get());
        unread.chain(input.map(|line| format!("< {line}"))).collect()
    }

    fn positional(&self) -> impl Iterator<Item = &Arg> {
        self.args.iter().filter(|arg| arg.key.is_none())
    }

    fn parsed<T: FromStr>(&self, text: &str) -> T {
        let name = type_name::<T>().rsplit("::").next().unwrap_or_default();
        text.parse().unwrap_or_else(|_| self.refuse(&format!("`{text}` is no {name}")))
    }
}

impl Arg {
    fn read(&self) -> &str {
        self.read.set(true);
        &self.value
    }
}
