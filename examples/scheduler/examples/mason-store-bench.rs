//! How many binds a second go through the store, and what one costs.
//!
//! **Question.** A leader decides tens of thousands of placements a second. Does the store keep up?
//!
//! **Method.** One leader, elected as ever, sends transactions of 55 binds each, as
//! [`protocol::bind`] makes them and merged, so many at once, for some seconds; every one must
//! succeed. The server is a process of its own with its data on the disk of `--dir`, and syncs each
//! group of transactions. Client and server share the machine. CPU is what the kernel says of each
//! process.
//!
//! **Prediction.** A bind is two values of about 250 bytes and a comparison of its own. etcd takes
//! a put in about 10 µs on one thread: 110 of them and a sync of 1 ms make 2 ms, which is 25,000
//! binds a second at most, and less by what gRPC takes. 5,000 should be easy, 10,000 not.
//!
//! ```text
//! cargo run --release -p mason --example mason-store-bench -- --in-flight 4 --seconds 10
//! ```

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use drystone_etcd::embed::{Member, Options};
use mason::store::{Session, Settings, Store};
use mason_core::keys::{Key, Keys};
use mason_core::protocol::{self, Bind, Office};
use mason_core::record::{RunRecord, TaskRecord, TaskWait, Wish};
use mason_core::spec::Concurrency;
use mason_core::txn::{Op, Txn};
use mason_core::types::{JobKey, NodeId, Revision, RunId};

/// As `mason` and `drystone-etcd` have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The first word of the command line with which this program is our server, as the program that is
/// one has it.
const SERVE: &str = "serve";
/// The same with a server inside, as `mason dev` has it: it does not give up its turn on a busy
/// core for the sake of throughput.
const EMBED: &str = "embed";
/// The kernel counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Parser)]
#[command(about = "How many binds a second go through the store, and what one costs.")]
struct Arguments {
    /// Which servers: ours, embedded, etcd, or the path of one that knows etcd's flags
    #[arg(long, default_value = "etcd,ours,embedded", value_delimiter = ',')]
    servers: Vec<String>,
    /// For how long each is measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Transactions at once
    #[arg(long, default_value = "1,4,8", value_delimiter = ',')]
    in_flight: Vec<u64>,
    /// Binds in a transaction
    #[arg(long, default_value_t = 55)]
    binds: u64,
    /// Nodes that they go to, in turn
    #[arg(long, default_value_t = 5000)]
    nodes: u64,
    /// Where the data go [default: the folder for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == SERVE) {
        return drystone_etcd::program::run(words[1..].to_vec(), []);
    }
    if words.first().is_some_and(|word| word == EMBED) {
        return embed(&words[1..]);
    }
    let arguments = Arguments::parse();
    println!("server     at once    binds/s   txn p50   txn p99   CPU per bind: client   server");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    for name in &arguments.servers {
        for &in_flight in &arguments.in_flight {
            let measured = runtime.block_on(measure(name, in_flight, &arguments));
            println!("{name:<10} {in_flight:>7} {measured}");
        }
    }
    ExitCode::SUCCESS
}

/// Runs a server inside this process until it is killed. The words are its flags, with these first:
/// `--data-dir DIR --listen-client-urls http://ADDRESS`.
fn embed(words: &[OsString]) -> ExitCode {
    let mut options = Options::new(&words[1]);
    let url = words[3].to_string_lossy().into_owned();
    options.client = url.trim_start_matches("http://").parse().expect("it is an address");
    let _member = Member::start(&options).expect("it starts");
    loop {
        std::thread::park();
    }
}

/// A server in a folder of its own, both gone when it is dropped.
struct Server {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Server {
    fn start(name: &str, dir: &Path) -> Server {
        let (client, peer) = (free_port(), free_port());
        let folder = dir.join(format!("mason-store-bench-{client}"));
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = match name {
            "ours" | "embedded" => {
                let mut this = Command::new(std::env::current_exe().expect("it runs"));
                this.arg(if name == "ours" { SERVE } else { EMBED });
                this
            }
            "etcd" => Command::new("/usr/bin/etcd"),
            path => Command::new(path),
        };
        command.arg("--data-dir").arg(&folder);
        command.args(["--listen-client-urls", &url(client)]);
        command.args(["--advertise-client-urls", &url(client)]);
        command.args(["--listen-peer-urls", &url(peer)]);
        command.args(["--initial-advertise-peer-urls", &url(peer)]);
        command.args(["--initial-cluster", &format!("default={}", url(peer))]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Server { child, folder, url: url(client) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// What binds are made of.
struct Workload {
    keys: Keys,
    office: Office,
    job: JobKey,
    job_made: Revision,
    nodes: Vec<NodeId>,
}

impl Workload {
    /// The transaction of so many binds, whose first task is this.
    fn txn(&self, first: u64, binds: u64) -> Txn {
        let mut all = Txn::new();
        for task in first..first + binds {
            all.merge(protocol::bind(&self.keys, &self.office, &self.bind(task)));
        }
        all
    }

    fn bind(&self, task: u64) -> Bind {
        let node = self.nodes[usize::try_from(task).expect("few") % self.nodes.len()].clone();
        let (run, spec) = (RunId::new(0x3fa9_c01b_e2d4, task), "9f".repeat(32));
        let task = self.job.task(u32::try_from(task).expect("fewer than 2^32"));
        let bound = TaskRecord {
            uid: "0c5c9a2e".into(),
            attempt: 1,
            counted: 0,
            spec: spec.as_str().into(),
            revision: 0,
            wait: TaskWait::Bound { node: node.clone(), run: run.clone() },
            memory: None,
            last: None,
        };
        let record = RunRecord {
            task: task.clone(),
            uid: "0c5c9a2e".into(),
            attempt: 1,
            spec: spec.as_str().into(),
            wish: Wish::Run,
            concurrency: Concurrency::Strict,
            count: 1_000_000,
            partition: None,
            memory: None,
            bound_at: 1_796_000_000_000,
        };
        Bind { task, task_changed: 0, job_made: self.job_made, node, run, bound, record }
    }
}

async fn prepare(store: &Store, session: &Session, nodes: u64) -> Workload {
    let keys = store.keys().clone();
    let office = store.election().campaign(session, b"bench").await.expect("nobody else stands");
    let job = JobKey::new("bench", "array");
    let nodes: Vec<NodeId> = (0..nodes).map(|n| format!("n{n:05}").into()).collect();
    let alive = |node: &NodeId| Op::Put {
        key: keys.path(&Key::Alive(node.clone())),
        value: b"{}".to_vec(),
        lease: None,
    };
    for some in nodes.chunks(100) {
        let txn = Txn { when: Vec::new(), then: some.iter().map(alive).collect() };
        store.commit(&txn).await.expect("the store is up");
    }
    let txn = Txn::new().put(keys.path(&Key::Job(job.clone())), b"{}".to_vec());
    let job_made = store.commit(&txn).await.expect("the store is up").revision;
    Workload { keys, office, job, job_made, nodes }
}

async fn measure(name: &str, in_flight: u64, arguments: &Arguments) -> String {
    let dir = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let server = Server::start(name, &dir);
    let mut settings = Settings::default();
    settings.patience = Duration::from_secs(30);
    let connected =
        Store::connect_with(std::slice::from_ref(&server.url), Keys::default(), settings).await;
    let store = connected.expect("the server starts");
    let session = Session::open(&store, Duration::from_secs(60), Duration::from_secs(5)).await;
    let session = session.expect("the store is up");
    let work = prepare(&store, &session, arguments.nodes).await;
    let (own, pid) = (std::process::id(), server.child.id());
    let (began, client, served) = (Instant::now(), cpu(own), cpu(pid));
    let end = began + Duration::from_secs(arguments.seconds);
    let line = async |line: u64| {
        let (mut taken, mut next) = (Vec::new(), line);
        while Instant::now() < end {
            let txn = work.txn(next * arguments.binds, arguments.binds);
            next += in_flight;
            let asked = Instant::now();
            let done = store.commit(&txn).await.expect("the store is up");
            assert!(done.succeeded, "nobody else writes");
            taken.push(asked.elapsed());
        }
        taken
    };
    let lines = (0..in_flight).map(line);
    let mut taken: Vec<Duration> = join_all(lines).await.into_iter().flatten().collect();
    let elapsed = began.elapsed();
    let binds = f64::from(u32::try_from(taken.len()).expect("few")) * arguments.binds as f64;
    let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / binds;
    let (client, served) = (micros(cpu(own) - client), micros(cpu(pid) - served));
    taken.sort_unstable();
    let at = |share: usize| taken[(taken.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let (rate, p50, p99) = (binds / elapsed.as_secs_f64(), at(50), at(99));
    format!("{rate:>10.0} {p50:>6.1} ms {p99:>6.1} ms {client:>20.1} µs {served:>5.1} µs")
}

/// All of them at once, on this thread.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(Box::pin).map(Some).collect();
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (slot, result) in waiting.iter_mut().zip(&mut done) {
            if let Some(future) = slot
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                (*slot, *result) = (None, Some(value));
            }
        }
        match waiting.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// The CPU time of a process and all its threads.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let after = stat.rsplit_once(')').expect("the name is in brackets").1;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    TICK * (ticks() + ticks())
}
