//! `mason exec`: something in a running container, with what is typed and printed.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use mason_core::record::{RunPhase, TaskWait};
use mason_core::types::RunId;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::ask::{Asker, Target};
use super::exit::Exit;
use super::out;
use super::text::plain;
use crate::api::client::Path;
use crate::api::wire::{Exec, ExecEnd, FRAME_BYTES_MAX, FrameKind};

/// How much of standard input is sent at once, bytes.
const PIECE_BYTES: usize = 16 << 10;

/// Run a command in a container that runs, and end as it ends
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// In which task: NAME, or NAME/INDEX
    #[arg(value_name = "NAME[/INDEX]")]
    target: Target,
    /// Let the command read standard input
    #[arg(long, short)]
    interactive: bool,
    /// The words of the command
    #[arg(last = true, required = true, value_name = "WORD")]
    words: Vec<String>,
}

pub(super) async fn run(args: ExecArgs, asker: &Asker) -> Result<Exit> {
    let run = running(asker, &args.target).await?;
    let path = Path::of(&["runs", run.as_str(), "exec"]);
    let stream = asker.client.upgrade(path, &Exec { command: args.words }).await?;
    let (from, to) = tokio::io::split(stream);
    let stdin = tokio::spawn(feed(to, args.interactive));
    let ended = listen(from).await;
    stdin.abort();
    let ended = ended?;
    match ended.code {
        Some(code) => Ok(Exit::of_code(code)),
        None => {
            eprintln!("mason: {}", plain(&ended.error));
            Ok(Exit::OURS)
        }
    }
}

/// The run of a task that has a container now.
async fn running(asker: &Asker, target: &Target) -> Result<RunId> {
    let target = &asker.resolve(target).await?;
    let detail = asker.detail(&target.name).await?;
    let mut found = None;
    for task in &detail.tasks {
        let runs = task.seen.as_ref().is_some_and(|seen| seen.phase == RunPhase::Running);
        let is_meant = target.index.is_none_or(|index| index == task.index);
        let wait = task.task.as_ref().map(|task| &task.wait);
        if let (true, true, Some(TaskWait::Bound { run, .. })) = (runs, is_meant, wait) {
            found = Some(run.clone());
            break;
        }
    }
    found.with_context(|| match (target.index, detail.summary.phase) {
        (_, Some(phase)) if phase.is_final() => format!("{} has ended", target.name),
        (Some(index), _) => format!("task {index} of {} does not run now", target.name),
        (None, _) => format!("no task of {0} runs now: mason status {0}", target.name),
    })
}

/// Sends what is typed, frame by frame, and then that there is no more.
async fn feed(mut to: impl AsyncWrite + Unpin, is_read: bool) -> Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = if is_read { stdin.read(&mut buffer).await? } else { 0 };
        let length = u32::try_from(count).expect("a piece is small");
        to.write_all(&[FrameKind::Stdin as u8]).await?;
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
        if count == 0 {
            // Who closes its half has gone: it stays open until the end comes.
            std::future::pending::<()>().await;
        }
    }
}

/// Prints what comes, until it says how it ended.
async fn listen(mut from: impl AsyncRead + Unpin) -> Result<ExecEnd> {
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head).await.context("the connection broke before the end")?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        ensure!(length <= FRAME_BYTES_MAX, "the agent sends a frame of {length} bytes");
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes).await.context("the connection broke before the end")?;
        match head[0] {
            kind if kind == FrameKind::Stdout as u8 => out::raw(&bytes),
            kind if kind == FrameKind::Stderr as u8 => out::raw_error(&bytes),
            kind if kind == FrameKind::End as u8 => {
                return serde_json::from_slice(&bytes).context("how it ended does not read");
            }
            kind => bail!("the agent sends a frame of kind {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        [&[kind][..], &length.to_be_bytes(), bytes].concat()
    }

    /// An agent may be another program than it says: what it sends is read with care.
    #[tokio::test]
    async fn frames_that_make_no_sense_end_it() {
        let end = frame(3, br#"{"code":7}"#);
        assert_eq!(listen(&end[..]).await.unwrap().code, Some(7));
        for bad in [&frame(9, b"x")[..], &[1, 255, 255, 255, 255], &[1, 0, 0, 0, 9, 1], &[]] {
            assert!(listen(bad).await.is_err(), "{bad:?}");
        }
    }
}
