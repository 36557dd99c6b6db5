//! How long a restart takes, and what the disk holds by then: a million writes, then an end.
//!
//! A store replays what its journal holds beyond the engine's last save. So two things must stay
//! bounded together: the journal on disk, and the time until the first read is served. Both are
//! measured here, after a kill and after a stop in good order.
//!
//! The figures mean something for the release binary only, which `DRYSTONE_ETCD_BIN` names. With
//! the binary that cargo built for the tests, a twentieth of the writes is made.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use drystone_kv::EngineKind;
use tokio::task::JoinSet;

use crate::support::calls::{client_of, in_a_runtime};
use crate::support::server::Server;
use crate::support::{programs, tree};

crate::support::on_every_engine! {
    million_writes_restart_within_three_seconds
}

const PUTS: usize = 1_000_000;
/// With a binary that was not built to be fast.
const PUTS_DEV: usize = PUTS / 20;
const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 256;
const CONNECTIONS: usize = 8;
/// Writers wait for one answer each; a key belongs to one of them.
const WRITERS: usize = 400;
const _: () = assert!(KEYS.is_multiple_of(WRITERS) && WRITERS.is_multiple_of(CONNECTIONS));

/// From the start of the process to the first answer.
const RESTART_MAX: Duration = Duration::from_secs(3);
/// What the journal may take on disk: four of its files of 64 MiB. It is cut when as much was
/// journaled as half of what the engine holds, and at least 64 MiB. These puts make 290 MiB, so the
/// last cut comes at 256 MiB and frees what came since the one at 128 MiB: two files. To these come
/// one in reserve, and one for what is written while the engine is saved. Never cut, it would take
/// six.
const JOURNAL_BYTES_MAX: u64 = 4 * (64 << 20);

/// An operator who restarts a busy member watches the clock: so does every client of it.
fn million_writes_restart_within_three_seconds(kind: EngineKind) {
    let _alone = crate::support::alone();
    let puts = if std::env::var_os("DRYSTONE_ETCD_BIN").is_some() { PUTS } else { PUTS_DEV };
    if puts < PUTS {
        let reason = "DRYSTONE_ETCD_BIN names no release binary";
        crate::support::say(&format!("SCALED DOWN million_writes: {puts} writes, for {reason}"));
    }
    let mut server = Server::start(&programs::ours(), programs::flags_of(kind));
    let journal = server.data_dir().join("replica/raft");
    let (took, journal_bytes) = fill(&server, puts, &journal);
    let per_second = puts as f64 / took.as_secs_f64();
    println!("{puts} puts in {:.1} s, {per_second:.0} a second", took.as_secs_f64());
    println!("journal: at most {} MiB on disk", journal_bytes >> 20);

    let killed = server.kill();
    assert_eq!(killed.signal(), Some(9));
    let after_kill = first_read(&mut server);
    println!("after SIGKILL, serving within {after_kill:?}");
    check(&server, puts);

    let stopped = server.terminate();
    // A shell reports it as 143.
    assert_eq!(stopped.signal(), Some(15), "a server that is asked to stop dies by that signal");
    let after_stop = first_read(&mut server);
    println!("after SIGTERM, serving within {after_stop:?}");
    check(&server, puts);

    if programs::is_ours() {
        assert!(journal_bytes > 0, "the journal is where we look");
        assert!(journal_bytes <= JOURNAL_BYTES_MAX, "{journal_bytes} bytes of journal");
        assert!(after_kill < RESTART_MAX, "{after_kill:?} after SIGKILL");
        assert!(after_stop < RESTART_MAX, "{after_stop:?} after SIGTERM");
    }
}

/// Writes; returns how long it took, and the most bytes that `journal` held meanwhile.
fn fill(server: &Server, puts: usize, journal: &Path) -> (Duration, u64) {
    let url = server.client_url();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let measure = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(bytes_on_disk(journal));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let start = Instant::now();
        runtime.expect("a runtime can be made").block_on(write_all(&url, puts));
        let took = start.elapsed();
        over.store(true, Ordering::Relaxed);
        (took, measure.join().expect("measuring does not panic"))
    })
}

async fn write_all(url: &str, puts: usize) {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = connect(url, &Config::default()).await;
        clients.push(client.expect("a server that answers accepts connections"));
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(clients[writer % CONNECTIONS].clone(), writer, puts));
    }
    writers.join_all().await;
}

/// Makes every `WRITERS`-th put, from number `writer` on.
async fn write(client: Client, writer: usize, puts: usize) {
    let mut kv = client.kv();
    for number in (writer..puts).step_by(WRITERS) {
        let (key, value) = (key(number % KEYS), value(number));
        let request = PutRequest { key, value, ..PutRequest::default() };
        kv.put(request).await.unwrap_or_else(|status| panic!("put {number}: {status}"));
    }
}

fn key(number: usize) -> Bytes {
    format!("key/{number:06}").into()
}

fn value(number: usize) -> Bytes {
    let mut value = format!("{number}.").into_bytes();
    value.resize(VALUE_BYTES, b'v');
    value.into()
}

/// Starts the server and returns how long it took until a linearizable read was answered.
fn first_read(server: &mut Server) -> Duration {
    let start = Instant::now();
    server.launch();
    let url = server.client_url();
    in_a_runtime(async {
        let deadline = start + Duration::from_secs(120);
        loop {
            let request = RangeRequest { key: key(0), ..RangeRequest::default() };
            if let Ok(client) = connect(&url, &Config::default()).await
                && let Ok(answer) = client.kv().range(request).await
            {
                assert_eq!(answer.into_inner().count, 1, "the key is there");
                return start.elapsed();
            }
            assert!(Instant::now() < deadline, "the server does not come back");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

/// Everything that was written is there.
fn check(server: &Server, puts: usize) {
    let (key, range_end) = ("key/".into(), "key0".into());
    let request = RangeRequest { key, range_end, ..RangeRequest::default() };
    let answer = in_a_runtime(async {
        client_of(server).await.kv().range(request).await.expect("a range is answered")
    });
    let answer = answer.into_inner();
    let revision = answer.header.expect("an answer has a header").revision;
    assert_eq!(usize::try_from(revision), Ok(puts + 1), "one revision a put");
    assert_eq!(answer.kvs.len(), KEYS);
    for (number, kv) in answer.kvs.iter().enumerate() {
        let last = puts - KEYS + number;
        assert_eq!(kv.key, self::key(number));
        assert_eq!(kv.value, value(last), "the last value of key {number}");
        assert_eq!(usize::try_from(kv.version), Ok(puts / KEYS), "versions of key {number}");
    }
}

fn bytes_on_disk(folder: &Path) -> u64 {
    let sizes = tree::files(folder).into_iter().map(|file| file.metadata().map_or(0, |m| m.len()));
    sizes.sum()
}
