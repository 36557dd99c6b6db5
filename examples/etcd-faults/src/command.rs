//! Programs of the system that are run for what they do: `ip`, `nft`.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a command line, words separated by blanks, and says what it printed.
///
/// # Errors
/// If there is no such program, or it is not content.
pub(crate) fn run(line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (program, words) = words.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` says: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether there is a program of this name.
pub(crate) fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}
