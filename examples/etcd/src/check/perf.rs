//! `check perf` and `check datascale`: etcdctl's loads, limits and lines.
//!
//! | load | perf: puts a second, clients | datascale: keys, clients |
//! |---|---|---|
//! | s | 150, 50 | 10,000, 50 |
//! | m | 1,000, 200 | 100,000, 200 |
//! | l | 8,000, 500 | 1,000,000, 500 |
//! | xl | 15,000, 1,000 | 3,000,000, 1,000 |
//!
//! Values have 1 KiB. `perf` takes a minute and passes if nine tenths of the puts were done, none
//! took more than 500 ms, and their deviation is no more than 100 ms. What was put is deleted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use drystone_etcd_api::etcdserverpb as pb;
use tokio::task::JoinSet;

use crate::bench::histogram::Times;
use crate::bench::schedule::Schedule;
use crate::remote::{Remote, RemoteFlags, page};

const VALUE_BYTES: usize = 1024;
const KEY_BYTES: usize = 16;
/// How long `perf` takes.
const TIME: Duration = Duration::from_secs(60);
/// What `perf` lets pass: a part of the rate, and seconds.
const RATE_MIN: f64 = 0.9;
const SLOWEST_MAX: f64 = 0.5;
const DEVIATION_MAX: f64 = 0.1;
/// Clients of one connection.
const CLIENTS_PER_CONNECTION: usize = 50;

/// How much load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Size {
    /// Small
    #[value(alias = "small")]
    S,
    /// Medium
    #[value(alias = "medium")]
    M,
    /// Large
    #[value(alias = "large")]
    L,
    /// Very large
    #[value(alias = "xLarge")]
    Xl,
}

/// What `perf` is told.
#[derive(Args, Debug)]
pub(super) struct Perf {
    /// s, m, l or xl
    #[arg(long, value_enum, default_value = "s", ignore_case = true)]
    load: Size,
    /// What keys begin with; there must be none yet
    #[arg(long, default_value = "/etcdctl-check-perf/")]
    prefix: String,
    /// Compact the history afterwards
    #[arg(long)]
    auto_compact: bool,
    /// Defragment the endpoints afterwards
    #[arg(long)]
    auto_defrag: bool,
    /// Put for so long
    #[arg(long, hide = true, default_value = "60s", value_parser = crate::config::duration_of)]
    time: Duration,
    #[command(flatten)]
    remote: RemoteFlags,
}

/// What `datascale` is told.
#[derive(Args, Debug)]
pub(super) struct Datascale {
    /// s, m, l or xl
    #[arg(long, value_enum, default_value = "s", ignore_case = true)]
    load: Size,
    /// What keys begin with; there must be none yet
    #[arg(long, default_value = "/etcdctl-check-datascale/")]
    prefix: String,
    /// Compact the history afterwards
    #[arg(long)]
    auto_compact: bool,
    /// Defragment the endpoints afterwards
    #[arg(long)]
    auto_defrag: bool,
    #[command(flatten)]
    remote: RemoteFlags,
}

impl Size {
    /// Puts a second, and clients.
    fn perf(self) -> (u64, usize) {
        match self {
            Size::S => (150, 50),
            Size::M => (1000, 200),
            Size::L => (8000, 500),
            Size::Xl => (15_000, 1000),
        }
    }

    /// Keys, and clients.
    fn datascale(self) -> (u64, usize) {
        match self {
            Size::S => (10_000, 50),
            Size::M => (100_000, 200),
            Size::L => (1_000_000, 500),
            Size::Xl => (3_000_000, 1000),
        }
    }
}

impl Perf {
    /// Does it, and says whether it passed.
    pub(super) async fn run(mut self) -> Result<bool> {
        self.remote.or_local();
        let (rate, clients) = self.load.perf();
        let remotes = connect(&self.remote, clients).await?;
        if !is_clear(&remotes[0], &self.prefix).await? {
            return Ok(false);
        }
        let schedule = Schedule::new(u64::MAX, Some(self.time), rate);
        let put = put_all(&remotes, clients, schedule, &self.prefix).await;
        clear(&remotes, &self.prefix, self.auto_compact, self.auto_defrag).await?;
        let (lines, passed) = judge(&put, rate, self.time);
        print_lines(&lines);
        Ok(passed)
    }
}

impl Datascale {
    /// Does it, and says whether it passed.
    pub(super) async fn run(mut self) -> Result<bool> {
        self.remote.or_local();
        let (keys, clients) = self.load.datascale();
        let remotes = connect(&self.remote, clients).await?;
        if !is_clear(&remotes[0], &self.prefix).await? {
            return Ok(false);
        }
        let url = self.remote.endpoints[0].clone();
        println!(
            "Start data scale check for work load [{keys} key-value pairs, {VALUE_BYTES} bytes per \
             key-value, {clients} concurrent clients]."
        );
        let Some(before) = page(&url).await.resident_bytes else {
            println!(
                "FAIL: Could not read process_resident_memory_bytes before the put operations."
            );
            return Ok(false);
        };
        let put = put_all(&remotes, clients, Schedule::new(keys, None, 0), &self.prefix).await;
        let after = page(&url).await.resident_bytes;
        clear(&remotes, &self.prefix, self.auto_compact, self.auto_defrag).await?;
        let Some(after) = after else {
            println!(
                "FAIL: Could not read process_resident_memory_bytes after the put operations."
            );
            return Ok(false);
        };
        if !put.errors.is_empty() {
            print_lines(&error_lines(&put));
            return Ok(false);
        }
        let used = (after - before) / f64::from(1 << 20);
        println!("PASS: Approximate system memory used : {used:.2} MB.");
        Ok(true)
    }
}

async fn connect(remote: &RemoteFlags, clients: usize) -> Result<Vec<Remote>> {
    let connections = clients.div_ceil(CLIENTS_PER_CONNECTION).max(remote.endpoints.len());
    remote.reach().connect_many(connections).await
}

/// What became of the puts.
#[derive(Debug, Default)]
struct Put {
    times: Times,
    errors: std::collections::BTreeMap<String, u64>,
}

/// Whether no key begins with `prefix`; if one does, it is told.
async fn is_clear(remote: &Remote, prefix: &str) -> Result<bool> {
    let range = pb::RangeRequest { limit: 1, ..prefix_range(prefix) };
    let found = remote.kv().range(range).await.map_err(|status| anyhow!("{}", status.message()))?;
    let clear = found.into_inner().kvs.is_empty();
    if !clear {
        println!("prefix {prefix:?} has keys. Delete with 'etcdctl del --prefix {prefix}' first.");
    }
    Ok(clear)
}

fn prefix_range(prefix: &str) -> pb::RangeRequest {
    let key = Bytes::from(prefix.to_owned());
    let range_end =
        drystone_kv::KeyRange::prefix(key.clone()).end.unwrap_or(Bytes::from_static(&[0]));
    pb::RangeRequest { key, range_end, ..Default::default() }
}

async fn put_all(remotes: &[Remote], clients: usize, schedule: Schedule, prefix: &str) -> Put {
    let schedule = Arc::new(schedule);
    let mut running = JoinSet::new();
    for number in 0..clients {
        let (remote, schedule) = (remotes[number % remotes.len()].clone(), schedule.clone());
        let prefix = prefix.to_owned();
        running.spawn(async move {
            let (mut kv, mut put) = (remote.kv(), Put::default());
            let value = Bytes::from(vec![0; VALUE_BYTES]);
            while let Some((number, due)) = schedule.take() {
                tokio::time::sleep_until(due.into()).await;
                let key = format!("{prefix}{number:0KEY_BYTES$}").into();
                let request = pb::PutRequest { key, value: value.clone(), ..Default::default() };
                match kv.put(request).await {
                    Ok(_) => put.times.note(due.elapsed()),
                    Err(status) => {
                        *put.errors.entry(status.message().to_owned()).or_default() += 1;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
            put
        });
    }
    let mut all = Put::default();
    for one in running.join_all().await {
        all.times.add(&one.times);
        for (text, count) in one.errors {
            *all.errors.entry(text).or_default() += count;
        }
    }
    all
}

async fn clear(remotes: &[Remote], prefix: &str, compact: bool, defrag: bool) -> Result<()> {
    let text = |status: tonic::Status| anyhow!("{}", status.message());
    let pb::RangeRequest { key, range_end, .. } = prefix_range(prefix);
    let delete = pb::DeleteRangeRequest { key, range_end, ..Default::default() };
    let deleted = remotes[0].kv().delete_range(delete).await.map_err(text)?.into_inner();
    let revision = deleted.header.map_or(0, |header| header.revision);
    if compact {
        println!("Compacting with revision {revision}");
        let compact = pb::CompactionRequest { revision, physical: true };
        remotes[0].kv().compact(compact).await.map_err(text)?;
        println!("Compacted with revision {revision}");
    }
    if defrag {
        for remote in remotes {
            let asked = remote.maintenance().defragment(pb::DefragmentRequest {}).await;
            asked.map_err(text)?;
        }
    }
    Ok(())
}

fn error_lines(put: &Put) -> Vec<String> {
    let each = put.errors.iter().map(|(text, count)| format!("FAIL: ERROR({text}) -> {count}"));
    std::iter::once("FAIL: too many errors".to_owned()).chain(each).collect()
}

/// etcdctl's lines, and whether it passed.
fn judge(put: &Put, rate: u64, time: Duration) -> (Vec<String>, bool) {
    let (mut lines, mut passed) = (Vec::new(), true);
    let mut say = |fine: bool, good: String, bad: String| {
        passed &= fine;
        lines.push(if fine { good } else { bad });
    };
    let per_second = put.times.count() as f64 / time.as_secs_f64();
    let writes = per_second as u64 + 1;
    if !put.errors.is_empty() {
        error_lines(put).into_iter().for_each(|line| say(false, String::new(), line));
    }
    say(
        per_second / rate as f64 > RATE_MIN,
        format!("PASS: Throughput is {writes} writes/s"),
        format!("FAIL: Throughput too low: {writes} writes/s"),
    );
    let slowest = put.times.max().as_secs_f64();
    say(
        slowest <= SLOWEST_MAX,
        format!("PASS: Slowest request took {slowest:.6}s"),
        format!("Slowest request took too long: {slowest:.6}s"),
    );
    let deviation = put.times.deviation();
    say(
        deviation <= DEVIATION_MAX,
        format!("PASS: Stddev is {deviation:.6}s"),
        format!("Stddev too high: {deviation:.6}s"),
    );
    lines.push(if passed { "PASS" } else { "FAIL" }.to_owned());
    (lines, passed)
}

fn print_lines(lines: &[String]) {
    lines.iter().for_each(|line| println!("{line}"));
}

const _: () = assert!(TIME.as_secs() == 60, "etcdctl's minute is the default of the flag");

#[cfg(test)]
mod tests {
    use super::*;

    fn put(count: u64, took: Duration) -> Put {
        let mut put = Put::default();
        (0..count).for_each(|_| put.times.note(took));
        put
    }

    // Scripts match on etcdctl's lines.
    #[test]
    fn lines_are_those_of_etcdctl() {
        let (lines, passed) = judge(&put(9000, Duration::from_millis(2)), 150, TIME);
        let expected = [
            "PASS: Throughput is 151 writes/s",
            "PASS: Slowest request took 0.002000s",
            "PASS: Stddev is 0.000000s",
            "PASS",
        ];
        assert_eq!((lines.as_slice(), passed), (expected.map(str::to_owned).as_slice(), true));
    }

    #[test]
    fn each_limit_fails_by_itself() {
        let fails = |put: &Put, wanted: &str| {
            let (lines, passed) = judge(put, 150, TIME);
            assert!(!passed && lines.iter().any(|line| line == wanted), "{lines:?}");
            assert_eq!(lines.last().map(String::as_str), Some("FAIL"));
        };
        fails(&put(8100, Duration::from_millis(2)), "FAIL: Throughput too low: 136 writes/s");
        fails(&put(9000, Duration::from_millis(501)), "Slowest request took too long: 0.501000s");
        let mut uneven = put(4500, Duration::ZERO);
        uneven.times.add(&put(4500, Duration::from_millis(400)).times);
        fails(&uneven, "Stddev too high: 0.200000s");
        let mut broken = put(9000, Duration::from_millis(2));
        broken.errors.insert("gone".to_owned(), 3);
        fails(&broken, "FAIL: ERROR(gone) -> 3");
    }
}
