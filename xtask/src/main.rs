//! The chores of this repository, as `cargo xtask <chore>`.
//!
//! There is one chore that everyone runs, people and CI alike: `cargo xtask test`. It is a fixed
//! list of commands ([`test::plan`]) that are run one after another ([`step::Step::run`]), each
//! announced, timed, and listed once more in a summary at the end. A step that fails does not stop
//! the ones after it, so that one run tells everything that is wrong; a step that cannot run here
//! says so by name and is never counted as passed.
//!
//! Deliberately absent: caching, parallel steps, configuration. Cargo has the first two, and the
//! list is short enough to be read.

mod step;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>

chores:
  test           format, clippy, release build, every test, docs, dependency rules
  test --fast    format, clippy and every test against the dev build; no docs, no deny
  test --slow    as test, and the slow tests too (SLOW=1)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let pace = match words.as_slice() {
        ["test"] => test::Pace::Usual,
        ["test", "--fast"] => test::Pace::Fast,
        ["test", "--slow"] => test::Pace::Slow,
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("unknown chore: {}\n\n{USAGE}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match test::run(pace) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
