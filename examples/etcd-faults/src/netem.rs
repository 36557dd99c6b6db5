//! Bad lines, made by the kernel: packets that are late, late by different times, lost, or too many
//! for the line.
//!
//! ```text
//!   room of a member                      host
//!   eth0 ── netem: what it sends ──►  veth ── bridge
//!        ◄── netem: what it is sent ──
//! ```
//!
//! The doors (`proxy.rs`) can delay bytes on any kernel; what TCP does when packets are lost or
//! come out of order, only packets can show. Netem holds up all that a member sends and is sent,
//! what clients ask included. A kernel without the module `sch_netem` says so when it is asked, and
//! then the doors do what they can.

use anyhow::{Context as _, Result};
use parking_lot::Mutex;

use crate::command::{exists, run};

/// Packets that may wait on a line. The default of a thousand would lose some on a slow one, which
/// is for `loss_percent` to say.
const PACKETS_MAX: u32 = 20_000;

/// How bad a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quality {
    /// Every packet is late by so many milliseconds,
    pub(crate) delay_ms: u64,
    /// and by up to so many more or less, so that some come out of order.
    pub(crate) jitter_ms: u64,
    /// So many in a hundred are lost.
    pub(crate) loss_percent: u32,
    /// What passes in a second, in thousands of bits; 0 is whatever comes.
    pub(crate) rate_kbit: u32,
}

/// What was done to the lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Netem {
    /// How to undo it.
    undo: Mutex<Vec<String>>,
}

impl Netem {
    /// Asks the kernel for it, on an interface where it is taken away again.
    ///
    /// # Errors
    /// If there is no `tc`, or the kernel has no `sch_netem`.
    pub(crate) fn new(room: &str) -> Result<Netem> {
        anyhow::ensure!(exists("tc"), "there is no program `tc`");
        let tc = format!("tc -n {room} qdisc");
        run(&format!("{tc} add dev lo root netem delay 1ms")).context("no netem in this kernel")?;
        run(&format!("{tc} del dev lo root"))?;
        Ok(Netem::default())
    }

    /// Makes a line bad, both ways: the interface in this room, and its other end on the host.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn worsen(&self, room: &str, veth: &str, quality: Quality) -> Result<()> {
        for (tc, device) in [(format!("tc -n {room}"), "eth0"), ("tc".to_owned(), veth)] {
            run(&format!("{tc} qdisc replace dev {device} root {}", words(quality)))?;
            self.undo.lock().push(format!("{tc} qdisc del dev {device} root"));
        }
        Ok(())
    }

    /// Makes all lines good.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn heal(&self) -> Result<()> {
        let mut undo = std::mem::take(&mut *self.undo.lock());
        // What was done twice to one line is undone once.
        undo.sort_unstable();
        undo.dedup();
        undo.iter().try_for_each(|line| run(line).map(drop))
    }
}

/// What `tc` is told.
fn words(quality: Quality) -> String {
    let Quality { delay_ms, jitter_ms, loss_percent, rate_kbit } = quality;
    let mut words = format!("netem limit {PACKETS_MAX} delay {delay_ms}ms {jitter_ms}ms");
    if loss_percent > 0 {
        words.push_str(&format!(" loss {loss_percent}%"));
    }
    if rate_kbit > 0 {
        words.push_str(&format!(" rate {rate_kbit}kbit"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A good property is not mentioned: `tc` takes no loss of nothing and no rate of nothing.
    #[test]
    fn tc_is_told_what_is_bad() {
        let late = Quality { delay_ms: 30, jitter_ms: 60, loss_percent: 0, rate_kbit: 0 };
        assert_eq!(words(late), "netem limit 20000 delay 30ms 60ms");
        let worse = Quality { loss_percent: 5, rate_kbit: 512, ..late };
        assert_eq!(words(worse), "netem limit 20000 delay 30ms 60ms loss 5% rate 512kbit");
    }
}
