//! The scrub: reads every block on this member's disk now and then, before somebody needs it.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use drystone_kv::engine::EngineError;
use tokio::runtime::Runtime;

use super::report;
use super::rest::Share;
use crate::error_text;
use crate::member::Shared;
use crate::shutdown::Shutdown;
use crate::store::Error;

/// It rests after so much work, and not after each block.
const WORK: Duration = Duration::from_millis(5);

/// Starts the thread that does it, unless it may take nothing. It ends when the server stops.
pub(crate) fn start(member: &Shared, stop: &Shutdown) -> std::io::Result<Option<JoinHandle<()>>> {
    let Some(share) = Share::of_percent(member.config.comparison.percent) else {
        return Ok(None);
    };
    let clock = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scrub = Scrub { member: member.clone(), share, stop: stop.clone(), clock };
    let run = move || scrub.run();
    std::thread::Builder::new().name("scrub".to_owned()).spawn(run).map(Some)
}

struct Scrub {
    member: Shared,
    share: Share,
    stop: Shutdown,
    /// Drives its waits.
    clock: Runtime,
}

impl Scrub {
    fn run(&self) {
        loop {
            self.pass();
            if !self.rest(self.member.config.comparison.pause) {
                return;
            }
        }
    }

    /// False if the server stops.
    fn rest(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        self.clock.block_on(async { tokio::time::timeout(pause, stop.fired()).await.is_err() })
    }

    /// Reads everything once, up to the first damage.
    fn pass(&self) {
        let mut after = None;
        loop {
            match self.piece(after) {
                Ok(Some(piece)) => after = Some(piece),
                Ok(None) => return,
                Err(_) if self.stop.has_fired() => return,
                // Once more: what was read wrongly once may be right on the disk.
                Err(_) => match self.piece(after) {
                    Ok(Some(piece)) => after = Some(piece),
                    Ok(None) => return,
                    Err(_) if self.stop.has_fired() => return,
                    Err(error) => return self.report(&error),
                },
            }
        }
    }

    fn piece(&self, after: Option<u64>) -> Result<Option<u64>, Error> {
        let mut began = Instant::now();
        let mut pace = |_: u64| {
            if self.stop.has_fired() {
                return false;
            }
            let worked = began.elapsed();
            let goes_on = worked < WORK || self.rest(self.share.rest_after(worked));
            if worked >= WORK {
                began = Instant::now();
            }
            goes_on
        };
        let read = self.member.kv.verify_next(after, &mut pace)?;
        if self.stop.has_fired() { Ok(None) } else { Ok(read) }
    }

    fn report(&self, error: &Error) {
        let text = error_text::chain(error);
        if !matches!(error, Error::Engine(EngineError::Corrupt { .. })) {
            tracing::warn!(error = text, "cannot read all of what is on the disk");
            return;
        }
        let goes = report::can_do_without(&self.member);
        let advice = match goes {
            true => "remove the member and add it again",
            false => "restore a copy, or look with drystone-etcd inspect at what is left",
        };
        tracing::error!(error = text, advice, "found damage on the disk");
        if goes {
            // What it cannot read it cannot show: clients are better served by the others.
            let id = self.member.identity.member.0;
            self.clock.block_on(report::raise(&self.member, id));
        }
    }
}
