//! Changes of objects: stop, retry, restart, suspend, resume, scale, roll back, another image.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::exit::Exit;
use super::object::{ObjectArg, detail};
use super::run::verb;
use super::text::plain;
use crate::api::client::Client;
use crate::api::wire::{Change, Changed};

/// Which object
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    object: ObjectArg,
}

/// How many replicas
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    #[command(flatten)]
    object: ObjectArg,
    /// How many
    replicas: u32,
}

/// Another version of a service
#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Show how far it is
    Status(ChangeArgs),
    /// Go back to the revision before, or to another
    Undo {
        #[command(flatten)]
        object: ObjectArg,
        /// To which
        #[arg(long, value_name = "NUMBER")]
        revision: Option<u64>,
    },
    /// Show the state of its controller, with all revisions that are known
    History(ChangeArgs),
}

/// Set a field of an object
#[derive(Debug, Subcommand)]
pub(super) enum Set {
    /// Its image
    Image {
        #[command(flatten)]
        object: ObjectArg,
        /// Which
        image: String,
    },
}

pub(super) async fn plainly(client: &Client, args: ChangeArgs, name: &str) -> Result<Exit> {
    send(client, &args.object, name, Change::default()).await
}

pub(super) async fn scale(client: &Client, args: ScaleArgs) -> Result<Exit> {
    let change = Change { replicas: Some(args.replicas), ..Change::default() };
    send(client, &args.object, "scale", change).await
}

pub(super) async fn set(client: &Client, set: Set) -> Result<Exit> {
    let Set::Image { object, image } = set;
    send(client, &object, "image", Change { image: Some(image), ..Change::default() }).await
}

pub(super) async fn rollout(client: &Client, rollout: Rollout) -> Result<Exit> {
    match rollout {
        Rollout::Undo { object, revision } => {
            send(client, &object, "rollback", Change { revision, ..Change::default() }).await
        }
        Rollout::Status(args) => {
            let named = args.object.find(client).await?;
            let seen = detail(client, &named.key, None).await?;
            let it = &seen.summary;
            println!("{}: {} of {} ready", plain(&it.key.name), it.ready, it.wanted);
            for condition in seen.state.iter().flat_map(|state| &state.conditions) {
                let holds = if condition.holds { "yes" } else { "no" };
                println!("  {} {holds} ({})", plain(&condition.name), plain(&condition.reason));
            }
            Ok(Exit::DONE)
        }
        Rollout::History(args) => {
            let named = args.object.find(client).await?;
            let seen = detail(client, &named.key, None).await?;
            let progress = seen.state.map(|state| state.progress);
            println!("{}", serde_json::to_string_pretty(&progress)?);
            Ok(Exit::DONE)
        }
    }
}

async fn send(client: &Client, object: &ObjectArg, name: &str, change: Change) -> Result<Exit> {
    let named = object.find(client).await?;
    let changed: Changed = client.post(verb(&named.key, name), &change).await?;
    match changed.message.as_str() {
        "" => println!("{}: {name}", plain(&named.key.name)),
        message => println!("{}", plain(message)),
    }
    Ok(Exit::DONE)
}
