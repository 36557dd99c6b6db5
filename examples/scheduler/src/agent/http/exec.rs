//! Runs a command in a container, over a connection that is upgraded to frames.
//!
//! ```text
//!   client ── POST …/exec, Upgrade: mason-exec ──► agent ──► keeper ──► the process
//!          ◄─ 101 ──────────────────────────────
//!          ── stdin … stdin, empty: its end ────► a pipe
//!          ◄─ stdout, stderr, … end ───────────── pipes, exit code
//! ```
//!
//! The process is killed when the client goes: whoever wants to hear how it ended keeps its side of
//! the connection open. Every 15 seconds without output an empty frame of output is sent, so that a
//! client that vanished without a word is noticed in the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use mason_node::runtime::Process;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::{Desk, SESSIONS_MAX, check_run, refused};
use crate::api::Refused;
use crate::api::wire::{Exec, ExecEnd, FRAME_BYTES_MAX, FrameKind, UPGRADE as PROTOCOL};

/// Bytes of a frame before what it holds.
const HEAD_BYTES: usize = 5;
/// Frames of input that wait for the process at most. As long as there is room, a client that goes
/// is noticed.
const INPUTS_MAX: usize = 16;
/// So much output makes a frame.
const OUTPUT_BYTES: usize = 32 << 10;
/// How long nothing is said at most.
const BEAT: Duration = Duration::from_secs(15);

type Io = TokioIo<Upgraded>;

/// `POST /v1/runs/{run}/exec`
pub(super) async fn exec(
    State(desk): State<Arc<Desk>>,
    Path(run): Path<String>,
    mut request: Request,
) -> Result<Response, Refused> {
    let run = check_run(&run)?;
    let wants = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes());
    let is_asked = request.headers().get(UPGRADE).is_some_and(wants);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (true, Some(upgrade)) = (is_asked, upgrade) else {
        let error = format!("this takes an upgrade of HTTP/1.1 to {PROTOCOL}");
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, error));
    };
    let body: Result<Json<Exec>, JsonRejection> = Json::from_request(request, &()).await;
    let Json(Exec { command }) =
        body.map_err(|error| Refused::new(error.status(), error.body_text()))?;
    if command.is_empty() || command.iter().any(|word| word.contains('\0')) {
        return Err(Refused::bad("command: it has words, and no zero byte in them"));
    }
    let Ok(permit) = desk.sessions.clone().try_acquire_owned() else {
        return Err(refused::full(SESSIONS_MAX, "commands"));
    };
    let runner = desk.tools.runner.clone();
    let exec = mason_shim::request::Exec { command, ..Default::default() };
    let began = tokio::task::spawn_blocking(move || runner.exec(&run, &exec)).await;
    let process = began.expect("the runtime's calls do not panic")?;
    let mut running = desk.running.lock();
    while running.try_join_next().is_some() {}
    running.spawn(async move {
        // Dropping the process kills it, however this ends.
        if let Ok(upgraded) = upgrade.await {
            let _ = serve(process, TokioIo::new(upgraded)).await;
        }
        drop(permit);
    });
    drop(running);
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, PROTOCOL)
        .body(Body::empty());
    Ok(response.expect("these headers are good"))
}

/// Serves one command; an error is that the client is gone.
async fn serve(mut process: Process, io: Io) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(io);
    let (inputs, waiting) = mpsc::channel(INPUTS_MAX);
    let stdin = process.stdin.take().map(Into::into).map(pipe::Sender::from_owned_fd);
    let input = stdin.transpose()?;
    let end = {
        let heard = hear(reader, inputs);
        let fed = feed(input, waiting);
        tokio::pin!(heard, fed);
        let printed = print(&process, &mut writer);
        tokio::pin!(printed);
        let mut is_fed = false;
        loop {
            tokio::select! {
                printed = &mut printed => break printed.map(|()| None)?,
                // It is gone, or talks nonsense, which it is told.
                heard = &mut heard => break Some(heard?),
                () = &mut fed, if !is_fed => is_fed = true,
            }
        }
    };
    let end = match end {
        Some(error) => ExecEnd { code: None, error },
        None => match tokio::task::spawn_blocking(move || process.wait()).await {
            Ok(Ok(code)) => ExecEnd { code: Some(code), error: String::new() },
            Ok(Err(error)) => ExecEnd { code: None, error: error.to_string() },
            Err(_) => ExecEnd { code: None, error: "nobody saw its end".to_owned() },
        },
    };
    let end = serde_json::to_vec(&end).expect("it is made of text and numbers");
    send(&mut writer, FrameKind::End, &end).await?;
    writer.shutdown().await
}

/// Hears the client until it is gone; what is wrong with what it says, if something is.
async fn hear(mut reader: ReadHalf<Io>, inputs: mpsc::Sender<Vec<u8>>) -> io::Result<String> {
    loop {
        let mut head = [0; HEAD_BYTES];
        reader.read_exact(&mut head).await?;
        let len = u32::from_be_bytes(head[1..].try_into().expect("four bytes"));
        if head[0] != FrameKind::Stdin as u8 {
            return Ok(format!("a frame of kind {} is not a client's to send", head[0]));
        }
        if len > FRAME_BYTES_MAX {
            return Ok(format!("a frame of {len} bytes is longer than {FRAME_BYTES_MAX}"));
        }
        let mut bytes = vec![0; usize::try_from(len).expect("it is small")];
        reader.read_exact(&mut bytes).await?;
        // What nobody reads any more is thrown away.
        let _ = inputs.send(bytes).await;
    }
}

/// Gives the process what it reads; an empty piece is the end.
async fn feed(input: Option<pipe::Sender>, mut pieces: mpsc::Receiver<Vec<u8>>) {
    let Some(mut input) = input else { return };
    while let Some(piece) = pieces.recv().await {
        if piece.is_empty() || input.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// Hands on what the process prints until it has ended and nothing is left of that.
async fn print(process: &Process, writer: &mut WriteHalf<Io>) -> io::Result<()> {
    let open = |pipe: &io::PipeReader| pipe::Receiver::from_owned_fd(pipe.try_clone()?.into());
    let (mut out, mut err) = (open(&process.stdout)?, open(&process.stderr)?);
    let (mut out_bytes, mut err_bytes) = (vec![0; OUTPUT_BYTES], vec![0; OUTPUT_BYTES]);
    let (mut out_open, mut err_open) = (true, true);
    let ending = ending(process)?;
    let mut has_ended = false;
    loop {
        tokio::select! {
            // What it printed comes before its end.
            biased;
            got = out.read(&mut out_bytes), if out_open => {
                let got = got?;
                out_open = got > 0;
                if out_open {
                    send(writer, FrameKind::Stdout, &out_bytes[..got]).await?;
                }
            }
            got = err.read(&mut err_bytes), if err_open => {
                let got = got?;
                err_open = got > 0;
                if err_open {
                    send(writer, FrameKind::Stderr, &err_bytes[..got]).await?;
                }
            }
            ended = ending.readable(), if !has_ended => {
                drop(ended?);
                has_ended = true;
            }
            // Something that it left behind may hold the pipes for ever: it is not waited for.
            () = std::future::ready(()), if has_ended => return Ok(()),
            () = tokio::time::sleep(BEAT) => send(writer, FrameKind::Stdout, b"").await?,
        }
    }
}

#[expect(deprecated, reason = "what is unsound with a descriptor that lies is not with an OwnedFd")]
fn ending(process: &Process) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    AsyncFd::new(process.ending()?)
}

async fn send(writer: &mut WriteHalf<Io>, kind: FrameKind, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).expect("a frame is small");
    let mut frame = Vec::with_capacity(HEAD_BYTES + bytes.len());
    frame.push(kind as u8);
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(bytes);
    writer.write_all(&frame).await?;
    writer.flush().await
}
