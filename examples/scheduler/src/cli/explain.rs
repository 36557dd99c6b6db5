//! `mason explain`: why a task is where it is, or why it waits.

use anyhow::Result;
use clap::Args;
use mason_core::types::JobKey;

use super::exit::Exit;
use super::object::ObjectArg;
use super::text::{plain, plain_lines};
use crate::api::client::{Client, ClientError, Path};
use crate::api::wire::Explained;

/// Say why a task is where it is, or why it waits
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    object: ObjectArg,
    /// As JSON
    #[arg(long)]
    json: bool,
}

async fn ask(
    client: &Client,
    key: &JobKey,
    index: Option<u32>,
) -> Result<Vec<Explained>, ClientError> {
    let path = Path::of(&["objects", &key.namespace, &key.name, "explain"]);
    client.get(path.with_some("index", index)).await
}

pub(super) async fn run(client: &Client, args: ExplainArgs) -> Result<Exit> {
    let named = args.object.find(client).await?;
    let all = ask(client, &named.key, named.index).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(Exit::DONE);
    }
    for one in &all {
        println!("{}", line(&named.key, one));
        if let Some(placement) = &one.placement {
            print!("{}", plain_lines(&placement.to_string()));
        }
    }
    Ok(Exit::DONE)
}

fn line(key: &JobKey, one: &Explained) -> String {
    let place = if one.indexes.is_empty() { String::new() } else { format!("/{}", one.indexes) };
    format!("{}{}  {}", plain(&key.name), plain(&place), plain(&one.state))
}

/// Says on standard error why a job waits; nothing if that cannot be known.
pub(super) async fn hint(client: &Client, key: &JobKey) {
    for one in ask(client, key, None).await.unwrap_or_default().iter().take(1) {
        eprintln!("mason: {}", line(key, one));
        if let Some(placement) = one.placement.as_ref().filter(|it| it.candidates.is_empty()) {
            eprint!("{}", plain_lines(&placement.to_string()));
        }
    }
}
