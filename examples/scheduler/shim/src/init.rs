//! The command line of the container's first process.
//!
//! ```text
//!   mason-init [--rewrite FROM:TO]… [--status-fd N] -- PROGRAM [ARGUMENT]…
//! ```
//!
//! The kernel treats the first process of a PID namespace unlike any other: a signal for which it
//! has no handler is dropped, and every orphan becomes its child. Few programs are made for that.
//! `mason-init` takes the place, hands on every signal to its child's process group, and reaps.

/// What to run, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Signals that are handed on as another; 0 is as none.
    pub rewrites: Vec<(i32, i32)>,
    /// Where to write how the program ended.
    pub status_fd: Option<i32>,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Highest number of a signal.
pub const SIGNAL_MAX: i32 = 64;

impl Options {
    /// Reads a command line without its first word.
    ///
    /// # Errors
    /// Says what is wrong, with the word.
    pub fn parse(words: &[String]) -> Result<Options, String> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--" => break,
                "--rewrite" => options.rewrites.push(rewrite(words.next())?),
                "--status-fd" => {
                    let fd = words.next().and_then(|word| word.parse().ok());
                    let fd = fd.ok_or("--status-fd needs the number of a descriptor")?;
                    options.status_fd = Some(fd);
                }
                other => return Err(format!("`{other}` is no option")),
            }
        }
        options.command = words.cloned().collect();
        if options.command.is_empty() {
            return Err("no program is named after --".to_owned());
        }
        Ok(options)
    }

    /// The command line that reads back as this.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (from, to) in &self.rewrites {
            words.extend(["--rewrite".to_owned(), format!("{from}:{to}")]);
        }
        if let Some(fd) = self.status_fd {
            words.extend(["--status-fd".to_owned(), fd.to_string()]);
        }
        words.push("--".to_owned());
        words.extend(self.command.iter().cloned());
        words
    }

    /// What to send for a signal; none if it is to be dropped.
    pub fn rewritten(&self, signal: i32) -> Option<i32> {
        let found = self.rewrites.iter().find(|(from, _)| *from == signal);
        // A job that is stopped from its terminal stops whole: `SIGTSTP` is for the foreground
        // group, which ours is not, and a shell would ignore it.
        let as_stop = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        let to = found.map_or(if as_stop { libc::SIGSTOP } else { signal }, |(_, to)| *to);
        (to != 0).then_some(to)
    }
}

fn rewrite(word: Option<&String>) -> Result<(i32, i32), String> {
    let word = word.ok_or("--rewrite needs FROM:TO")?;
    let pair = word.split_once(':').and_then(|(from, to)| {
        let (from, to) = (from.parse::<i32>().ok()?, to.parse::<i32>().ok()?);
        let known = (1..=SIGNAL_MAX).contains(&from) && (0..=SIGNAL_MAX).contains(&to);
        known.then_some((from, to))
    });
    pair.ok_or_else(|| {
        format!("--rewrite `{word}`: two signals are FROM:TO, each 1 to 64, TO or 0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// The agent writes the line and the program reads it, from two different builds.
    #[test]
    fn a_line_reads_back_and_a_bad_one_is_named() {
        let line = words("--rewrite 15:3 --rewrite 1:0 --status-fd 3 -- sh -c --");
        let options = Options::parse(&line).unwrap();
        assert_eq!(options.command, ["sh", "-c", "--"]);
        assert_eq!(options.words(), line);
        for (bad, word) in [
            ("--", "program"),
            ("", "program"),
            ("--rewrite", "FROM:TO"),
            ("--rewrite 15 -- sh", "`15`"),
            ("--rewrite 65:1 -- sh", "`65:1`"),
            ("--rewrite 1:65 -- sh", "`1:65`"),
            ("--status-fd x -- sh", "descriptor"),
            ("--what -- sh", "`--what`"),
        ] {
            let error = Options::parse(&words(bad)).unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    /// What is asked for wins over what is the custom.
    #[test]
    fn signals_are_rewritten() {
        let options = Options::parse(&words("--rewrite 15:3 --rewrite 1:0 -- sh")).unwrap();
        assert_eq!(options.rewritten(15), Some(3));
        assert_eq!(options.rewritten(1), None);
        assert_eq!(options.rewritten(2), Some(2));
        assert_eq!(options.rewritten(libc::SIGTSTP), Some(libc::SIGSTOP));
        let kept = Options::parse(&words("--rewrite 20:20 -- sh")).unwrap();
        assert_eq!(kept.rewritten(libc::SIGTSTP), Some(libc::SIGTSTP));
    }
}
