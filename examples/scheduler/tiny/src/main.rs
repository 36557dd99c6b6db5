//! One static program with a few applets: what mason's built-in image holds.
//!
//! The first container must run on a machine without network and without images, and tests need a
//! program that eats memory, burns a processor, or dies of a chosen signal on demand. Like busybox,
//! one file serves for all: it looks at the name that it was started by, or at its first argument.
//!
//! [`applets`] has the plain ones, [`trouble`] those that misbehave on purpose, [`serve`] a small
//! HTTP server, [`shell`] a part of a shell. Only [`sys`] is unsafe: three C calls that the
//! standard library does not offer.

mod applets;
mod serve;
mod shell;
mod sys;
mod trouble;

use std::io::{self, Write};
use std::process::ExitCode;

/// An applet: takes its arguments, writes to `out`, answers its exit code.
type Applet = fn(&[String], &mut dyn Write) -> io::Result<u8>;

/// Every applet: its name, what it takes, and itself.
const APPLETS: [(&str, &str, Applet); 24] = [
    ("beat", "FILE SECONDS: appends its run and the time to a file, over and over", trouble::beat),
    ("burn", "SECONDS: keeps one processor busy", trouble::burn),
    ("cat", "[FILE…]: files, or standard input, to standard output", applets::cat),
    ("eat-memory", "SIZE [hold]: touches so many bytes (suffix K, M, G)", trouble::eat_memory),
    ("echo", "[-n] WORD…: its words", applets::echo),
    ("env", ": the environment", applets::env),
    ("exit", "N: ends with exit code N", applets::exit),
    ("false", ": ends with exit code 1", applets::no),
    ("fork-bomb", "COUNT: starts itself twice, down to so many levels", trouble::fork_bomb),
    ("help", ": this list", help),
    ("hostname", ": the host's name", applets::hostname),
    ("id", ": user and group ids", applets::id),
    ("kill-self", "SIGNAL: sends itself a signal, by number", trouble::kill_self),
    ("ls", "[FOLDER]: what is in a folder", applets::ls),
    (
        "orphans",
        "COUNT: leaves so many dead children behind, and waits until they are gone",
        trouble::orphans,
    ),
    ("pwd", ": the folder that it is in", applets::pwd),
    ("seq", "[FIRST] LAST: numbers, one a line", applets::seq),
    ("serve", "PORT [FILE]: HTTP, 200; /health is 503 while FILE exists", serve::serve),
    ("sh", "-c TEXT: a part of a shell", shell::sh),
    ("sleep", "SECONDS: waits", applets::sleep),
    ("trap", "[COUNT]: prints the signals that it gets, ends after COUNT", trouble::trap),
    ("true", ": ends with exit code 0", applets::yes_indeed),
    ("write", "FILE TEXT: writes the text and a line feed", applets::write),
    ("yes", "[COUNT] [WORD]: the word again and again, 1,000,000 times at most", applets::yes),
];

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let own = words.next().unwrap_or_default();
    let own = own.rsplit('/').next().unwrap_or_default().to_owned();
    let words: Vec<String> = words.collect();
    let code = match find(&own) {
        Some(_) => run(&own, &words, &mut io::stdout().lock()),
        None => match words.split_first() {
            Some((name, rest)) => run(name, rest, &mut io::stdout().lock()),
            None => run("help", &[], &mut io::stdout().lock()),
        },
    };
    ExitCode::from(code)
}

fn find(name: &str) -> Option<Applet> {
    APPLETS.iter().find(|(known, ..)| *known == name).map(|(.., applet)| *applet)
}

/// Runs the applet of that name. 127 if there is none, 1 and a line of complaint if it fails.
fn run(name: &str, words: &[String], out: &mut dyn Write) -> u8 {
    let Some(applet) = find(name) else {
        eprintln!("tiny: no applet `{name}`; `tiny help` lists them");
        return 127;
    };
    let code = applet(words, out).and_then(|code| out.flush().map(|()| code));
    code.unwrap_or_else(|error| {
        // Whoever reads us may have seen enough: that is no failure worth a word.
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("{name}: {error}");
        }
        1
    })
}

fn help(_: &[String], out: &mut dyn Write) -> io::Result<u8> {
    for (name, what, _) in APPLETS {
        let space = if what.starts_with(':') { "" } else { " " };
        writeln!(out, "{name}{space}{what}")?;
    }
    Ok(0)
}

/// The complaint about arguments.
fn usage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("usage: {what}"))
}
