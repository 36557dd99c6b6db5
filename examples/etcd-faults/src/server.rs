//! The program under test, and the flags that only some releases know.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// A server and what it is called with beside its addresses.
#[derive(Debug, Clone)]
pub struct Server {
    /// The program.
    pub program: PathBuf,
    /// What it says it is.
    pub version: String,
    pub(crate) flags: Vec<String>,
}

impl Server {
    /// Asks a program what it is.
    ///
    /// # Errors
    /// If it cannot be run, or says nothing about a version.
    pub fn new(program: &Path) -> Result<Server> {
        let output = Command::new(program).arg("--version").output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.lines().find_map(|line| line.split_once("Version: "));
        let version = version.context("the server does not say its version")?.1.trim().to_owned();
        let mut numbers = version.split('.').filter_map(|number| number.parse().ok());
        let release: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        // Unasked progress comes every ten minutes unless told otherwise.
        let progress = match release {
            (3, 0..=4) => None,
            (3, 5) => Some("--experimental-watch-progress-notify-interval=300ms"),
            _ => Some("--watch-progress-notify-interval=300ms"),
        };
        let flags = progress.map(str::to_owned).into_iter().collect();
        Ok(Server { program: program.to_owned(), version, flags })
    }
}
