//! What a container sees besides its image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use mason_core::record::Reason;
use mason_core::spec::{Mount, MountSource};
use mason_node::runtime::{Error, VolumeFile};

use super::support::Node;

fn mount(at: &str, source: MountSource) -> Mount {
    Mount { at: at.to_owned(), read_only: false, source }
}

fn host(at: &str, path: &Path) -> Mount {
    mount(at, MountSource::Host { path: path.to_str().unwrap().to_owned() })
}

fn secret(name: &str) -> MountSource {
    MountSource::Secret { name: name.to_owned(), items: Default::default(), optional: false }
}

/// A canary that must not be found on the node's disk.
const CANARY: &str = "canary-5d41402abc4b";

fn find(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            find(&entry.path(), found);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains(CANARY) {
                found.push(entry.path().display().to_string());
            }
        }
    }
}

/// Secrets are files that the task alone can read, and neither they nor variables touch the disk.
#[test]
fn secrets_are_the_tasks_alone_and_never_on_disk() {
    let Some(node) = Node::new("volumes::secrets") else { return };
    for class in node.config.classes.clone() {
        let mut launch = node.launch(
            "cat /keys/deep/token; echo; stat -c '%a %u %g' /keys/deep/token; \
             touch /keys/x 2>/dev/null || echo read-only; test -n \"$TOKEN\" && echo env; \
             echo up; sleep 1000",
        );
        launch.task.runtime = Some(class.name.clone());
        launch.task.security.user = Some(101);
        launch.task.mounts = vec![mount("/keys", secret("s"))];
        let file = VolumeFile { path: "deep/token".to_owned(), bytes: CANARY.into() };
        launch.files.insert(0, vec![file]);
        launch.env = vec![("TOKEN".to_owned(), CANARY.to_owned())];
        node.start(&launch);
        node.wait_for_text(&launch.run, "up");
        let expected = format!("{CANARY}\n400 101 82\nread-only\nenv\nup\n");
        assert_eq!(node.text(&launch.run), expected, "{}", class.name);
        let mut found = Vec::new();
        find(node.data(), &mut found);
        found.retain(|path| !path.contains("/log/"));
        assert_eq!(found, [""; 0], "{}", class.name);
        node.runner().kill(&launch.run, Reason::Stopped).unwrap();
        node.wait(&launch.run);
    }
    node.finish();
}

/// Folders of its own are there for any user, in memory with a limit, nested as the spec says.
#[test]
fn empty_folders_are_its_own() {
    let Some(node) = Node::new("volumes::empty") else { return };
    let mut launch = node.launch(
        "echo disk > /scratch/a; echo memory > /scratch/cache/b; cat /scratch/a /scratch/cache/b; \
         dd if=/dev/zero of=/scratch/cache/c bs=1M count=3 2>/dev/null || echo full; \
         mount | grep ' on /scratch/cache ' | grep -c tmpfs",
    );
    launch.task.security.user = Some(101);
    // The inner one first: what it is mounted into must come before it all the same.
    launch.task.mounts = vec![
        mount("/scratch/cache", MountSource::Empty { bytes: 1 << 20, memory: true }),
        mount("/scratch", MountSource::Empty { bytes: 0, memory: false }),
    ];
    launch.task.outputs.insert("a".to_owned(), "/scratch/a".to_owned());
    let running = node.start(&launch);
    assert_eq!(running.notes, [""; 0]);
    let ended = node.wait(&launch.run);
    let used = node.runner().disk_use(&launch.run);
    assert!((4096..1 << 20).contains(&used.empty[&1]), "the one in memory takes none: {used:?}");
    assert!(used.total > used.empty[&1], "{used:?}");
    assert_eq!(node.text(&launch.run), "disk\nmemory\nfull\n1\n");
    assert_eq!(ended.exit.outputs["a"], "disk\n");
    node.finish();
}

/// Folders of the node are seen below an allowed one only, and nothing leads out of it.
#[test]
fn host_folders_are_below_what_is_allowed() {
    let shared = tempfile::tempdir().unwrap();
    let root = shared.path().canonicalize().unwrap();
    for folder in ["allowed/data", "other"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("allowed/data/file"), "data\n").unwrap();
    fs::write(root.join("other/file"), "other\n").unwrap();
    symlink(root.join("other"), root.join("allowed/absolute")).unwrap();
    symlink("../other", root.join("allowed/out")).unwrap();
    symlink("data", root.join("allowed/inside")).unwrap();
    let Some(node) = Node::with("volumes::host", |config| {
        config.host_paths = vec![root.join("allowed")];
    }) else {
        return;
    };
    let launch = |path: &Path| {
        let mut launch = node.launch("cat /data/file; touch /data/new");
        launch.task.mounts = vec![host("/data", path)];
        launch
    };
    for path in ["allowed/data", "allowed/inside"] {
        assert_eq!(node.run_launch(&launch(&root.join(path))).1, "data\n");
    }
    assert!(root.join("allowed/data/new").exists());
    for path in ["allowed/absolute", "allowed/out"] {
        let error = node.runner().start(&launch(&root.join(path))).unwrap_err();
        assert!(matches!(&error, Error::Start(why) if why.contains("hostPath")), "{error}");
    }
    for path in ["other", "allowed/../other", "allowed2", ""] {
        let error = node.runner().start(&launch(&root.join(path))).unwrap_err();
        assert!(error.to_string().starts_with("mounts[0].host.path: "), "{path}: {error}");
    }
    let mut inside = launch(&root.join("allowed/data"));
    inside.task.mounts.push(mount("/data/deep", MountSource::Empty { bytes: 0, memory: true }));
    let error = node.runner().start(&inside).unwrap_err().to_string();
    assert!(error.starts_with("mounts[1].at: it is inside the node's folder"), "{error}");
    for at in ["/", "/proc/x", "/sys", "/dev/shm", "/.mason", "data", "/a/../b"] {
        let mut bad = launch(&root.join("allowed/data"));
        bad.task.mounts[0].at = at.to_owned();
        let error = node.runner().start(&bad).unwrap_err().to_string();
        assert!(error.starts_with("mounts[0].at: "), "{at}: {error}");
    }
    node.finish();
}

/// Whoever can write in an allowed folder can put a link in the place of what was looked at. They
/// must never be shown what it points to.
#[test]
fn a_link_swapped_in_is_never_followed() {
    let shared = tempfile::tempdir().unwrap();
    let root = shared.path().canonicalize().unwrap();
    for (folder, text) in [("allowed/real", "real\n"), ("secret/real", "SECRET\n")] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("file"), text).unwrap();
    }
    // `allowed/way` is by turns a folder with `real` in it and a link out.
    fs::create_dir(root.join("allowed/way")).unwrap();
    fs::rename(root.join("allowed/real"), root.join("allowed/way/real")).unwrap();
    symlink(root.join("secret"), root.join("allowed/link")).unwrap();
    let Some(node) = Node::with("volumes::swap", |config| {
        config.host_paths = vec![root.join("allowed")];
    }) else {
        return;
    };
    let over = AtomicBool::new(false);
    let mut seen = [0, 0];
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let [way, link] = ["allowed/way", "allowed/link"].map(|path| root.join(path));
            while !over.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let here = rustix::fs::CWD;
                rustix::fs::renameat_with(here, &way, here, &link, exchange).unwrap();
            }
        });
        for _ in 0..20 {
            let mut launch = node.launch("cat /data/file");
            launch.task.mounts = vec![host("/data", &root.join("allowed/way/real"))];
            match node.runner().start(&launch) {
                Ok(_) => {
                    node.wait(&launch.run);
                    assert_eq!(node.text(&launch.run), "real\n");
                    seen[0] += 1;
                }
                Err(Error::Start(why)) => {
                    assert!(why.contains("hostPath"), "{why}");
                    seen[1] += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        over.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
    });
    println!("mounted {} times, refused {} times", seen[0], seen[1]);
    node.finish();
}

/// A name that is misspelt would be allowed to nobody, and nobody would know.
#[test]
fn a_capability_that_does_not_exist_cannot_be_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = mason_node::runtime::Config::new(folder.path().join("d"), "n");
    config.capabilities = vec!["CAP_KILL".to_owned(), "NET_ROW".to_owned()];
    let error = mason_node::runtime::Runner::open(config).unwrap_err().to_string();
    assert!(error.starts_with("capabilities[1]: Linux has no capability `NET_ROW`"), "{error}");
}

/// An agent that allows its own folder would hand out every secret on the node.
#[test]
fn the_agents_own_folder_cannot_be_allowed() {
    for path in ["/", "/tmp"] {
        let folder = tempfile::Builder::new().prefix("mason").tempdir_in("/tmp").unwrap();
        let mut config = mason_node::runtime::Config::new(folder.path().join("d"), "n");
        config.host_paths = vec![path.into()];
        let error = mason_node::runtime::Runner::open(config).unwrap_err().to_string();
        assert!(error.starts_with("host_paths[0]: it would show"), "{error}");
    }
}
