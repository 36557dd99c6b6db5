//! `mason exec`: something run in a container.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::exit::{Exit, complain};
use super::follow::bound;
use super::object::{ObjectArg, detail};
use super::text::plain;
use crate::api::client::{Client, Path};
use crate::api::wire::{Exec, ExecEnd, FRAME_BYTES_MAX, FrameKind};

/// Run something in a container
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    object: ObjectArg,
    /// Hand on what is typed here
    #[arg(short, long)]
    interactive: bool,
    /// The command and its words
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs it; whatever goes wrong on our side is told by its own code.
pub(super) async fn run(client: &Client, args: ExecArgs) -> Result<Exit> {
    attempt(client, args).await.or_else(|error| {
        complain(&error);
        Ok(Exit::OURS)
    })
}

async fn attempt(client: &Client, args: ExecArgs) -> Result<Exit> {
    let named = args.object.find(client).await?;
    let seen = detail(client, &named.key, None).await?;
    let wanted = |index: u32| named.index.is_none_or(|wanted| wanted == index);
    let mut runs = seen.tasks.iter().filter(|view| wanted(view.index)).filter_map(bound);
    let Some(run) = runs.next() else { bail!("no such task of {} runs", named.key) };
    let path = Path::of(&["runs", run.as_str(), "exec"]);
    let connection = client.upgrade(path, &Exec { command: args.command }).await?;
    let (mut from, mut to) = tokio::io::split(connection);
    let mut typed = typed(args.interactive);
    // Ends when the process does: what is typed after that goes nowhere.
    let send = async {
        while let Some(piece) = typed.recv().await {
            let is_end = piece.is_empty();
            let sent = to.write_all(&frame(FrameKind::Stdin, &piece)).await;
            if sent.is_err() || to.flush().await.is_err() || is_end {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let hear = async {
        loop {
            let (kind, bytes) = read(&mut from).await?;
            match kind {
                1 => {
                    let mut out = std::io::stdout().lock();
                    out.write_all(&bytes).and_then(|()| out.flush()).context("output")?;
                }
                2 => std::io::stderr().lock().write_all(&bytes).context("output")?,
                3 => return serde_json::from_slice::<ExecEnd>(&bytes).context("how it ended"),
                other => bail!("a frame of kind {other}, which is none"),
            }
        }
    };
    let end: ExecEnd = tokio::select! {
        end = hear => end?,
        () = send => unreachable!("it never ends"),
    };
    match end.code {
        Some(code) => Ok(Exit::of_code(code)),
        None => bail!("{}", plain(&end.error)),
    }
}

/// What is typed, in pieces; an empty one at its end.
fn typed(is_interactive: bool) -> mpsc::Receiver<Vec<u8>> {
    let (send, typed) = mpsc::channel(4);
    if !is_interactive {
        // There is room for one.
        let _ = send.try_send(Vec::new());
        return typed;
    }
    // A thread of its own: a read from a terminal ends when somebody types.
    std::thread::spawn(move || {
        use std::io::Read as _;
        let mut piece = [0; 16 << 10];
        loop {
            let count = std::io::stdin().read(&mut piece).unwrap_or(0);
            if send.blocking_send(piece[..count].to_vec()).is_err() || count == 0 {
                return;
            }
        }
    });
    typed
}

fn frame(kind: FrameKind, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("pieces are small");
    assert!(len <= FRAME_BYTES_MAX, "a frame has a bound");
    [&[kind as u8][..], &len.to_be_bytes(), bytes].concat()
}

async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await.context("the connection broke")?;
    let len = from.read_u32().await.context("the connection broke")?;
    ensure!(len <= FRAME_BYTES_MAX, "a frame of {len} bytes, more than there may be");
    let mut bytes = vec![0; usize::try_from(len).expect("checked")];
    from.read_exact(&mut bytes).await.context("the connection broke")?;
    Ok((kind, bytes))
}
