//! `mason image`: images on nodes.

use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use http_body_util::StreamBody;
use hyper::body::Frame;
use mason_core::manifest::quantity::format_bytes;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::exit::Exit;
use super::table::Table;
use super::text::plain;
use crate::api::client::{Client, Path};
use crate::api::wire::{Changed, ImageView, NodeView, PullImage};

/// Bytes of a file that are sent at once.
const PIECE_BYTES: usize = 256 << 10;

/// On which nodes
#[derive(Debug, Args)]
pub(super) struct On {
    /// On this node alone; on all that live if not given
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

/// What is done
#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// List them
    List(On),
    /// Take in an OCI layout or an archive of `docker save`, as a tar
    Import {
        /// The file
        file: PathBuf,
        /// What it is called, if not as it says itself
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        on: On,
    },
    /// Fetch one from its registry
    Pull {
        /// Which
        name: String,
        #[command(flatten)]
        on: On,
    },
    /// Forget one
    Remove {
        /// Which
        name: String,
        #[command(flatten)]
        on: On,
    },
}

pub(super) async fn run(client: &Client, image: Image) -> Result<Exit> {
    match image {
        Image::List(on) => {
            let mut table = Table::new(&["NODE", "IMAGE", "SIZE", "DIGEST"]);
            for node in on.nodes(client).await? {
                let path = Path::of(&["nodes", &node, "images"]);
                for ImageView { name, digest, bytes } in client.get::<Vec<ImageView>>(path).await? {
                    table.row([node.clone(), name, format_bytes(bytes), digest]);
                }
            }
            print!("{}", table.text(true));
        }
        Image::Import { file, name, on } => {
            for node in on.nodes(client).await? {
                let path = Path::of(&["nodes", &node, "images"]).with_some("name", name.as_ref());
                let body = StreamBody::new(pieces(&file)?.map(|piece| piece.map(Frame::data)));
                for ImageView { name, .. } in client.upload::<Vec<ImageView>>(path, body).await? {
                    println!("{} is on {}", plain(&name), plain(&node));
                }
            }
        }
        Image::Pull { name, on } => {
            for node in on.nodes(client).await? {
                let path = Path::of(&["nodes", &node, "images", "pull"]);
                let body = PullImage { name: name.clone() };
                let ImageView { name, digest, .. } = client.post(path, &body).await?;
                println!("{} is on {}: {}", plain(&name), plain(&node), plain(&digest));
            }
        }
        Image::Remove { name, on } => {
            for node in on.nodes(client).await? {
                let path = Path::of(&["nodes", &node, "images"]).with("name", &name);
                let done: Changed = client.json::<(), _>(Method::DELETE, path, None).await?;
                println!("{}: {}", plain(&node), plain(&done.message));
            }
        }
    }
    Ok(Exit::DONE)
}

impl On {
    async fn nodes(&self, client: &Client) -> Result<Vec<String>> {
        if let Some(node) = &self.node {
            return Ok(vec![node.clone()]);
        }
        let all: Vec<NodeView> = client.get(Path::of(&["nodes"])).await?;
        let alive = all.into_iter().filter(|node| node.alive.is_some());
        let alive: Vec<String> = alive.map(|node| node.id.to_string()).collect();
        if alive.is_empty() {
            bail!("no node lives");
        }
        Ok(alive)
    }
}

/// A file in pieces, read by a thread of its own.
fn pieces(path: &std::path::Path) -> Result<ReceiverStream<io::Result<Bytes>>> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        bail!("{} is a folder: pack it with tar first", path.display());
    }
    let (send, pieces) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece).map(|count| {
                piece.truncate(count);
                Bytes::from(piece)
            });
            let is_end = read.as_ref().map_or(true, Bytes::is_empty);
            let is_empty = read.as_ref().is_ok_and(Bytes::is_empty);
            if !is_empty && send.blocking_send(read).is_err() || is_end {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(pieces))
}
