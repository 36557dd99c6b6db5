//! Containers that misbehave, and a full disk.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mason_core::record::{Phase, Reason};
use mason_core::spec::{Backoff, Concurrency, Job, Task};
use rustix::mount::{MountFlags, mount};

use crate::stage::{Site, beating};
use crate::support::{Kind, Solo, until};

fn job(args: &[&str]) -> Job {
    let mut task = Task::new("tiny", args);
    task.stop.grace = 300;
    Job::single(task)
}

/// What eats memory, forks without end, hears no signal or leaves its dead behind, ends for the
/// right reason, and neither its neighbour nor the agent feels it.
pub(crate) async fn what_containers_do_to_themselves_stays_theirs(kind: Kind) {
    let solo = Solo::start(kind).await;
    let mut site = Site::open("bad", kind, &[solo.url()]).await;
    site.server();
    site.agent();
    let neighbour = beating(&site.shared(), 8.0, Concurrency::Strict);
    let neighbour = site.make("neighbour", neighbour).await;
    site.running(&neighbour, 0, None).await;
    let mut eats = job(&["eat-memory", "200M", "hold"]);
    eats.task.limit.memory = 64 << 20;
    let mut forks = job(&["fork-bomb", "10"]);
    forks.task.limit.pids = 40;
    let mut deaf = job(&["trap"]);
    deaf.task.timeout = Some(1_000);
    let storm = job(&["orphans", "200"]);
    let mut keys = Vec::new();
    for (name, job) in [("eats", eats), ("forks", forks), ("deaf", deaf), ("storm", storm)] {
        keys.push(site.make(name, job).await);
    }
    let mut ends = Vec::new();
    for key in &keys {
        site.ended(key).await;
        let exit = site.see(|it| it.mirror.job(key).unwrap().pasts[&0].value.exit.clone());
        ends.push((exit.reason, exit.code));
    }
    let expected = [
        (Reason::OutOfMemory, Some(137)),
        (Reason::Exited, Some(1)),
        (Reason::Timeout, Some(137)),
        (Reason::Exited, Some(0)),
    ];
    assert_eq!(ends, expected);
    assert_eq!(site.ended(&neighbour).await, Phase::Succeeded);
    assert!(site.agents[0].role.runs());
    site.close().await;
}

/// A file that takes all there is, and what becomes free, until it is dropped.
struct Ballast {
    path: PathBuf,
    is_done: Arc<AtomicBool>,
    filler: Option<JoinHandle<()>>,
}

impl Ballast {
    /// Returns when there is nothing left.
    fn fill(path: &Path) -> Ballast {
        let mut file = File::create(path).unwrap();
        let mut fill = move || {
            let error = std::iter::repeat_with(|| file.write_all(&[7; 4096])).find_map(Result::err);
            assert_eq!(error.unwrap().kind(), std::io::ErrorKind::StorageFull);
        };
        fill();
        let is_done = Arc::new(AtomicBool::new(false));
        let told = is_done.clone();
        let filler = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                fill();
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        Ballast { path: path.to_owned(), is_done, filler: Some(filler) }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        // Whoever has it open keeps its bytes.
        let _ = self.filler.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A disk that is full makes new runs wait or fail by name. It ends neither the agent nor what
/// runs, and when there is room all goes on.
pub(crate) async fn a_disk_that_is_full_ends_no_agent(kind: Kind) {
    let solo = Solo::start(kind).await;
    let mut site = Site::open("full", kind, &[solo.url()]).await;
    let disk = site.path().join("a0");
    std::fs::create_dir(&disk).unwrap();
    mount("mason-test", &disk, "tmpfs", MountFlags::empty(), Some(c"size=160m")).unwrap();
    site.server();
    site.agent();
    let steady = site.make("steady", beating(&site.shared(), 6.0, Concurrency::Strict)).await;
    let (run, _) = site.running(&steady, 0, None).await;
    let ballast = Ballast::fill(&disk.join("ballast"));
    let mut late = job(&["true"]);
    late.retry.attempts = u32::MAX;
    late.retry.backoff = Backoff { initial: 100, max: 500, ..Backoff::default() };
    let late = site.make("late", late).await;
    // It is bound there, and does not come to anything.
    let task = late.task(0);
    site.wait("it is tried", |it| it.runs.values().find(|(_, of)| *of == task).map(drop)).await;
    let ran = until(async || {
        let beats = site.beats();
        beats.0.get(run.as_str()).filter(|life| life.ends == 1).cloned()
    });
    ran.await;
    // What ran came to its end, and there was room kept to write down how.
    let exit = site.result(&run).await.exit;
    assert_eq!((exit.reason, exit.code), (Reason::Exited, Some(0)), "{exit:?}");
    assert!(!site.is_over(&late), "there is no room for it");
    assert!(site.agents[0].role.runs());
    drop(ballast);
    assert_eq!(site.ended(&late).await, Phase::Succeeded);
    assert!(site.agents[0].role.runs());
    site.close().await;
}
