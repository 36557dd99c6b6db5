//! A script: what is typed into a shell with `etcdctl`, and what real etcd answers.
//!
//! ```text
//!     # A story, for the reader.
//!
//!     put colour red --prev-kv          the arguments of etcdctl
//!     < a line of standard input        none, or as many as the command reads
//!     ----
//!     OK                                standard output, masked
//!     ! Error: ...                      standard error, masked
//!     exit 1                            unless it is 0
//! ```
//!
//! An empty line ends the answer, so an empty line of output is written as a single dot.
//!
//! Commands that are not `etcdctl`'s:
//!
//! * `$NAME = <command>` keeps the lease id in the answer as `$NAME`, for later commands and masks.
//! * `<command> &name` runs it in the background.
//! * `until name <text>` waits until that printed a line with the text, stops it, and shows all.
//! * `wait name` waits until it ends by itself, and shows all.
//! * `gone <key>` waits until the key is there no more, as when a lease ends.
//! * `restart` and `crash` stop the server politely, or kill it, and start it again on its data.
//!
//! `$URL` is the address of the server as a URL. In arguments and input `{a*3}` stands for `aaa`;
//! an input line `<*3 put k# v` stands for three lines with `#` counting up from 0.

use std::path::{Path, PathBuf};

/// A parsed script.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) steps: Vec<Step>,
    /// What follows the last step.
    trailer: String,
}

/// One command and the recorded answer.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Line of the command in the file, from 1.
    pub(crate) line: usize,
    pub(crate) command: String,
    /// Lines of standard input, already expanded.
    pub(crate) input: Vec<String>,
    pub(crate) answer: Vec<String>,
    /// The text before the answer, as it stands in the file: story, command, input.
    head: String,
}

impl Script {
    /// Reads the script called `name`.
    pub(crate) fn read(name: &str) -> Script {
        let path = folder().join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (steps, trailer) = parse(&text);
        Script { name: name.to_owned(), path, steps, trailer }
    }

    /// The text of the file with other answers.
    pub(crate) fn with_answers(&self, answers: &[Vec<String>]) -> String {
        assert_eq!(self.steps.len(), answers.len(), "one answer a step");
        let mut text = String::new();
        for (step, answer) in self.steps.iter().zip(answers) {
            text += &step.head;
            text += "----\n";
            for line in answer {
                text += line;
                text.push('\n');
            }
        }
        text + &self.trailer
    }
}

/// Names of all scripts, in order.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("the folder of scripts is there");
    let name = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<String> =
        entries.filter_map(Result::ok).filter_map(|entry| name(entry.path())).collect();
    names.sort_unstable();
    names
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("scripts")
}

fn parse(text: &str) -> (Vec<Step>, String) {
    let mut steps = Vec::new();
    let mut head = String::new();
    let mut command: Option<(usize, String)> = None;
    let mut input = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        if line == "----" {
            let (line, command) = command.take().expect("an answer belongs to a command");
            let mut answer = Vec::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
                answer.push(line.to_owned());
            }
            let (head, input) = (std::mem::take(&mut head), std::mem::take(&mut input));
            steps.push(Step { line, command, input, answer, head });
            continue;
        }
        head += line;
        head.push('\n');
        if let Some(typed) = line.strip_prefix('<') {
            input.extend(expand_lines(typed));
        } else if !line.is_empty() && !line.starts_with('#') {
            assert!(command.is_none(), "line {}: the command before has no answer", i + 1);
            command = Some((i + 1, line.to_owned()));
        }
    }
    assert!(command.is_none(), "the last command has no answer");
    (steps, head)
}

/// One typed line as the lines it stands for.
fn expand_lines(typed: &str) -> Vec<String> {
    if let Some((count, line)) = typed.strip_prefix('*').and_then(|rest| rest.split_once(' '))
        && let Ok(count) = count.parse::<usize>()
    {
        return (0..count).map(|i| line.replace('#', &i.to_string())).collect();
    }
    vec![expand(typed.strip_prefix(' ').unwrap_or(typed))]
}

/// A text with every `{x*n}` written out.
pub(crate) fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let inner = after.split_once('}');
        let parts = inner.and_then(|(inner, _)| inner.split_once('*'));
        let count = parts.and_then(|(_, count)| count.parse::<usize>().ok());
        if let (Some((_, tail)), Some((unit, _)), Some(count)) = (inner, parts, count) {
            out += before;
            out += &unit.repeat(count);
            rest = tail;
        } else {
            out += before;
            out.push('{');
            rest = after;
        }
    }
    out + rest
}

/// Splits a command at blanks outside quotes, as a shell does.
pub(crate) fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == ' ' => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote is left open in `{command}`");
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str =
        "# Story.\n\nput a\n< one\n----\nOK\n\nget a -w json\n----\n! Error\nexit 1\n";

    /// Recording must not lose the story or the commands.
    #[test]
    fn script_survives_being_rewritten() {
        let (steps, trailer) = parse(SAMPLE);
        assert_eq!((steps[0].line, steps[0].command.as_str()), (3, "put a"));
        assert_eq!((steps[0].input.len(), steps[0].answer.len()), (1, 1));
        assert_eq!(steps[1].answer, ["! Error", "exit 1"]);
        let script = Script { name: String::new(), path: PathBuf::new(), steps, trailer };
        let answers: Vec<_> = script.steps.iter().map(|step| step.answer.clone()).collect();
        assert_eq!(script.with_answers(&answers), SAMPLE);
    }

    /// Values with blanks and empty keys are told apart as a shell would.
    #[test]
    fn command_is_split_as_a_shell_would() {
        assert_eq!(words("put 'a b' \"\" x\"y z\""), ["put", "a b", "", "xy z"]);
        assert_eq!(expand("{a*3} {} b{c*2}"), "aaa {} bcc");
        assert_eq!(expand_lines("*2 put k# v"), ["put k0 v", "put k1 v"]);
    }
}
