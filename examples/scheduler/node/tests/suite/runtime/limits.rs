//! What a container may use at most.

use mason_core::record::Reason;
use mason_node::runtime::Status;

use super::support::Node;

/// A task that is killed for its memory is retried with more; one that is killed otherwise is not.
#[test]
fn out_of_memory_is_told_from_a_kill() {
    let Some(node) = Node::new("limits::oom") else { return };
    for class in node.config.classes.clone() {
        let mut launch = node.launch("tail /dev/zero");
        launch.task.runtime = Some(class.name.clone());
        launch.task.limit.memory = 32 << 20;
        let (ended, text) = node.run_launch(&launch);
        assert_eq!(ended.exit.reason, Reason::OutOfMemory, "{}: {ended:?} {text}", class.name);
        assert!(ended.oom_kills > 0);
        let mut launch = node.launch("kill -9 $$");
        launch.task.runtime = Some(class.name);
        launch.task.limit.memory = 32 << 20;
        let (ended, _) = node.run_launch(&launch);
        assert_eq!((ended.exit.reason, ended.oom_kills), (Reason::Signalled, 0));
    }
    // A program that outlives the death of its child is not out of memory, but the count is told.
    let mut launch = node.launch("tail /dev/zero || true");
    launch.task.limit.memory = 32 << 20;
    let (ended, _) = node.run_launch(&launch);
    assert_eq!((ended.exit.reason, ended.exit.code), (Reason::Exited, Some(0)));
    assert_eq!(ended.oom_kills, 1);
    node.finish();
}

/// A fork bomb stays in its container, which can still be killed.
#[test]
fn a_fork_bomb_is_held_and_ends() {
    let Some(node) = Node::new("limits::bomb") else { return };
    let mut launch = node.launch("b() { b | b & }; b; while :; do sleep 0.2; done");
    launch.task.limit.pids = 40;
    launch.task.limit.cpu = 200;
    let running = node.start(&launch);
    node.wait_for_text(&launch.run, "can't fork");
    let of_node = format!("/{}/{}", node.config.node, launch.run);
    let count = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        std::fs::read_to_string(entry.path().join("cgroup"))
            .is_ok_and(|text| text.contains(&of_node))
    });
    assert!(count.count() <= 40);
    assert!(running.pid > 1);
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
    node.finish();
}

/// Limits are what the kernel was told, on whatever version of control groups this machine has.
#[test]
fn limits_reach_the_kernel() {
    let Some(node) = Node::new("limits::kernel") else { return };
    let mut launch = node.launch("sleep 1000");
    launch.task.limit.memory = 64 << 20;
    launch.task.limit.cpu = 1500;
    launch.task.limit.pids = 17;
    launch.task.request.cpu = 500;
    node.start(&launch);
    let group = format!("mason/{}/{}", node.config.node, launch.run);
    let read = |names: [&str; 2]| {
        let paths = names.map(|name| {
            let (hierarchy, file) = name.split_once('/').unwrap_or(("", name));
            std::path::Path::new("/sys/fs/cgroup").join(hierarchy).join(&group).join(file)
        });
        let text = paths.iter().find_map(|path| std::fs::read_to_string(path).ok());
        text.unwrap_or_else(|| panic!("none of {paths:?}")).trim().to_owned()
    };
    assert_eq!(read(["memory/memory.limit_in_bytes", "memory.max"]), "67108864");
    let swap = read(["memory/memory.memsw.limit_in_bytes", "memory.swap.max"]);
    assert!(["67108864", "0"].contains(&swap.as_str()), "{swap}");
    assert_eq!(read(["pids/pids.max", "pids.max"]), "17");
    let quota = read(["cpu/cpu.cfs_quota_us", "cpu.max"]);
    assert!(quota.starts_with("150000"), "{quota}");
    let shares = read(["cpu/cpu.shares", "cpu.weight"]);
    assert!(["512", "20"].contains(&shares.as_str()), "{shares}");
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
    node.finish();
}

/// Processes that nobody waits for must not fill the container's share of them.
#[test]
fn a_storm_of_zombies_is_reaped() {
    let Some(node) = Node::new("limits::zombies") else { return };
    // Each leaves a grandchild behind, which becomes the first process's.
    let script = "i=0; while [ $i -lt 300 ]; do (sleep 0 & ) ; i=$((i+1)); done; \
                  while grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do :; done; \
                  echo done; sleep 1000";
    let mut launch = node.launch(script);
    launch.task.limit.pids = 100;
    node.start(&launch);
    node.wait_for_text(&launch.run, "done");
    assert_eq!(node.text(&launch.run), "done\n");
    assert!(matches!(node.runner().look(&launch.run), Ok(Status::Running(_))));
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
    node.finish();
}
