//! What the report says must be what the server has seen.

use std::{net::TcpListener, num::NonZeroUsize, sync::atomic::Ordering::Relaxed};

use clap::{Args as _, Command, FromArgMatches as _};
use drystone_benches::load::{Options, Report, Span, Workload, run};

use crate::server::{Manners, start};

const WATCH: Workload = Workload::Watch { span: Span::All, writers: NonZeroUsize::MIN };
const LEASES: Workload = Workload::LeaseKeepalive { leases: 0 };

fn options(endpoint: &str, arguments: &str) -> Options {
    let words = ["load", "--endpoint", endpoint].into_iter().chain(arguments.split_whitespace());
    let matches = Options::augment_args(Command::new("load")).get_matches_from(words);
    Options::from_arg_matches(&matches).unwrap()
}

/// Runs against a well-behaved or an ill-behaved server.
fn load(endpoint: &str, workload: &Workload, arguments: &str) -> Report {
    let (mut last, mut expected) = (0, 0);
    let report = run(
        &options(endpoint, arguments),
        workload,
        || Ok(()),
        |done, of| {
            assert!(
                last <= done && done <= of,
                "progress went back or beyond: {last}, {done} of {of}"
            );
            (last, expected) = (done, of);
        },
    );
    let report = report.unwrap();
    assert_eq!(report.requests + report.errors, expected, "every request is accounted for");
    report
}

/// A lost or doubled request would make throughput and CPU per request both lies.
#[test]
fn every_put_arrives_once_however_clients_and_connections_are_dealt() {
    for (clients, connections, threads) in [(1, 1, 1), (7, 3, 2), (3, 7, 2), (16, 4, 4)] {
        let (addr, seen) = start(Manners::default());
        let arguments = format!(
            "--clients {clients} --connections {connections} --threads {threads} \
             --total 500 --key-space 100 --key-size 20 --val-size 33"
        );
        let report = load(&addr.to_string(), &Workload::Put, &arguments);
        assert_eq!((report.requests, report.errors), (500, 0));
        assert_eq!((report.clients, report.connections), (clients, connections));
        assert!(
            report.latency_us.p50 <= report.latency_us.p99
                && report.client_cpu_us_per_request > 0.0
        );

        let puts = seen.puts.lock().unwrap();
        assert_eq!(puts.len(), 100, "as many keys as asked for");
        for (key, put) in puts.iter() {
            assert_eq!((key.len(), *put), (20, (5, 33)), "{key:?}");
        }
    }
}

/// A server that refuses work is fast; the report must not call that throughput.
#[test]
fn refused_requests_are_errors_and_not_throughput() {
    let (addr, seen) = start(Manners { fails_every: 5, ..Manners::default() });
    let report = load(&addr.to_string(), &Workload::Put, "--clients 4 --total 100");
    assert_eq!((report.requests, report.errors), (80, 20));
    assert!(report.first_error.unwrap().contains("database space exceeded"));
    assert_eq!(seen.puts.lock().unwrap().values().map(|(count, _)| count).sum::<u64>(), 80);
}

/// An answer of megabytes comes in hundreds of frames and needs the flow-control window given back.
#[test]
fn big_answers_are_read_whole() {
    let (addr, seen) = start(Manners { value_bytes: 5 << 20, ..Manners::default() });
    let range =
        Workload::Range { serializable: false, limit: 0, count_only: false, span: Span::All };
    let report = load(&addr.to_string(), &range, "--clients 3 --total 12");
    assert_eq!((report.requests, report.errors, report.first_error), (12, 0, None));
    assert_eq!(seen.ranges.load(Relaxed), 12);
}

/// The share of reads is what makes a mix comparable.
#[test]
fn a_mix_has_its_share_of_reads() {
    for (reads, expected) in [(0, 0..=0), (100, 400..=400), (25, 60..=140)] {
        let (addr, seen) = start(Manners::default());
        load(&addr.to_string(), &Workload::TxnMixed { reads }, "--clients 2 --total 400");
        let got = seen.txn_reads.load(Relaxed);
        assert!(expected.contains(&got), "{got} reads of 400 at {reads} in a hundred");
        assert_eq!(got + seen.txn_writes.load(Relaxed), 400);
    }
}

/// The same share without transactions: what is not read is put.
#[test]
fn reads_and_writes_are_mixed_as_asked() {
    for (reads, expected) in [(0, 0..=0), (100, 400..=400), (25, 60..=140)] {
        let (addr, seen) = start(Manners::default());
        load(&addr.to_string(), &Workload::Mixed { reads }, "--clients 2 --total 400");
        let got = seen.ranges.load(Relaxed);
        assert!(expected.contains(&got), "{got} reads of 400 at {reads} in a hundred");
        let puts: u64 = seen.puts.lock().unwrap().values().map(|(count, _)| count).sum();
        assert_eq!(got + puts, 400);
    }
}

/// A member without connections would be measured as if it served.
#[test]
fn connections_are_dealt_out_among_the_members() {
    let members: Vec<_> = (0..3).map(|_| start(Manners::default())).collect();
    let endpoints: Vec<_> = members.iter().map(|(addr, _)| addr.to_string()).collect();
    let report =
        load(&endpoints.join(","), &Workload::Put, "--clients 6 --connections 6 --total 600");
    assert_eq!(report.requests, 600);
    for (_, seen) in &members {
        let puts: u64 = seen.puts.lock().unwrap().values().map(|(count, _)| count).sum();
        assert!(puts > 0, "every member has two clients");
    }
}

/// At a rate the run takes as long as the rate says, however fast the server is.
#[test]
fn a_rate_is_kept() {
    let (addr, _) = start(Manners::default());
    let report = load(&addr.to_string(), &Workload::Put, "--clients 8 --total 100 --rate 200");
    // Ticket 99 is due at 0.495 s; how much later it is answered is the machine's business.
    assert!(report.seconds >= 0.495, "{} s", report.seconds);
}

/// "Connection refused" must not become a report of zeros.
#[test]
fn a_server_that_is_not_there_is_an_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for workload in [Workload::Put, WATCH, LEASES] {
        assert!(run(&options(&nobody, "--clients 2"), &workload, || Ok(()), |_, _| ()).is_err());
    }
}

/// A call the server does not know is an error that names itself, not a hang.
#[test]
fn streams_that_the_server_does_not_know_end_the_run() {
    let (addr, _) = start(Manners::default());
    for workload in [WATCH, LEASES] {
        let error =
            run(&options(&addr.to_string(), ""), &workload, || Ok(()), |_, _| ()).unwrap_err();
        assert!(format!("{error:#}").contains("not implemented"), "{error:#}");
    }
}
