//! What a run printed, as lines of JSON.
//!
//! ```text
//!   runs/<run>/log ── reaped ──► past-logs/<run>      the same offsets: who follows goes on there
//!                                      │ age, size
//!                                      ▼ gone
//! ```
//!
//! A run that has no log yet but will have one can be followed already. What was rotated away or is
//! damaged is told as [`LogEvent::Gone`], and the end as [`LogEvent::End`], always: an answer that
//! stops without one broke off. Between, there may be empty lines.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mason_core::types::{RunId, UnixMs};
use mason_node::log::{Cursor, Event, Stream};
use mason_node::runtime::Status;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Desk, LOGS_MAX, check_query, check_run, refused};
use crate::api::Refused;
use crate::api::wire::LogEvent;

/// Pieces of an answer that wait for the client at most.
const PIECES_MAX: usize = 4;
/// So much output makes a piece.
const PIECE_BYTES: usize = 64 << 10;
/// How long a thread waits for more at most.
const WAIT: Duration = Duration::from_millis(500);
/// How long nothing is said at most: an empty line then, which readers skip.
const BEAT: Duration = Duration::from_secs(15);
/// How often a log that is not there yet is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Which part of a log.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Part {
    /// From this offset on.
    from: Option<u64>,
    /// So many lines of its end.
    tail: Option<usize>,
    /// What was printed at this time or later.
    since: Option<UnixMs>,
    /// And what comes.
    follow: bool,
}

/// `GET /v1/runs/{run}/logs`
pub(super) async fn logs(
    State(desk): State<Arc<Desk>>,
    Path(run): Path<String>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Refused> {
    let (run, part) = (check_run(&run)?, check_query(part)?);
    if part.from.is_some() && (part.tail.is_some() || part.since.is_some()) {
        return Err(Refused::bad("from: it goes with neither tail nor since"));
    }
    let Ok(permit) = desk.logs.clone().try_acquire_owned() else {
        return Err(refused::full(LOGS_MAX, "logs"));
    };
    if desk.tools.runner.any_log(&run).is_none() && !desk.tools.known.has(&run) {
        let node = &desk.tools.node;
        let error = format!(
            "there is no log of run {run} on node {node}: it never ran here, printed nothing, or \
             its log is gone"
        );
        return Err(Refused::new(StatusCode::NOT_FOUND, error));
    }
    let (lines, pieces) = mpsc::channel(PIECES_MAX);
    let reading = Reading { desk, run, lines };
    // It ends when the client has what it wants, or is gone.
    tokio::spawn(async move {
        reading.read(part).await;
        drop(permit);
    });
    let body = Body::from_stream(ReceiverStream::new(pieces));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// One log that is read for one client.
struct Reading {
    desk: Arc<Desk>,
    run: RunId,
    lines: mpsc::Sender<Result<Bytes, Infallible>>,
}

impl Reading {
    async fn read(self, part: Part) {
        let Some(mut cursor) = self.begin(part).await else { return };
        // Nothing will be written any more: what is there now is all.
        let mut is_last = !part.follow;
        let mut spoke = Instant::now();
        loop {
            let events = match pump(cursor, !is_last).await {
                Ok((events, back)) => {
                    cursor = back;
                    events
                }
                Err((error, offset)) => {
                    let why = format!("the log cannot be read: {error}");
                    let gone = LogEvent::Gone { offset, bytes: 0, why };
                    self.say(&[gone, LogEvent::End { offset }]).await;
                    return;
                }
            };
            let (offset, is_idle) = (cursor.offset(), events.is_empty());
            let mut told: Vec<LogEvent> = events.into_iter().filter_map(told).collect();
            let is_end = cursor.is_over() || is_idle && is_last;
            if is_end {
                told.push(LogEvent::End { offset });
            }
            if !self.say(&told).await || is_end {
                return;
            }
            if !is_idle {
                spoke = Instant::now();
            } else if spoke.elapsed() > BEAT {
                // Who is gone is noticed when something is said.
                let _ = self.lines.send(Ok(Bytes::from_static(b"\n"))).await;
                spoke = Instant::now();
            }
            if is_idle {
                is_last = self.is_over().await;
                // The log may have been moved meanwhile; the offsets stay.
                if let Some(log) = self.desk.tools.runner.any_log(&self.run) {
                    cursor = log.from(offset);
                }
            }
        }
    }

    /// The place to begin at. Waits for a log that will be there, if it is to be followed.
    async fn begin(&self, part: Part) -> Option<Cursor> {
        let tools = &self.desk.tools;
        let log = loop {
            match tools.runner.any_log(&self.run) {
                Some(log) => break log,
                None if part.follow && tools.known.has(&self.run) => {
                    if self.lines.is_closed() {
                        return None;
                    }
                    tokio::time::sleep(LOOK).await;
                }
                None => {
                    let offset = part.from.unwrap_or(0);
                    self.say(&[LogEvent::End { offset }]).await;
                    return None;
                }
            }
        };
        let found = tokio::task::spawn_blocking(move || {
            let (events, cursor) = match (part.from, part.tail, part.since) {
                (Some(from), ..) => (Vec::new(), log.from(from)),
                (None, Some(lines), _) => log.tail(lines)?,
                (None, None, Some(since)) => (Vec::new(), log.since(since)?),
                (None, None, None) => (Vec::new(), log.from(0)),
            };
            Ok::<_, std::io::Error>((events, cursor))
        });
        match found.await.expect("reading a log does not panic") {
            Ok((events, cursor)) => {
                let is_wanted = |event: &Event| match (event, part.since) {
                    (Event::Output { time, .. }, Some(since)) => *time >= since,
                    _ => true,
                };
                let events = events.into_iter().filter(is_wanted);
                let told: Vec<LogEvent> = events.filter_map(told).collect();
                self.say(&told).await.then_some(cursor)
            }
            Err(error) => {
                let why = format!("the log cannot be read: {error}");
                let gone = LogEvent::Gone { offset: 0, bytes: 0, why };
                self.say(&[gone, LogEvent::End { offset: 0 }]).await;
                None
            }
        }
    }

    /// Whether nothing can follow though its log does not say so: whoever wrote it was killed.
    async fn is_over(&self) -> bool {
        let tools = &self.desk.tools;
        if self.lines.is_closed() || !tools.known.has(&self.run) {
            return true;
        }
        let (runner, run) = (tools.runner.clone(), self.run.clone());
        let looked = tokio::task::spawn_blocking(move || runner.look(&run)).await;
        matches!(looked.expect("the runtime's calls do not panic"), Ok(Status::Ended(_)))
    }

    /// Whether the client is still there.
    async fn say(&self, told: &[LogEvent]) -> bool {
        let mut lines = Vec::new();
        for event in told {
            serde_json::to_writer(&mut lines, event).expect("it is made of text and numbers");
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return !self.lines.is_closed();
        }
        self.lines.send(Ok(lines.into())).await.is_ok()
    }
}

/// Reads a piece. Waits a moment for more, if there is none yet and it is to be followed.
async fn pump(
    mut cursor: Cursor,
    follow: bool,
) -> Result<(Vec<Event>, Cursor), (std::io::Error, u64)> {
    let read = tokio::task::spawn_blocking(move || {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while bytes < PIECE_BYTES {
            let next = match cursor.read() {
                // The log may be moved away between the look and the watch; it is looked for then.
                Ok(None) if follow && events.is_empty() => match cursor.follow(WAIT) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    next => next,
                },
                next => next,
            };
            match next {
                Ok(Some(Event::End) | None) => break,
                Ok(Some(event)) => {
                    bytes += match &event {
                        Event::Output { bytes, .. } => bytes.len(),
                        _ => 0,
                    };
                    events.push(event);
                }
                Err(error) => return Err((error, cursor.offset())),
            }
        }
        Ok((events, cursor))
    });
    read.await.expect("reading a log does not panic")
}

fn told(event: Event) -> Option<LogEvent> {
    Some(match event {
        Event::Output { offset, stream, time, bytes } => {
            let stderr = stream != Stream::Stdout;
            LogEvent::Output { offset, stderr, time, bytes: STANDARD.encode(bytes) }
        }
        Event::Gone { offset, bytes } => {
            LogEvent::Gone { offset, bytes, why: "it was rotated away".to_owned() }
        }
        Event::Damaged { file, offset, bytes } => {
            let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            LogEvent::Gone { offset, bytes, why: format!("{file} is damaged there") }
        }
        Event::End => return None,
    })
}
