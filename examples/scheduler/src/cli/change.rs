//! Changes of objects: `delete`, `stop`, `retry`, `scale`, `rollout`, … each a verb of the
//! server's.

use anyhow::Result;
use clap::{Args, Subcommand};
use mason_core::control::service::{RevisionState, ServiceProgress};
use mason_core::record::Progress;

use super::ask::{Asker, Target};
use super::exit::Exit;
use super::out;
use super::table::Table;
use super::text::plain;
use crate::api::wire::Change;
use crate::when::ago;

/// Names of objects.
#[derive(Debug, Args)]
pub(super) struct Names {
    /// Which
    #[arg(value_name = "NAME", required = true)]
    names: Vec<Target>,
}

/// How many replicas a service shall have.
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// Which service
    name: Target,
    /// How many
    replicas: u32,
}

/// Set a field of an object
#[derive(Debug, Subcommand)]
pub(super) enum SetCommand {
    /// The image of a service or a cron
    Image {
        /// Which
        name: Target,
        /// The image
        image: String,
    },
}

/// How a service gets from one revision to the next
#[derive(Debug, Subcommand)]
pub(super) enum RolloutCommand {
    /// Wait until the last change is rolled out, or has failed
    Status {
        /// Which service
        name: Target,
        /// At most so long, as 5m
        #[arg(long, value_name = "SPAN", value_parser = mason_core::manifest::quantity::parse_span)]
        timeout: Option<u64>,
    },
    /// Go back to the revision before, or to another
    Undo {
        /// Which service
        name: Target,
        /// To which revision
        #[arg(long, value_name = "REVISION")]
        to: Option<u64>,
    },
    /// List the revisions that are known
    History {
        /// Which service
        name: Target,
    },
}

/// Asks for the same of each.
pub(super) async fn each(names: &Names, verb: &str, asker: &Asker) -> Result<Exit> {
    for target in &names.names {
        one(asker, target, verb, &Change::default()).await?;
    }
    Ok(Exit::DONE)
}

async fn one(asker: &Asker, target: &Target, verb: &str, change: &Change) -> Result<()> {
    if target.index.is_some() {
        anyhow::bail!("{verb}: one task alone cannot be asked for: leave the index out");
    }
    let target = &asker.resolve(target).await?;
    let changed = asker.change(&target.name, verb, change).await?;
    let said = match (changed.message.as_str(), changed.revision) {
        ("", 0) => format!("{}: it is so already", target.name),
        ("", _) => format!("{}: {verb}", target.name),
        (message, _) => format!("{}: {message}", target.name),
    };
    out::line(&plain(&said));
    Ok(())
}

pub(super) async fn scale(args: &ScaleArgs, asker: &Asker) -> Result<Exit> {
    let change = Change { replicas: Some(args.replicas), ..Change::default() };
    one(asker, &args.name, "scale", &change).await?;
    Ok(Exit::DONE)
}

pub(super) async fn set(command: &SetCommand, asker: &Asker) -> Result<Exit> {
    let SetCommand::Image { name, image } = command;
    let change = Change { image: Some(image.clone()), ..Change::default() };
    one(asker, name, "image", &change).await?;
    Ok(Exit::DONE)
}

pub(super) async fn rollout(command: &RolloutCommand, asker: &Asker) -> Result<Exit> {
    match command {
        RolloutCommand::Status { name, timeout } => {
            let name = asker.resolve(name).await?.name;
            super::wait::rollout(asker, &name, *timeout).await
        }
        RolloutCommand::Undo { name, to } => {
            let change = Change { revision: *to, ..Change::default() };
            one(asker, name, "rollback", &change).await?;
            Ok(Exit::DONE)
        }
        RolloutCommand::History { name } => history(asker, &asker.resolve(name).await?.name).await,
    }
}

async fn history(asker: &Asker, name: &str) -> Result<Exit> {
    let detail = asker.detail(name).await?;
    let progress = detail.state.as_ref().map(|state| &state.progress);
    let Some(Progress::Service(value)) = progress else {
        match detail.summary.kind.as_str() {
            "service" => anyhow::bail!("service {name} has not begun yet"),
            kind => anyhow::bail!("{name} is a {kind}: only a service has revisions"),
        }
    };
    let progress = ServiceProgress::read(value)?;
    let mut table = Table::new(&["REVISION", "SPEC", "STATE", ""]);
    for revision in &progress.revisions {
        let now = if revision.number == progress.target { "current" } else { "" };
        let spec: String = revision.spec.as_str().chars().take(12).collect();
        let state = match revision.state {
            RevisionState::Whole(since) => format!("whole {} ago", ago(since)),
            RevisionState::Failed => "failed".to_owned(),
            RevisionState::Trying if revision.number == progress.target => "under way".to_owned(),
            RevisionState::Trying => "left before it was whole".to_owned(),
        };
        table.row([revision.number.to_string(), spec, state, now.to_owned()]);
    }
    out::raw(table.text(true).as_bytes());
    Ok(Exit::DONE)
}
