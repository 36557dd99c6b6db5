//! Following the log of a run, over breaks of the connection, without loss or repeat.
//!
//! Each piece of output says at which offset of the log it begins. After a break the log is asked
//! for from the last offset that was seen on, and what was seen is left out.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mason_core::types::RunId;

use super::out;
use crate::api::client::{Client, ClientError, Lines, Path};
use crate::api::wire::LogEvent;
use crate::when::stamp;

/// How long until who does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// What of a log is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    /// The last so many lines alone.
    pub(super) tail: Option<usize>,
    /// What was printed since then alone.
    pub(super) since: Option<u64>,
    /// And what comes.
    pub(super) follow: bool,
}

/// A log that is followed.
pub(super) struct Follower<'a> {
    client: &'a Client,
    run: &'a RunId,
    ask: Ask,
    lines: Option<Lines>,
    /// Where the last piece began that was seen.
    seen: Option<u64>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(client: &'a Client, run: &'a RunId, ask: Ask) -> Follower<'a> {
        Follower { client, run, ask, lines: None, seen: None }
    }

    /// What comes next; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<LogEvent>> {
        loop {
            match self.try_next().await {
                Ok(event) => return Ok(event),
                Err(error) if self.ask.follow && error.is_passing() => {
                    self.lines = None;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                None => self.lines.insert(self.client.lines(self.path()).await?),
            };
            match lines.next().await? {
                Some(LogEvent::End { .. }) => return Ok(None),
                Some(LogEvent::Output { offset, .. } | LogEvent::Gone { offset, .. })
                    if self.seen.is_some_and(|seen| offset <= seen) => {}
                Some(event) => {
                    if let LogEvent::Output { offset, .. } = &event {
                        self.seen = Some(*offset);
                    }
                    return Ok(Some(event));
                }
                None if self.ask.follow => self.lines = None,
                None => return Ok(None),
            }
        }
    }

    fn path(&self) -> Path {
        let mut path = Path::of(&["runs", self.run.as_str(), "logs"]);
        match self.seen {
            Some(seen) => path = path.with("from", seen),
            None => {
                path = path.with_some("tail", self.ask.tail).with_some("since", self.ask.since);
            }
        }
        if self.ask.follow { path.with("follow", true) } else { path }
    }
}

/// Prints a piece of a log where it belongs.
pub(super) fn print(event: &LogEvent, prefix: &Prefix) -> Result<()> {
    match event {
        LogEvent::Output { stderr, time, bytes, .. } => {
            let bytes = STANDARD.decode(bytes).map_err(|error| anyhow!("the log: {error}"))?;
            let bytes = prefix.before(&bytes, *time, *stderr);
            if *stderr { out::raw_error(&bytes) } else { out::raw(&bytes) }
        }
        LogEvent::Gone { bytes, why, .. } => {
            let why = super::text::plain(why);
            out::raw_error(format!("mason: {bytes} bytes of the log are gone: {why}\n").as_bytes());
        }
        LogEvent::End { .. } => {}
    }
    Ok(())
}

/// What stands before each line.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    /// Whose it is.
    pub(super) name: Option<String>,
    /// When it was printed.
    pub(super) time: bool,
    /// Whether output, or what was complained, ended within a line: it goes on there.
    pub(super) within: [Cell<bool>; 2],
}

impl Prefix {
    fn before(&self, bytes: &[u8], time: u64, stderr: bool) -> Vec<u8> {
        if self.name.is_none() && !self.time {
            return bytes.to_vec();
        }
        let mut head = String::new();
        if let Some(name) = &self.name {
            head += &format!("{name} | ");
        }
        if self.time {
            head += &format!("{} ", stamp(time));
        }
        let mut text = Vec::with_capacity(bytes.len() + head.len());
        let within = &self.within[usize::from(stderr)];
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !within.replace(!line.ends_with(b"\n")) {
                text.extend_from_slice(head.as_bytes());
            }
            text.extend_from_slice(line);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of several tasks are told apart by what stands before each of them.
    #[test]
    fn each_line_has_its_prefix() {
        let prefix = Prefix { name: Some("a/0".to_owned()), time: true, ..Prefix::default() };
        let before = |bytes: &[u8]| String::from_utf8(prefix.before(bytes, 0, false)).unwrap();
        let head = "a/0 | 1970-01-01T00:00:00.000Z ";
        assert_eq!(before(b"one\ntwo\nth"), format!("{head}one\n{head}two\n{head}th"));
        assert_eq!(before(b"ree\n"), "ree\n", "the rest of a line has none of its own");
        assert_eq!(Prefix::default().before(b"one", 0, true), b"one");
    }
}
