//! Where a server spends its CPU while it is under load, by `perf`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::server::find_program;

/// Samples a second: prime, so that nothing that happens every millisecond hides from it.
const HERTZ: &str = "499";

/// Lines of a table that are kept.
const LINES: usize = 30;

/// A recording under way.
#[derive(Debug)]
pub(super) struct Recording {
    perf: Child,
    file: PathBuf,
}

impl Recording {
    /// Begins to watch these processes. What is recorded goes to a file in `dir`.
    pub(super) fn start(pids: &[u32], dir: &Path) -> Result<Recording> {
        let program = find_program("perf").context("install linux-perf")?;
        let file = dir.join("perf.data");
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let perf = Command::new(program)
            .args(["record", "--quiet", "-F", HERTZ, "-p", &pids.join(","), "-o"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Recording { perf, file })
    }

    /// Ends it and prints on standard output which symbols and which threads had the CPU.
    pub(super) async fn print(mut self) -> Result<()> {
        let pid = self.perf.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("perf has ended by itself")?, Signal::INT)?;
        self.perf.wait().await?;
        for (fields, head) in [("overhead,sym", "by symbol"), ("overhead,comm", "by thread")] {
            let output = Command::new("perf")
                .args(["report", "--stdio", "--quiet", "--no-children", "--fields", fields, "-i"])
                .arg(&self.file)
                .stdin(Stdio::null())
                .output()
                .await?;
            let text = String::from_utf8_lossy(&output.stdout);
            ensure!(
                output.status.success(),
                "perf report: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            println!("CPU of the server, {head}:\n\n{}", top(&text));
        }
        Ok(())
    }
}

/// The lines with a share, indented by four as Markdown wants code.
fn top(report: &str) -> String {
    let lines = report
        .lines()
        .map(str::trim)
        .filter(|line| line.split_once('%').is_some_and(|(share, _)| share.parse::<f64>().is_ok()));
    // Some releases of perf add columns for what was not sampled.
    let without_dashes = |line: &str| {
        line.trim_end_matches(|end: char| end == '-' || end.is_whitespace()).to_owned()
    };
    lines.take(LINES).map(|line| format!("    {}\n", without_dashes(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers and hints of perf are not part of a profile.
    #[test]
    fn only_lines_with_a_share_are_kept() {
        let report =
            "# Samples: 5\n\n    31.20%  [k] copy\n     2.00%  [.] a::b<c>   -   - \n\n(tip: x)\n";
        assert_eq!(top(report), "    31.20%  [k] copy\n    2.00%  [.] a::b<c>\n");
        let many = "1.0% x\n".repeat(100);
        assert_eq!(top(&many).lines().count(), LINES);
    }
}
