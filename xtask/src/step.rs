//! One command of a chore: what it is called, how it is run, and how it ended.

mod words;

use std::io::{IsTerminal as _, pipe};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use words::Listener;
pub(crate) use words::Words;

/// A command with a name, to be run from the root of the repository.
#[derive(Debug)]
pub(crate) struct Step {
    /// What the summary calls it.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Variables set for this command alone.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Why it cannot run here, if it cannot. A step that is left out is reported as such.
    pub(crate) skip: Option<String>,
    /// The step whose failure makes this one pointless.
    pub(crate) needs: Option<&'static str>,
    /// It runs while the steps after it do, and has what they leave of the processors.
    pub(crate) is_beside: bool,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// A finished step, as the summary shows it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) time: Duration,
    /// What it said, if somebody took note.
    pub(crate) words: Words,
}

impl Step {
    /// A step that runs `command`, split at blanks.
    pub(crate) fn new(name: impl Into<String>, command: &str) -> Step {
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        assert!(!command.is_empty(), "a step has a program to run");
        Step {
            name: name.into(),
            command,
            env: Vec::new(),
            skip: None,
            needs: None,
            is_beside: false,
        }
    }

    /// A step that runs the program at this path, blanks and all.
    pub(crate) fn program(name: impl Into<String>, path: impl Into<String>) -> Step {
        let mut step = Step::new(name, "program");
        step.command = vec![path.into()];
        step
    }

    /// Adds one argument, blanks and all.
    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Step {
        self.command.push(argument.into());
        self
    }

    /// Sets a variable for this step.
    pub(crate) fn env(mut self, key: &'static str, value: impl Into<String>) -> Step {
        self.env.push((key, value.into()));
        self
    }

    /// Leaves the step out when there is a reason to.
    pub(crate) fn skip(mut self, reason: Option<String>) -> Step {
        self.skip = reason;
        self
    }

    /// Leaves the step out when the step called `name` did not pass.
    pub(crate) fn needs(mut self, name: &'static str) -> Step {
        self.needs = Some(name);
        self
    }

    /// Lets the steps after it begin before it is over, and go first wherever both could run.
    pub(crate) fn beside(mut self) -> Step {
        self.is_beside = true;
        self.command.splice(0..0, ["nice", "-n", "19"].map(str::to_owned));
        self
    }

    /// Runs the command, passes on what it prints, and says how it ended.
    ///
    /// `done` are the reports of the steps before this one; `position` is for the headline.
    pub(crate) fn run(&self, position: &str, done: &[Report]) -> Report {
        println!("\n==> [{position}] {}: {}", self.name, self.line());
        let start = Instant::now();
        let (outcome, words) = match self.blocked(done) {
            Some(reason) => (Outcome::Skipped(reason), Words::default()),
            None => self.spawn(),
        };
        let report = Report { name: self.name.clone(), outcome, time: start.elapsed(), words };
        println!("<== {}", report.line());
        report
    }

    fn blocked(&self, done: &[Report]) -> Option<String> {
        let broken = |need: &&str| {
            done.iter().any(|report| report.name == *need && report.outcome != Outcome::Passed)
        };
        let broken = self.needs.filter(broken).map(|need| format!("needs {need}, which failed"));
        self.skip.clone().or(broken)
    }

    fn spawn(&self) -> (Outcome, Words) {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        for (key, value) in &self.env {
            command.env(key, value);
        }
        // Somebody who watches wants colours and progress, and scrolls up by himself.
        let ended = match std::io::stdout().is_terminal() {
            true => command.status().map(|status| (status, Words::default())),
            false => heard(command),
        };
        match ended {
            Ok((status, words)) if status.success() => (Outcome::Passed, words),
            Ok((status, words)) => (Outcome::Failed(status.to_string()), words),
            Err(error) => (Outcome::Failed(format!("cannot start: {error}")), Words::default()),
        }
    }

    fn line(&self) -> String {
        let env = self.env.iter().map(|(key, value)| format!("{key}='{value}' "));
        env.collect::<String>() + &self.command.join(" ")
    }
}

/// Runs a command and takes note of what it prints, of both kinds in their order.
fn heard(mut command: Command) -> std::io::Result<(ExitStatus, Words)> {
    let (reader, writer) = pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the ends that are written to; as long as it does, there is no end to hear.
    drop(command);
    let listener = Listener::new(reader);
    let status = child.wait()?;
    Ok((status, listener.words()))
}

impl Report {
    /// The step in one line: outcome, name, time, and the reason when it did not pass.
    pub(crate) fn line(&self) -> String {
        let (word, reason) = match &self.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
            Outcome::Skipped(reason) => ("SKIPPED", reason.as_str()),
        };
        let seconds = self.time.as_secs_f64();
        format!("{word:<8} {:<22} {seconds:>7.1} s  {reason}", self.name).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code of the whole chore rests on this: a failing command is a failed step.
    #[test]
    fn failing_command_is_a_failed_step() {
        assert_eq!(Step::new("yes", "true").run("1/1", &[]).outcome, Outcome::Passed);
        let failed = Step::new("no", "false").run("1/1", &[]).outcome;
        assert!(matches!(failed, Outcome::Failed(_)), "got {failed:?}");
        let missing = Step::new("gone", "/no/such/program").run("1/1", &[]).outcome;
        assert!(matches!(missing, Outcome::Failed(_)), "got {missing:?}");
    }

    /// The reason of a failure is looked for at the end of what a run prints.
    #[test]
    fn failed_step_keeps_what_it_said() {
        let mut step = Step::new("no", "sh -c");
        step = step.arg("echo error: it is broken; echo why >&2; exit 3");
        let report = step.run("1/1", &[]);
        assert_eq!(report.outcome, Outcome::Failed("exit status: 3".to_owned()));
        let lines: Vec<&str> = report.words.lines().collect();
        assert_eq!(lines[..2], ["error: it is broken", "why"]);
    }

    /// A step left out must never look like one that passed, and must say why.
    #[test]
    fn step_left_out_names_its_reason() {
        let skipped = Step::new("deny", "false").skip(Some("not installed".to_owned()));
        let report = skipped.run("1/2", &[]);
        assert_eq!(report.outcome, Outcome::Skipped("not installed".to_owned()));
        assert!(report.line().contains("SKIPPED"), "{}", report.line());

        let failed = Step::new("build", "false").run("1/2", &[]);
        let report = Step::new("test", "true").needs("build").run("2/2", &[failed]);
        assert_eq!(report.outcome, Outcome::Skipped("needs build, which failed".to_owned()));
    }

    /// Variables are part of what a reader must type to repeat a step.
    #[test]
    fn headline_shows_the_variables() {
        let step = Step::new("doc", "cargo doc").env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(step.line(), "RUSTDOCFLAGS='-D warnings' cargo doc");
    }
}
