//! What a process says of what it does: on standard error, so that output stays output.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use clap::Args;
use tracing_subscriber::EnvFilter;

/// How much is logged, and how it looks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct LogArgs {
    /// How much is logged: error, warn, info, debug, trace, or as `mason=debug,tonic=warn`
    #[arg(long, global = true, env = "MASON_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Log a JSON object a line
    #[arg(long, global = true, env = "MASON_LOG_JSON")]
    log_json: bool,
}

impl LogArgs {
    /// Begins to log. A command that only asks keeps to warnings.
    pub(super) fn begin(&self, is_role: bool) -> Result<()> {
        let usual = if is_role { "info,h2=warn,tower=warn" } else { "error" };
        let filter = self.log.as_deref().unwrap_or(usual);
        let filter: EnvFilter =
            filter.parse().with_context(|| format!("--log: `{filter}` is no filter"))?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false);
        let begun =
            if self.log_json { log.json().flatten_event(true).try_init() } else { log.try_init() };
        // A host of this library may log already.
        drop(begun);
        Ok(())
    }
}
