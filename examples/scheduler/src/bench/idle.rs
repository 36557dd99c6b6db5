//! What a server and an agent use that have nothing to do.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::report::{Goal, Report};
use super::stage::{Site, Stage};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    site: Site,
    /// How long they do nothing, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// The server alone: needs no root
    #[arg(long)]
    server_only: bool,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut stage = Stage::set(&options.site).await?;
    let mut agent = match options.server_only {
        true => None,
        false => Some(stage.agent().await?),
    };
    stage.server_leads().await?;
    let before = (stage.server.usage(), agent.as_ref().map(super::process::Part::usage));
    tokio::time::sleep(Duration::from_secs(options.seconds.into())).await;
    stage.check()?;
    let mut tell = |name: &str, was: super::process::Usage, is: super::process::Usage, most| {
        let memory = is.memory as f64 / f64::from(1 << 20);
        report.figure(&format!("idle {name}: memory"), memory, "MiB", Goal::Most(most));
        let busy = (is.cpu.saturating_sub(was.cpu)).as_secs_f64();
        let share = 100.0 * busy / f64::from(options.seconds.max(1));
        report.figure(&format!("idle {name}: of one core"), share, "%", Goal::Most(1.0));
    };
    tell("server", before.0, stage.server.usage(), 60.0);
    if let (Some(agent), Some(before)) = (&mut agent, before.1) {
        agent.check()?;
        tell("agent", before, agent.usage(), 25.0);
    }
    drop(agent);
    stage.strike().await
}
