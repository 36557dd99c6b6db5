//! From a figure to what it means. Nothing is measured here.

use std::time::Duration;

use serde_json::{Value, json};

use super::disk::Syncs;
use super::machine::Wakes;
use super::network::Way;

/// How it stands; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Pass,
    Warn,
    Fail,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        }
    }

    /// Of a figure that is better the smaller it is.
    fn below<T: PartialOrd>(figure: &T, pass: &T, warn: &T) -> Verdict {
        if figure <= pass {
            Verdict::Pass
        } else if figure <= warn {
            Verdict::Warn
        } else {
            Verdict::Fail
        }
    }

    /// Of one that is better the larger it is.
    fn above<T: PartialOrd>(figure: &T, pass: &T, warn: &T) -> Verdict {
        if figure >= pass {
            Verdict::Pass
        } else if figure >= warn {
            Verdict::Warn
        } else {
            Verdict::Fail
        }
    }
}

/// One line of the answer.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) verdict: Verdict,
    pub(super) figures: Value,
    /// The figures and what follows from them, for people.
    pub(super) says: String,
}

fn line(what: &str, verdict: Verdict, figures: Value, says: String) -> Line {
    Line { what: what.to_owned(), verdict, figures, says }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The file system that the data is on, by its name.
pub(super) fn file_system(name: &str) -> Line {
    let (verdict, says) = match name {
        "tmpfs" | "ramfs" => (Verdict::Fail, "it is memory: all is gone with the machine"),
        "overlayfs" => (Verdict::Warn, "a container's layer goes with the container: use a volume"),
        "nfs" | "cifs" | "smb2" => {
            (Verdict::Fail, "a network stands between a write and its disk, and locks may not hold")
        }
        "fuse" => (Verdict::Warn, "whether a sync reaches the disk is for a program to know"),
        "btrfs" | "zfs" => {
            (Verdict::Warn, "it writes copies: syncs are slower and space runs out earlier")
        }
        "9p" | "virtiofs" => (Verdict::Warn, "it is the host's: its syncs are what count"),
        _ => (Verdict::Pass, "fit for data"),
    };
    line("file system", verdict, json!({ "name": name }), format!("{name}; {says}"))
}

/// Bytes that are free, where the server may keep `quota`.
pub(super) fn space(free: u64, quota: u64) -> Line {
    // Tables that are merged are there twice, and so is a copy that is sent; and there is a log.
    let (enough, least) = (2 * quota + (256 << 20), quota / 4 + (256 << 20));
    let verdict = Verdict::above(&free, &enough, &least);
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let says = format!(
        "{:.1} GiB free; a quota of {:.1} GiB wants {:.1} GiB, with merges, copies and the log",
        gib(free),
        gib(quota),
        gib(enough)
    );
    line("space", verdict, json!({ "free_bytes": free, "wanted_bytes": enough }), says)
}

/// How long syncs of the log take: etcd's rule is 10 ms for 99 of 100.
pub(super) fn syncs(syncs: &Syncs) -> Line {
    let limits = (Duration::from_millis(10), Duration::from_millis(100));
    let verdict = Verdict::below(&syncs.p99, &limits.0, &limits.1);
    let alone = 1.0 / syncs.p50.as_secs_f64().max(1e-6);
    let (p50, p99, max) = (millis(syncs.p50), millis(syncs.p99), millis(syncs.max));
    let advice = match verdict {
        Verdict::Pass => "",
        Verdict::Warn => "; leaders will be slow now and then: a faster disk, or one of its own",
        Verdict::Fail => "; too slow for the usual election timeout: use another disk",
    };
    let says = format!(
        "fdatasync of {} KiB appends: p50 {p50} ms, p99 {p99} ms, max {max} ms ({} times); about \
         {alone:.0} writes/s one after the other, many times that from many clients{advice}",
        syncs.append_bytes >> 10,
        syncs.count
    );
    let figures = json!({
        "p50_millis": p50, "p99_millis": p99, "max_millis": max, "count": syncs.count,
        "lone_writes_per_second": alone.round(),
    });
    line("disk", verdict, figures, says)
}

/// Files and connections that may be open at once, as far as the limit can be raised.
pub(super) fn open_files(limit: u64) -> Line {
    let verdict = Verdict::above(&limit, &10_000, &1024);
    let connections = limit.saturating_sub(150);
    let says = match limit {
        u64::MAX => "no limit".to_owned(),
        _ => format!("{limit}, so {connections} connections of clients (LimitNOFILE, ulimit -Hn)"),
    };
    line("open files", verdict, json!({ "limit": limit }), says)
}

/// Bytes of memory that can be had; `None` if that is not known.
pub(super) fn memory(available: Option<u64>) -> Line {
    let Some(available) = available else {
        return line("memory", Verdict::Warn, json!({}), "not known".to_owned());
    };
    let verdict = Verdict::above(&available, &(1 << 30), &(256 << 20));
    let mib = available >> 20;
    let says =
        format!("{mib} MiB can be had; the index takes about 150 bytes a key, caches 128 MiB");
    line("memory", verdict, json!({ "available_bytes": available }), says)
}

/// Processors, and how late a thread wakes that has slept for a millisecond.
pub(super) fn processors(count: usize, wakes: &Wakes) -> Line {
    let late = millis(wakes.late_p99);
    let limits = (Duration::from_millis(10), Duration::from_millis(100));
    let verdict = Verdict::below(&wakes.late_p99, &limits.0, &limits.1).max(if count < 2 {
        Verdict::Warn
    } else {
        Verdict::Pass
    });
    let says = format!(
        "{count}; a thread that sleeps wakes up to {late} ms late (p99){}",
        if verdict == Verdict::Pass { "" } else { "; heartbeats will be late: give it more" }
    );
    line("processors", verdict, json!({ "count": count, "late_p99_millis": late }), says)
}

/// By how much the time of day went otherwise than time, while all this was measured.
pub(super) fn clock(step: Duration, is_monotonic: bool) -> Line {
    let limits = (Duration::from_millis(5), Duration::from_millis(500));
    let verdict = match is_monotonic {
        true => Verdict::below(&step, &limits.0, &limits.1).min(Verdict::Warn),
        false => Verdict::Fail,
    };
    let step = millis(step);
    let says = match (is_monotonic, verdict) {
        (false, _) => "the monotonic clock went back: leases and elections rely on it".to_owned(),
        (_, Verdict::Pass) => format!("steady; the time of day moved by {step} ms"),
        _ => format!("the time of day was moved by {step} ms: certificates and tokens go by it"),
    };
    line("clock", verdict, json!({ "step_millis": step, "is_monotonic": is_monotonic }), says)
}

/// The way to another member.
pub(super) fn way(way: &Way) -> Line {
    let what = format!("way to {}", way.url);
    let Some(round_trip) = way.round_trip else {
        let says = format!("nobody answers: {}", way.error.as_deref().unwrap_or("no reason given"));
        return line(&what, Verdict::Fail, json!({}), says);
    };
    let limits = (Duration::from_millis(50), Duration::from_millis(500));
    let mut verdict = Verdict::below(&round_trip, &limits.0, &limits.1);
    let mut says = format!("round trip {} ms (the slowest of {})", millis(round_trip), way.count);
    if let Some(seconds) = way.clock_seconds {
        // It is told in whole seconds.
        if seconds.abs() > 2 {
            verdict = verdict.max(Verdict::Warn);
        }
        says += &format!(", its clock is off by {seconds} s");
    }
    let figures =
        json!({ "round_trip_millis": millis(round_trip), "clock_seconds": way.clock_seconds });
    line(&what, verdict, figures, says)
}

/// The two flags that follow from the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) heartbeat_millis: u64,
    pub(super) election_millis: u64,
}

impl Timing {
    /// etcd's rules: a heartbeat is about one round trip and a half, an election ten heartbeats and
    /// ten round trips; and a sync, which delays a heartbeat's answer, must not look like death.
    pub(super) fn fitting(round_trip: Option<Duration>, sync: Duration) -> Timing {
        let tens = |time: Duration| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX).div_ceil(10).saturating_mul(10)
        };
        let heartbeat = tens(round_trip.unwrap_or_default() * 3 / 2).clamp(100, 5000);
        let election = (10 * heartbeat).max(tens(sync.saturating_mul(10))).min(50_000);
        Timing { heartbeat_millis: heartbeat, election_millis: election }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn sync_of(p99: Duration) -> Line {
        let (p50, max) = (p99 / 2, p99 * 2);
        syncs(&Syncs { count: 100, append_bytes: 2048, p50, p99, max })
    }

    // A tool that is wrong at its limits is believed and wrong.
    #[test]
    fn figures_get_their_verdicts() {
        use Verdict::{Fail, Pass, Warn};
        let check = |line: Line, verdict| assert_eq!(line.verdict, verdict, "{line:?}");
        check(sync_of(MILLI), Pass);
        check(sync_of(10 * MILLI), Pass);
        check(sync_of(11 * MILLI), Warn);
        check(sync_of(101 * MILLI), Fail);
        let gib = 1 << 30;
        check(space(5 * gib, 2 * gib), Pass);
        check(space(4 * gib, 2 * gib), Warn);
        check(space(gib / 2, 2 * gib), Fail);
        check(open_files(65_536), Pass);
        check(open_files(4096), Warn);
        check(open_files(256), Fail);
        check(memory(Some(gib)), Pass);
        check(memory(Some(gib / 2)), Warn);
        check(memory(Some(gib / 8)), Fail);
        check(memory(None), Warn);
        for (name, verdict) in
            [("ext4", Pass), ("xfs", Pass), ("tmpfs", Fail), ("overlayfs", Warn), ("nfs", Fail)]
        {
            check(file_system(name), verdict);
        }
        check(clock(MILLI, true), Pass);
        check(clock(40 * MILLI, true), Warn);
        check(clock(9000 * MILLI, true), Warn);
        check(clock(MILLI, false), Fail);
        let wakes = |late_p99| Wakes { late_p99, step: MILLI, is_monotonic: true };
        check(processors(2, &wakes(MILLI)), Pass);
        check(processors(1, &wakes(MILLI)), Warn);
        check(processors(4, &wakes(30 * MILLI)), Warn);
        check(processors(4, &wakes(300 * MILLI)), Fail);
    }

    #[test]
    fn way_is_judged_by_its_length_and_the_clock_at_its_end() {
        let of = |millis: Option<u64>, clock_seconds| Way {
            url: "http://a".to_owned(),
            round_trip: millis.map(Duration::from_millis),
            count: 5,
            clock_seconds,
            error: None,
        };
        assert_eq!(way(&of(Some(1), Some(0))).verdict, Verdict::Pass);
        assert_eq!(way(&of(Some(1), Some(-3))).verdict, Verdict::Warn);
        assert_eq!(way(&of(Some(60), None)).verdict, Verdict::Warn);
        assert_eq!(way(&of(Some(600), None)).verdict, Verdict::Fail);
        assert_eq!(way(&of(None, None)).verdict, Verdict::Fail);
    }

    // A heartbeat shorter than the way makes every follower a candidate.
    #[test]
    fn timing_fits_the_way_and_the_disk() {
        let timing = |way: Option<u64>, sync| {
            let timing =
                Timing::fitting(way.map(Duration::from_millis), Duration::from_millis(sync));
            (timing.heartbeat_millis, timing.election_millis)
        };
        assert_eq!(timing(None, 1), (100, 1000));
        assert_eq!(timing(Some(20), 1), (100, 1000));
        assert_eq!(timing(Some(151), 1), (230, 2300));
        assert_eq!(timing(Some(1), 400), (100, 4000));
        assert_eq!(timing(Some(60_000), 1), (5000, 50_000));
    }
}
