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
/// After it gave way it begins anew.
const AWAY: Duration = Duration::from_secs(10);

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

/// What came of a piece.
enum Read {
    /// It is sound, and there are others behind it.
    Next(u64),
    /// It was the last one.
    All,
    /// It was left.
    GaveWay,
}

impl Scrub {
    fn run(&self) {
        let pause = self.member.config.comparison.pause;
        let mut was_whole = true;
        loop {
            // A store that has slack for reasons of its own must be read all the same.
            let yields = was_whole && !self.member.kv.has_slack();
            was_whole = self.pass(yields);
            let pause = if was_whole { pause } else { pause.min(AWAY) };
            if !self.rest(pause) {
                return;
            }
        }
    }

    /// False if the server stops.
    fn rest(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        self.clock.block_on(async { tokio::time::timeout(pause, stop.fired()).await.is_err() })
    }

    /// Whether there is something more urgent: the server stops, the disk is full, somebody wants
    /// space back, or, for one who `yields` to it, there is much to be given back. Whoever reads
    /// all of a file as it was, and slowly, keeps what was deleted since in it.
    fn gives_way(&self, yields: bool) -> bool {
        let (way, kv) = (&self.member.right_of_way, &self.member.kv);
        let urgent = way.is_wanted() || self.stop.has_fired() || kv.disk().is_full();
        urgent || yields && kv.has_slack()
    }

    /// A rest within a piece, which ends when somebody wants space back; false if the server stops.
    fn rest_within(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        self.clock.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => true,
                () = self.member.right_of_way.wanted() => true,
                () = stop.fired() => false,
            }
        })
    }

    /// Reads everything once, up to the first damage. False if it gave way before.
    fn pass(&self, yields: bool) -> bool {
        let mut after = None;
        loop {
            // Once more if need be: what was read wrongly once may be right on the disk.
            match self.piece(after, yields).or_else(|_| self.piece(after, yields)) {
                Ok(Read::Next(piece)) => after = Some(piece),
                Ok(Read::All) => return true,
                Ok(Read::GaveWay) => return false,
                Err(error) => {
                    self.report(&error);
                    return true;
                }
            }
        }
    }

    fn piece(&self, after: Option<u64>, yields: bool) -> Result<Read, Error> {
        let (mut began, mut gave_way) = (Instant::now(), self.gives_way(yields));
        if gave_way {
            return Ok(Read::GaveWay);
        }
        let Some(_file) = self.member.right_of_way.yielded() else { return Ok(Read::GaveWay) };
        let mut pace = |_: u64| {
            let worked = began.elapsed();
            if worked >= WORK {
                let rested = self.rest_within(self.share.rest_after(worked));
                gave_way |= !rested || self.gives_way(yields);
                began = Instant::now();
            }
            gave_way |= self.gives_way(false);
            !gave_way
        };
        let read = self.member.kv.verify_next(after, &mut pace);
        if gave_way {
            // What was read means nothing.
            return Ok(Read::GaveWay);
        }
        Ok(read?.map_or(Read::All, Read::Next))
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
