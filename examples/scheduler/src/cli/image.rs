//! `mason image`: what images nodes have.

mod layout;

use std::collections::VecDeque;
use std::io;
use std::path::{Path as FsPath, PathBuf};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Subcommand;
use futures_util::stream;
use http::Method;
use http_body_util::StreamBody;
use hyper::body::Frame;
use mason_core::manifest::quantity::format_bytes;
use tokio::io::AsyncReadExt as _;

use super::ask::Asker;
use super::exit::Exit;
use super::out;
use super::table::Table;
use super::text::plain;
use crate::api::client::Path;
use crate::api::wire::{Changed, ImageView, NodeView, PullImage};
use layout::Part;

/// How much of a file is sent at once, bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Look at the images of nodes, and bring some
#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// List them
    List {
        /// Of this node alone
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Bring one: what `docker save` wrote, or an OCI layout, as a folder or a tar
    Import {
        /// The file, or the folder
        file: PathBuf,
        /// What it shall be called, if the file does not say
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// To this node alone
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Fetch one from its registry
    Pull {
        /// Which
        name: String,
        /// To this node alone
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Remove one; what runs keeps what it has
    Remove {
        /// Which
        name: String,
        /// From this node alone
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
}

pub(super) async fn run(command: ImageCommand, asker: &Asker) -> Result<Exit> {
    match command {
        ImageCommand::List { node } => list(asker, node).await?,
        ImageCommand::Import { file, name, node } => {
            for node in nodes(asker, node).await? {
                let path = Path::of(&["nodes", &node, "images"]).with_some("name", name.as_ref());
                let body = StreamBody::new(pieces(&file)?);
                let images: Vec<ImageView> = asker.client.upload(path, body).await?;
                told(&node, "has", &images);
            }
        }
        ImageCommand::Pull { name, node } => {
            for node in nodes(asker, node).await? {
                let body = PullImage { name: name.clone() };
                let path = Path::of(&["nodes", &node, "images", "pull"]);
                let image: ImageView = asker.client.post(path, &body).await?;
                told(&node, "has", &[image]);
            }
        }
        ImageCommand::Remove { name, node } => {
            for node in nodes(asker, node).await? {
                let path = Path::of(&["nodes", &node, "images"]).with("name", &name);
                let _: Changed =
                    asker.client.json::<(), Changed>(Method::DELETE, path, None).await?;
                out::line(&plain(&format!("{node}: {name} is removed")));
            }
        }
    }
    Ok(Exit::DONE)
}

fn told(node: &str, what: &str, images: &[ImageView]) {
    for image in images {
        let bytes = format_bytes(image.bytes);
        out::line(&plain(&format!("{node}: {what} {} ({bytes})", image.name)));
    }
}

/// This node, or all that live.
async fn nodes(asker: &Asker, node: Option<String>) -> Result<Vec<String>> {
    if let Some(node) = node {
        return Ok(vec![node]);
    }
    let all: Vec<NodeView> = asker.client.get(Path::of(&["nodes"])).await?;
    let alive = all.into_iter().filter(|node| node.alive.is_some());
    let alive: Vec<String> = alive.map(|node| node.id.to_string()).collect();
    ensure!(!alive.is_empty(), "no node is alive");
    Ok(alive)
}

async fn list(asker: &Asker, node: Option<String>) -> Result<()> {
    let mut table = Table::new(&["NODE", "IMAGE", "SIZE", "DIGEST"]);
    for node in nodes(asker, node).await? {
        let path = Path::of(&["nodes", &node, "images"]);
        let images: Vec<ImageView> = asker.client.get(path).await?;
        for image in images {
            table.row([node.clone(), image.name, format_bytes(image.bytes), image.digest]);
        }
    }
    out::raw(table.text(true).as_bytes());
    Ok(())
}

type Pieces = stream::BoxStream<'static, io::Result<Frame<Bytes>>>;

/// A file, or a layout that is a folder, piece by piece.
fn pieces(path: &FsPath) -> Result<Pieces> {
    let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let parts = match meta.is_dir() {
        true => layout::parts(path)?,
        false => {
            ensure!(meta.is_file(), "{} is neither a file nor a folder", path.display());
            VecDeque::from([Part::File(path.to_owned(), meta.len())])
        }
    };
    Ok(Box::pin(stream::unfold((parts, None), next)))
}

/// What is still to be sent: parts, and what is left of the file that is open.
type Rest = (VecDeque<Part>, Option<(tokio::fs::File, u64)>);

async fn next((mut parts, mut open): Rest) -> Option<(io::Result<Frame<Bytes>>, Rest)> {
    loop {
        let Some((file, left)) = &mut open else {
            match parts.pop_front()? {
                Part::Bytes(bytes) => {
                    return Some((Ok(Frame::data(Bytes::from(bytes))), (parts, None)));
                }
                Part::File(path, size) => match tokio::fs::File::open(&path).await {
                    Ok(file) => open = Some((file, size)),
                    Err(error) => return Some((Err(error), (VecDeque::new(), None))),
                },
            }
            continue;
        };
        if *left == 0 {
            open = None;
            continue;
        }
        let piece = usize::try_from(*left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let mut buffer = vec![0; piece];
        let read = match file.read(&mut buffer).await {
            // It has become shorter while it was read.
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            read => read,
        };
        return match read {
            Ok(count) => {
                buffer.truncate(count);
                *left -= count as u64;
                Some((Ok(Frame::data(Bytes::from(buffer))), (parts, open)))
            }
            Err(error) => Some((Err(error), (VecDeque::new(), None))),
        };
    }
}
