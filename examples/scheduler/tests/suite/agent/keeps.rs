//! What an agent asks of its runs, and what it keeps to itself.

use std::collections::BTreeMap;
use std::path::Path;

use mason::secrets::Plain;
use mason_core::keys::Key;
use mason_core::record::{self, Reason};
use mason_core::spec::{Check, EnvSource, EnvVar, Job, Mount, MountSource, Probe, Task};
use mason_core::txn::Txn;
use mason_core::types::JobKey;

use super::Rig;
use crate::support::{Kind, until};

on_both! {
    a_run_is_ready_when_its_probe_says_so_and_stays_so_under_the_next_agent
    a_run_that_is_found_dead_is_stopped_as_unhealthy
    a_run_that_writes_more_than_it_may_is_stopped_by_the_name_of_the_bound
    secrets_reach_their_task_and_nothing_else
    a_run_is_told_its_variables_and_what_it_printed_goes_with_its_result
}

fn probe(script: &str) -> Probe {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).into();
    let check = Check::Exec { command };
    Probe { check, delay: 0, every: 100, timeout: 5_000, successes: 1, failures: 2 }
}

/// Traffic must not reach a task that is not ready, and the agent's death is no reason to take it
/// away from one that is.
async fn a_run_is_ready_when_its_probe_says_so_and_stays_so_under_the_next_agent(kind: Kind) {
    let mut rig = Rig::start("ready", kind).await;
    let script = "sleep 2; echo yes > /tmp/ready; sleep 1000";
    let mut task = Task::new("tiny", &["sh", "-c", script]);
    task.ready = Some(probe("cat /tmp/ready"));
    rig.make("ready", Job::single(task)).await;
    let run = rig.running().await;
    rig.seen(|seen| !seen.ready && seen.message.starts_with("not ready:")).await;
    assert_eq!(rig.seen(|seen| seen.ready).await, run);
    rig.restart_agent().await;
    assert_eq!(rig.seen(|seen| seen.epoch == 2 && seen.ready).await, run);
    rig.finish().await;
}

/// A task that hangs is started anew only if its end says why.
async fn a_run_that_is_found_dead_is_stopped_as_unhealthy(kind: Kind) {
    let rig = Rig::start("dead", kind).await;
    let mut task = Task::new("tiny", &["sleep", "1000"]);
    task.live = Some(probe("exit 3"));
    task.stop.grace = 500;
    let key = rig.make("dead", Job::single(task)).await;
    let (_, exit) = rig.ended(&key).await;
    assert_eq!(exit.reason, Reason::Unhealthy, "{exit:?}");
    assert!(exit.message.contains("ended with 3"), "{exit:?}");
    rig.finish().await;
}

/// A disk is shared by all that run on a node. What is bounded is said by its field.
async fn a_run_that_writes_more_than_it_may_is_stopped_by_the_name_of_the_bound(kind: Kind) {
    let rig = Rig::start("large", kind).await;
    let write = |path: &str| {
        let script = format!("seq 40000 > {path}; sleep 1000");
        let mut task = Task::new("tiny", &["sh", "-c", &script]);
        task.stop.grace = 500;
        task.limit.disk = 150_000;
        let source = MountSource::Empty { bytes: 100_000, memory: false };
        task.mounts = vec![Mount { at: "/own".to_owned(), read_only: false, source }];
        task
    };
    let mut own = write("/own/file");
    own.limit.disk = 0;
    let (own, whole) =
        (rig.make("own", Job::single(own)), rig.make("whole", Job::single(write("/file"))));
    let (own, whole) = tokio::join!(own, whole);
    for (key, field) in [(own, "mounts[0].empty.bytes: "), (whole, "limit.disk: ")] {
        let (_, exit) = rig.ended(&key).await;
        assert_eq!(exit.reason, Reason::Unhealthy, "{exit:?}");
        assert!(exit.message.starts_with(field), "{exit:?}");
    }
    rig.finish().await;
}

/// All files below a folder that a text is in.
fn with(folder: &Path, canary: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(with(&path, canary));
        } else if let Ok(bytes) = std::fs::read(&path)
            && memchr::memmem::find(&bytes, canary.as_bytes()).is_some()
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A password on a disk, in a log or on a command line is everybody's.
async fn secrets_reach_their_task_and_nothing_else(kind: Kind) {
    const CANARY: &str = "canary-5f1e0c77";
    let rig = Rig::start("secret", kind).await;
    let name = JobKey::new("default", "pass");
    let values = BTreeMap::from([("word".to_owned(), Plain::new(CANARY.as_bytes().to_vec()))]);
    let sealed = rig.keyring().seal(&name, "Opaque", &values).unwrap();
    let path = rig.store.keys().path(&Key::Secret(name));
    rig.store.commit(&Txn::new().put(path, record::encode(&sealed))).await.unwrap();
    let source =
        || EnvSource::Secret { name: "pass".to_owned(), key: "word".to_owned(), optional: false };
    let script = "cat /secret/word > /tmp/a; echo $WORD > /tmp/b; echo told; sleep 1000";
    let mut task = Task::new("tiny", &["sh", "-c", script]);
    task.env = vec![EnvVar { name: "WORD".to_owned(), value: source() }];
    let items = BTreeMap::new();
    let source_of = MountSource::Secret { name: "pass".to_owned(), items, optional: false };
    task.mounts = vec![Mount { at: "/secret".to_owned(), read_only: true, source: source_of }];
    let mut naming = task.clone();
    rig.make("secret", Job::single(task)).await;
    let run = rig.running().await;
    until(async || (rig.log(&run, "").await.0 == "told\n").then_some(())).await;
    // The task has it, where it wrote it itself, and nobody else has it on a disk.
    let upper = rig.folder.path().join("m/runs").join(run.as_str()).join("upper/tmp");
    let mut found = with(rig.folder.path(), CANARY);
    found.sort();
    let own = ["a", "b"].map(|name| upper.join(name).display().to_string());
    assert_eq!(found, own);
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&words).contains(CANARY), "{}", entry.path().display());
    }
    let (_, all) = rig.store.read_all("").await.unwrap();
    assert!(!all.iter().any(|kv| String::from_utf8_lossy(&kv.value).contains(CANARY)));
    // A command line that would show it is refused.
    naming.args = vec!["echo".to_owned(), "--pass=$(WORD)".to_owned()];
    let key = rig.make("naming", Job::single(naming)).await;
    let (_, exit) = rig.ended(&key).await;
    assert_eq!(exit.reason, Reason::Config);
    assert!(exit.message.contains("args[1]: $(WORD) is a secret"), "{exit:?}");
    rig.finish().await;
}

/// Workflows hand on what a step printed, and a storage is told which run is the newer one.
async fn a_run_is_told_its_variables_and_what_it_printed_goes_with_its_result(kind: Kind) {
    let rig = Rig::start("told", kind).await;
    let script = "echo $(MASON_JOB) $MASON_INDEX; echo fence $MASON_FENCE";
    let mut task = Task::new("tiny", &["sh", "-c", script]);
    task.capture_bytes = 1024;
    let key = rig.make("told", Job::single(task)).await;
    let (_, exit) = rig.ended(&key).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let printed = &exit.outputs["result"];
    let (first, fence) = printed.split_once("\nfence ").unwrap();
    assert_eq!(first, "told 0");
    assert!(fence.trim().parse::<u64>().unwrap() > 0);
    rig.finish().await;
}
