//! The output of a task, over its attempts and over broken connections, without gap or repeat.
//!
//! An event of a log begins at an offset. After a break it is asked for again from the last offset
//! that was printed, and that one event is passed over. A retry is another run with another log:
//! which runs there were is in the events, so that one that came and went between two looks is
//! printed, too.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mason_core::record::TaskWait;
use mason_core::types::{JobKey, RunId, UnixMs};

use super::clock;
use super::object::detail;
use crate::api::client::{Client, ClientError, Path};
use crate::api::wire::{Detail, Event, LogEvent, TaskView};

/// How long it waits before it looks again whether an agent knows a run.
const PAUSE: Duration = Duration::from_millis(150);
/// How long nobody may answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What of a log is wanted, and how it is printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) tail: Option<u64>,
    pub(super) since: Option<UnixMs>,
    pub(super) timestamps: bool,
    /// Before each line.
    pub(super) prefix: Option<String>,
}

/// One task's output.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) key: JobKey,
    pub(super) index: u32,
    pub(super) wanted: Wanted,
}

/// How reading a log ended.
enum Ended {
    /// At its end.
    Over,
    /// The agent does not know it.
    Unknown,
}

/// The run of a task, if it has one.
pub(super) fn bound(view: &TaskView) -> Option<&RunId> {
    match &view.task.as_ref()?.wait {
        TaskWait::Bound { run, .. } => Some(run),
        TaskWait::Due { .. } => None,
    }
}

impl Follower {
    /// Prints what there is, or all until the task has ended for good.
    pub(super) async fn print(self) -> Result<()> {
        let mut done: BTreeSet<RunId> = BTreeSet::new();
        loop {
            let seen = match detail(&self.client, &self.key, None).await {
                // It is deleted, and was followed to its end.
                Err(error) if error.is_not_found() && !done.is_empty() => return Ok(()),
                seen => seen?,
            };
            let view = seen.tasks.iter().find(|view| view.index == self.index);
            let current = view.and_then(bound).cloned();
            let mut runs = if self.wanted.follow { self.runs().await? } else { Vec::new() };
            let last = view.and_then(|view| view.past.as_ref()).map(|past| past.run.clone());
            match &current {
                Some(run) if !runs.contains(run) => runs.push(run.clone()),
                None => runs.extend(last.filter(|run| !runs.contains(run))),
                Some(_) => {}
            }
            let mut is_idle = true;
            for run in runs {
                if done.contains(&run) {
                    continue;
                }
                is_idle = false;
                match self.read(&run, current.as_ref() == Some(&run)).await? {
                    Ended::Unknown if self.wanted.follow && current.as_ref() == Some(&run) => {
                        // Its agent has not heard of it yet.
                        tokio::time::sleep(PAUSE).await;
                    }
                    Ended::Over | Ended::Unknown => {
                        done.insert(run);
                    }
                }
            }
            if !self.wanted.follow || is_idle && self.is_over(&seen, view) {
                return Ok(());
            }
            if is_idle {
                let after = Some(seen.revision);
                let news = detail(&self.client, &self.key, after).await;
                news.map(drop).or_else(|error| match error.is_not_found() {
                    true => Ok(()),
                    false => Err(error),
                })?;
            }
        }
    }

    fn is_over(&self, seen: &Detail, view: Option<&TaskView>) -> bool {
        let is_marked = view.is_some_and(|view| view.mark.is_some());
        let is_final = seen.summary.phase.is_some_and(mason_core::record::Phase::is_final);
        (is_marked || is_final) && view.is_none_or(|view| bound(view).is_none())
    }

    /// All runs of the task that the server remembers, in order.
    async fn runs(&self) -> Result<Vec<RunId>> {
        let path = Path::of(&["events"]).with("namespace", &self.key.namespace);
        let mut lines = self.client.lines(path.with("name", &self.key.name)).await?;
        let mut runs = Vec::new();
        while let Some(event) = lines.next::<Event>().await? {
            if event.index == Some(self.index)
                && let Some(run) = event.run
                && !runs.contains(&run)
            {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// Prints one run's log.
    async fn read(&self, run: &RunId, is_current: bool) -> Result<Ended> {
        let (mut last, mut silent) = (None, None::<tokio::time::Instant>);
        let mut out = Printer { wanted: &self.wanted, is_inside: [false; 2] };
        loop {
            let ended = self.pass(run, is_current, (&mut last, &mut out)).await;
            match ended {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => silent = None,
                Err(error) => {
                    let client = error.downcast_ref::<ClientError>();
                    if !client.is_some_and(ClientError::is_passing) {
                        return Err(error);
                    }
                    let since = silent.get_or_insert_with(tokio::time::Instant::now);
                    if since.elapsed() > PATIENCE {
                        return Err(error).context("the log cannot be followed any more");
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One connection; none if it ended before the log did.
    async fn pass(
        &self,
        run: &RunId,
        is_current: bool,
        (last, out): (&mut Option<u64>, &mut Printer<'_>),
    ) -> Result<Option<Ended>> {
        let mut path = Path::of(&["runs", run.as_str(), "logs"]);
        path = match *last {
            Some(offset) => path.with("from", offset),
            None => path.with_some("tail", self.wanted.tail).with_some("since", self.wanted.since),
        };
        if self.wanted.follow && is_current {
            path = path.with("follow", true);
        }
        let mut lines = match self.client.lines(path).await {
            Err(error) if error.is_not_found() => return Ok(Some(Ended::Unknown)),
            lines => lines?,
        };
        while let Some(event) = lines.next::<LogEvent>().await? {
            match event {
                LogEvent::Output { offset, .. } if *last == Some(offset) => {}
                LogEvent::Output { offset, stderr, time, bytes } => {
                    out.print(stderr, time, &STANDARD.decode(bytes)?)?;
                    *last = Some(offset);
                }
                LogEvent::Gone { bytes, why, .. } => {
                    eprintln!("mason: {bytes} bytes are missing: {}", super::text::plain(&why));
                }
                LogEvent::End { .. } => return Ok(Some(Ended::Over)),
            }
        }
        Ok(None)
    }
}

/// Prints output as it was printed, and before each line what was asked for.
struct Printer<'a> {
    wanted: &'a Wanted,
    /// Whether each stream is in the middle of a line.
    is_inside: [bool; 2],
}

impl Printer<'_> {
    fn print(&mut self, stderr: bool, time: UnixMs, bytes: &[u8]) -> Result<()> {
        let mut text = Vec::with_capacity(bytes.len());
        if self.wanted.prefix.is_none() && !self.wanted.timestamps {
            text.extend_from_slice(bytes);
        } else {
            let is_inside = &mut self.is_inside[usize::from(stderr)];
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                if !*is_inside {
                    text.extend(self.wanted.prefix.iter().flat_map(|prefix| prefix.bytes()));
                    if self.wanted.timestamps {
                        text.extend(clock::utc(time).bytes().chain([b' ']));
                    }
                }
                *is_inside = !line.ends_with(b"\n");
                text.extend_from_slice(line);
            }
        }
        let written = match stderr {
            true => io::stderr().lock().write_all(&text),
            false => {
                let mut out = io::stdout().lock();
                out.write_all(&text).and_then(|()| out.flush())
            }
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => bail!("nobody reads"),
            written => Ok(written?),
        }
    }
}
