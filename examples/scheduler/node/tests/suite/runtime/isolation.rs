//! The box that a container is in.

use std::os::unix::fs::PermissionsExt;

use mason_core::record::Reason;
use mason_node::runtime::{Class, Config, Error, Network};

use super::support::{Node, locate};

fn refused(result: Result<mason_node::runtime::Running, Error>) -> String {
    match result {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn each_class(node: &Node) -> Vec<Class> {
    node.config.classes.clone()
}

/// Nothing is kept that was not asked for, and nothing is given that is not allowed.
#[test]
fn capabilities_are_dropped_but_those_allowed_and_asked() {
    let allow = |config: &mut Config| config.capabilities = vec!["NET_BIND_SERVICE".to_owned()];
    let Some(node) = Node::with("isolation::capabilities", allow) else { return };
    let script = "grep -h -e ^Cap -e ^NoNew -e '^Seccomp:' /proc/self/status";
    for class in each_class(&node) {
        for (user, asked, bits) in [(None, "", 0), (None, "x", 0x400), (Some(101), "x", 0x400)] {
            let mut launch = node.launch(script);
            launch.task.runtime = Some(class.name.clone());
            launch.task.security.user = user;
            if !asked.is_empty() {
                launch.task.security.capabilities = vec!["CAP_NET_BIND_SERVICE".to_owned()];
            }
            let (_, text) = node.run_launch(&launch);
            for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                let line = format!("{line}:\t{bits:016x}");
                assert!(text.contains(&line), "{} {user:?}: {line} not in {text}", class.name);
            }
            assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
        }
    }
    let mut launch = node.launch("true");
    launch.task.security.capabilities = vec!["SYS_ADMIN".to_owned()];
    let error = refused(node.runner().start(&launch));
    assert_eq!(error, "security.capabilities[0]: `SYS_ADMIN` is not allowed on this node");
    node.finish();
}

/// Root in a container is root on the node, too: a setuid program of its making, or a file that all
/// may read, must not lie where other users of the node can get at it.
#[test]
fn what_a_container_makes_is_out_of_reach_of_the_nodes_users() {
    use std::os::unix::process::CommandExt as _;
    let Some(node) = Node::new("isolation::reach") else { return };
    std::fs::set_permissions(node.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let launch = node.launch("cp /bin/busybox /tmp/own; chmod 4755 /tmp/own; echo made");
    assert_eq!(node.run_launch(&launch).1, "made\n");
    let own = node.data().join("runs").join(launch.run.as_str()).join("upper/tmp/own");
    let seen = |user: u32| {
        let mut look = std::process::Command::new("/usr/bin/test");
        look.arg("-e").arg(&own).uid(user).gid(user).status().unwrap().success()
    };
    assert!(seen(0), "{} is there", own.display());
    assert!(!seen(65534), "others reach {}", own.display());
    node.finish();
}

/// A container sees its own processes, name, network and mounts, whatever its spec says.
#[test]
fn namespaces_are_its_own() {
    let Some(node) = Node::new("isolation::namespaces") else { return };
    let script =
        "for n in /proc/self/ns/*; do readlink $n; done; hostname; ip link | grep -c ^; ps | wc -l";
    for class in each_class(&node) {
        let mut launch = node.launch(script);
        launch.task.runtime = Some(class.name.clone());
        let (_, text) = node.run_launch(&launch);
        for kind in ["pid", "ipc", "uts", "net", "mnt"] {
            let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            let ours = ours.to_str().unwrap();
            assert!(text.contains(&format!("{kind}:[")), "{text}");
            assert!(!text.contains(ours), "{}: {kind} is shared: {text}", class.name);
        }
        assert!(text.contains("task-0\n2\n"), "its name, and a loopback alone: {text}");
    }
    node.finish();
}

/// The node's network is the agent's choice, for all or none.
#[test]
fn the_nodes_network_is_the_agents_choice() {
    let choose = |config: &mut Config| config.network = Network::Host;
    let Some(node) = Node::with("isolation::host_network", choose) else { return };
    let (_, text) = node.run("readlink /proc/self/ns/net; readlink /proc/self/ns/pid");
    let ours = |kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    assert!(text.contains(ours("net").to_str().unwrap()), "{text}");
    assert!(!text.contains(ours("pid").to_str().unwrap()), "{text}");
    node.finish();
}

/// The ways from `/proc`, `/sys` and `/dev` to the node are closed.
#[test]
fn kernel_files_are_masked_or_read_only() {
    let Some(node) = Node::new("isolation::masks") else { return };
    let script = "if [ -e /proc/kcore ]; then wc -c < /proc/kcore; else echo 0; fi; \
        echo 1 > /proc/sys/kernel/domainname || echo no1; \
        echo b > /proc/sysrq-trigger || echo no2; touch /sys/x || echo no3; \
        mknod /tmp/sda b 8 0 || echo no4; ls -A /sys/firmware /dev";
    let (_, text) = node.run(script);
    for wanted in ["0\n", "no1", "no2", "no3", "no4", "null", "urandom"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("sda\n") && !text.contains("vda") && !text.contains("mem\n"), "{text}");
    node.finish();
}

/// A task that may not change its image keeps a place for temporary files.
#[test]
fn a_read_only_root_has_a_tmp() {
    let Some(node) = Node::new("isolation::read_only") else { return };
    for (read_only, expected) in [(true, "ro\ntmp\n"), (false, "rw\ntmp\n")] {
        let mut launch =
            node.launch("touch /x 2>/dev/null && echo rw || echo ro; touch /tmp/x && echo tmp");
        launch.task.security.read_only_root = read_only;
        assert_eq!(node.run_launch(&launch).1, expected);
    }
    assert!(!node.image().join("x").exists(), "the image was written to");
    node.finish();
}

/// Who a task runs as, by number or by a name in its image.
#[test]
fn users_are_the_tasks_or_the_images() {
    let Some(node) = Node::new("isolation::users") else { return };
    let script = "id -u; id -g; touch /x 2>/dev/null || echo no; echo $HOME";
    let who = |image: &str, user, group| {
        let mut launch = node.launch(script);
        launch.image.user = image.to_owned();
        launch.task.security.user = user;
        launch.task.security.group = group;
        node.run_launch(&launch).1
    };
    assert_eq!(who("web", None, None), "101\n82\nno\n/tmp\n");
    assert_eq!(who("web", Some(5), Some(6)), "5\n6\nno\n/\n");
    assert_eq!(who("", None, None), "0\n0\n/root\n");
    let mut launch = node.launch(script);
    launch.task.security.non_root = true;
    assert!(refused(node.runner().start(&launch)).starts_with("security.nonRoot"));
    launch.image.user = "nobody-knows".to_owned();
    assert!(refused(node.runner().start(&launch)).contains("`nobody-knows`"));
    node.finish();
}

/// Each call that the profile closes, made for real; the arguments are such that the kernel itself
/// would have said something else, where it would have.
#[test]
#[cfg(target_arch = "x86_64")]
fn closed_system_calls_are_refused() {
    let usr = |config: &mut Config| config.host_paths = vec!["/usr".into()];
    let Some(node) = Node::with("isolation::seccomp", usr) else { return };
    if locate("perl").is_none() {
        super::support::skip("isolation::seccomp", "no perl to make calls with");
        return;
    }
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    let calls = [
        ("unshare(NEWUSER)", "272, 0x10000000", EPERM),
        ("unshare(NEWNS)", "272, 0x20000", EPERM),
        ("clone(NEWUSER)", "56, 0x10000011, 0, 0, 0, 0", EPERM),
        ("clone(NEWPID|NEWUSER)", "56, 0x30000011, 0, 0, 0, 0", EPERM),
        ("clone3", "435, 0, 0", ENOSYS),
        ("setns", "308, -1, 0", EPERM),
        ("mount", "165, 0, 0, 0, 0, 0", EPERM),
        ("umount2", "166, 0, 0", EPERM),
        ("fsopen", "430, 0, 0", EPERM),
        ("open_tree", "428, -1, 0, 0", EPERM),
        ("keyctl", "250, 0, -3, 0", EPERM),
        ("add_key", "248, 0, 0, 0, 0, 0", EPERM),
        ("request_key", "249, 0, 0, 0, 0", EPERM),
        ("bpf", "321, 9999, 0, 0", EPERM),
        ("perf_event_open", "298, 0, 0, 0, 0, 0", EPERM),
        ("kexec_load", "246, 0, 0, 0, 0", EPERM),
        ("kexec_file_load", "320, -1, -1, 0, 0, 0", EPERM),
        ("init_module", "175, 0, 0, 0", EPERM),
        ("ptrace(TRACEME)", "101, 0, 0, 0, 0", EPERM),
        ("process_vm_readv", "310, $$, 0, 0, 0, 0, 0", EPERM),
        ("kcmp", "312, $$, $$, 0, 0, 0", EPERM),
        ("pidfd_getfd", "438, -1, 0, 0", EPERM),
        ("userfaultfd", "323, 0x80001", EPERM),
        ("io_uring_setup", "425, 0, 0", EPERM),
        ("name_to_handle_at", "303, -1, 0, 0, 0, 0", EPERM),
        ("open_by_handle_at", "304, -1, 0, 0", EPERM),
        ("personality(ADDR_NO_RANDOMIZE)", "135, 0x40000", EPERM),
        ("socket(VSOCK)", "41, 40, 1, 0", EPERM),
        ("socket(ALG)", "41, 38, 5, 0", EPERM),
        ("socket(PACKET)", "41, 17, 3, 0", EPERM),
        ("chroot", "161, 0", EPERM),
        ("reboot", "169, 0, 0, 0, 0", EPERM),
        ("sethostname", "170, 0, 0", EPERM),
        ("syslog", "103, 10, 0, 0", EPERM),
        // And what must work, or the list would be of no use.
        ("getpid", "39", 0),
        ("personality(LINUX)", "135, 0xffffffff", 0),
        ("socket(INET)", "41, 2, 1, 0", 0),
        ("socket(UNIX)", "41, 1, 1, 0", 0),
    ];
    let ask = |(name, call, _): &(&str, &str, i32)| {
        format!("$! = 0; $r = syscall({call}); print '{name}=', $r < 0 ? $!+0 : 0, qq(\\n);")
    };
    let script: String = calls.iter().map(ask).collect();
    for class in each_class(&node) {
        let mut launch = node.launch("");
        launch.task.runtime = Some(class.name.clone());
        launch.task.command = ["/usr/bin/perl", "-e", &script].map(str::to_owned).into();
        launch.task.mounts = vec![mason_core::spec::Mount {
            at: "/usr".to_owned(),
            read_only: true,
            source: mason_core::spec::MountSource::Host { path: "/usr".to_owned() },
        }];
        let (ended, text) = node.run_launch(&launch);
        for (name, _, errno) in calls {
            let line = format!("{name}={errno}\n");
            assert!(text.contains(&line), "{}: {line} not in {text} {ended:?}", class.name);
        }
    }
    node.finish();
}

/// A spec cannot name what is not here, and each refusal names the field.
#[test]
fn refusals_name_the_field() {
    let Some(node) = Node::new("isolation::refusals") else { return };
    let check = |field: &str, change: &dyn Fn(&mut mason_node::runtime::Launch)| {
        let mut launch = node.launch("true");
        change(&mut launch);
        let error = refused(node.runner().start(&launch));
        assert!(error.starts_with(&format!("{field}: ")), "{field}: {error}");
    };
    check("runtime", &|launch| launch.task.runtime = Some("kata".to_owned()));
    check("command", &|launch| launch.task.command.clear());
    check("workdir", &|launch| launch.task.workdir = Some("tmp".to_owned()));
    check("env.A=B", &|launch| launch.env = vec![("A=B".to_owned(), String::new())]);
    check("layers", &|launch| launch.layers.clear());
    check("layers[0]", &|launch| launch.layers = vec!["/a:b".into()]);
    check("outputs.x", &|launch| drop(launch.task.outputs.insert("x".into(), "y".into())));
    check("run", &|launch| launch.run = "../../etc".into());
    // Nothing was done for any of them.
    assert_eq!(node.runner().list().unwrap(), []);
    let launch = node.launch("echo fine");
    assert_eq!(node.run_launch(&launch).0.exit.reason, Reason::Exited);
    node.finish();
}
