//! What came out of a run.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::latency::{Latencies, Percentiles};

/// The figures of one run, for people ([`fmt::Display`]) and programs (serde).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Kind of load.
    pub workload: String,
    /// Clients that took part.
    pub clients: usize,
    /// Connections they used.
    pub connections: usize,
    /// Requests answered without an error; for a watch, events received.
    pub requests: u64,
    /// Requests answered with an error, or not at all.
    pub errors: u64,
    /// The first of those errors.
    pub first_error: Option<String>,
    /// From the start of the first request to the last answer.
    pub seconds: f64,
    /// `requests / seconds`.
    pub per_second: f64,
    /// Times of the requests without error.
    pub latency_us: Percentiles,
    /// CPU time of this process per request, in microseconds.
    pub client_cpu_us_per_request: f64,
    /// Puts that made the events of a watch, per second; 0 for other loads.
    pub puts_per_second: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { mean, p50, p99, p999, max } = self.latency_us;
        writeln!(
            f,
            "{}: {} clients on {} connections",
            self.workload, self.clients, self.connections
        )?;
        writeln!(
            f,
            "throughput  {:.0}/s ({} in {:.2} s)",
            self.per_second, self.requests, self.seconds
        )?;
        writeln!(f, "latency us  p50 {p50}  p99 {p99}  p99.9 {p999}  max {max}  mean {mean:.0}")?;
        if self.puts_per_second > 0.0 {
            writeln!(f, "puts        {:.0}/s", self.puts_per_second)?;
        }
        writeln!(f, "client CPU  {:.1} us per request", self.client_cpu_us_per_request)?;
        write!(f, "errors      {}", self.errors)?;
        match &self.first_error {
            Some(error) => write!(f, ", the first: {error}"),
            None => Ok(()),
        }
    }
}

/// What one thread has counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) latencies: Latencies,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Tally {
    /// Counts one request.
    pub(crate) fn record(&mut self, time: Duration, outcome: Result<(), tonic::Status>) {
        match outcome {
            Ok(()) => self.latencies.record(time),
            Err(status) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| status.to_string());
            }
        }
    }

    /// Takes the counts of another thread in.
    pub(crate) fn merge(&mut self, other: Tally) {
        self.latencies.merge(&other.latencies);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}
