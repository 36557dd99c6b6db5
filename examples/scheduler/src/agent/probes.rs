//! Asks a running task, over and over, whether it can be sent work and whether it lives.
//!
//! ```text
//!   started ── delay ──► ask ── every ──► ask …     good, good, …  successes in a row: well
//!                                                   bad, bad, …    failures in a row: not well
//! ```
//!
//! A task with a readiness probe is not ready before it was found so once; one without is ready
//! when it runs. One that is found dead is told to stop; its exit says
//! [`Unhealthy`](mason_core::record::Reason::Unhealthy), and whether it is started anew is the
//! leader's to decide.
//!
//! A task that is taken up by the next agent is as ready as it was found last, and is asked on.

use std::sync::Arc;
use std::time::Duration;

use mason_core::agent::Event;
use mason_core::spec::Probe;
use mason_core::types::RunId;
use mason_node::runtime::{Running, probe};

use super::News;
use super::hands::Tools;
use super::memo::Memo;
use crate::server::unix_now;

/// Never asked more often, whatever a spec says: each question is a thread.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// How often it is looked at how much disk a run takes.
const MEASURE: Duration = Duration::from_secs(10);

/// Answers in a row, and the verdict that they turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    successes: u32,
    failures: u32,
    is_well: bool,
    /// In a row, of the kind that would turn it.
    streak: u32,
}

impl Verdict {
    fn new(probe: &Probe, is_well: bool) -> Verdict {
        let (successes, failures) = (probe.successes.max(1), probe.failures.max(1));
        Verdict { successes, failures, is_well, streak: 0 }
    }

    /// Hears an answer; whether the verdict turned.
    fn hear(&mut self, is_good: bool) -> bool {
        if is_good == self.is_well {
            self.streak = 0;
            return false;
        }
        self.streak += 1;
        let wanted = if is_good { self.successes } else { self.failures };
        if self.streak < wanted {
            return false;
        }
        (self.is_well, self.streak) = (is_good, 0);
        true
    }
}

/// A run that is asked.
pub(super) struct Asked {
    pub(super) tools: Arc<Tools>,
    pub(super) run: RunId,
    pub(super) running: Running,
    pub(super) memo: Memo,
}

/// Asks until it is dropped.
pub(super) async fn watch(asked: Asked) {
    tokio::join!(readiness(&asked), liveness(&asked), disk(&asked));
}

async fn readiness(asked: &Asked) {
    let Some(probe) = &asked.memo.ready else {
        asked.tell(Event::Ready(true)).await;
        return;
    };
    let mut verdict = Verdict::new(probe, asked.memo.is_ready);
    let mut memo = asked.memo.clone();
    if verdict.is_well {
        asked.tell(Event::Ready(true)).await;
    }
    let mut clock = asked.clock(probe).await;
    let mut said = false;
    loop {
        clock.tick().await;
        let answer = asked.ask(probe).await;
        let turned = verdict.hear(answer.is_ok());
        if let (Err(why), false, false) = (answer, verdict.is_well, said) {
            said = true;
            asked.tell(Event::Waits(format!("not ready: {why}"))).await;
        }
        if turned {
            if verdict.is_well && std::mem::take(&mut said) {
                asked.tell(Event::Waits(String::new())).await;
            }
            memo.is_ready = verdict.is_well;
            // If it cannot be written, the next agent begins with an old verdict, and finds out.
            let _ = asked.tools.memos.write(&asked.run, &memo);
            asked.tell(Event::Ready(verdict.is_well)).await;
        }
    }
}

async fn liveness(asked: &Asked) {
    let Some(probe) = &asked.memo.live else { return };
    let mut verdict = Verdict::new(probe, true);
    let mut clock = asked.clock(probe).await;
    loop {
        clock.tick().await;
        let answer = asked.ask(probe).await;
        let turned = verdict.hear(answer.is_ok());
        if let (true, Err(why)) = (turned, answer) {
            let message = format!("{} times in a row: {why}", verdict.failures);
            asked.tell(Event::Unhealthy(message)).await;
            return;
        }
    }
}

/// What a run writes is counted, not held by the kernel: it may be over its bound for a moment.
async fn disk(asked: &Asked) {
    let Memo { disk: most, empty, .. } = &asked.memo;
    if *most == 0 && empty.is_empty() {
        return;
    }
    let mut clock = tokio::time::interval(MEASURE);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let (runner, run) = (asked.tools.runner.clone(), asked.run.clone());
        let counted = tokio::task::spawn_blocking(move || runner.disk_use(&run)).await;
        let used = counted.expect("the runtime's calls do not panic");
        let over = |(mount, most): (&u32, &u64)| {
            let bytes = used.empty.get(mount).filter(|&bytes| bytes > most)?;
            Some((format!("mounts[{mount}].empty.bytes"), *bytes, *most))
        };
        let whole =
            (*most > 0 && used.total > *most).then(|| ("limit.disk".to_owned(), used.total, *most));
        if let Some((field, bytes, most)) = whole.or_else(|| empty.iter().find_map(over)) {
            let message = match bytes {
                u64::MAX => format!("{field}: its folders nest too deep to be counted"),
                _ => format!("{field}: it takes {bytes} bytes of disk, more than {most}"),
            };
            asked.tell(Event::Unhealthy(message)).await;
            return;
        }
    }
}

impl Asked {
    async fn tell(&self, event: Event) {
        // The agent has stopped: its next start asks anew.
        let _ = self.tools.told.send(News::Of(self.run.clone(), event)).await;
    }

    /// Ticks for the first time when it has run as long as the probe waits.
    async fn clock(&self, probe: &Probe) -> tokio::time::Interval {
        let first = self.running.started_at.saturating_add(probe.delay);
        tokio::time::sleep(Duration::from_millis(first.saturating_sub(unix_now()))).await;
        let every = Duration::from_millis(probe.every).max(EVERY_MIN);
        let mut clock = tokio::time::interval(every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        clock
    }

    async fn ask(&self, probe: &Probe) -> Result<(), String> {
        // So many threads at once; who waits for one is not late by its own fault.
        let Ok(_permit) = self.tools.questions.acquire().await else { return Ok(()) };
        let (runner, run, running) =
            (self.tools.runner.clone(), self.run.clone(), self.running.clone());
        let (check, timeout) = (probe.check.clone(), Duration::from_millis(probe.timeout.max(1)));
        let ask = move || probe::check(&runner, (&run, &running), &check, timeout);
        tokio::task::spawn_blocking(ask).await.expect("a probe does not panic")
    }
}

#[cfg(test)]
mod tests {
    use mason_core::spec::Check;

    use super::*;

    fn check(is_well: bool, answers: &str, expected: &str) {
        let check = Check::Tcp { port: 1 };
        let probe = Probe { check, delay: 0, every: 1, timeout: 1, successes: 2, failures: 3 };
        let mut verdict = Verdict::new(&probe, is_well);
        let heard = |answer| {
            verdict.hear(answer == '+');
            if verdict.is_well { '+' } else { '-' }
        };
        assert_eq!(answers.chars().map(heard).collect::<String>(), expected, "{answers}");
    }

    /// One slow answer must not take a task out of service, nor one lucky one put it in.
    #[test]
    fn only_a_row_of_answers_turns_a_verdict() {
        check(false, "+", "-");
        check(false, "++", "-+");
        check(false, "+-+", "---");
        check(true, "--+--", "+++++");
        check(true, "---", "++-");
        check(true, "---+---++", "++------+");
    }
}
