//! A machine to run containers on: a folder, an image of busybox, and a check that nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mason_core::spec::{Concurrency, Task};
use mason_core::types::RunId;
use mason_node::log::Event;
use mason_node::runtime::{Class, Config, Ended, Error, Image, Launch, Runner, Running};
use mason_shim::request::Exec;

/// How long anything may take before the test has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A node of its own for each test.
pub(crate) struct Node {
    pub(crate) runner: Option<Runner>,
    pub(crate) config: Config,
    pub(crate) folder: tempfile::TempDir,
    runs: AtomicU32,
}

/// What the tests need: busybox and a runtime; or why there is none.
fn programs() -> Result<(PathBuf, PathBuf), String> {
    static FOUND: OnceLock<Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    let look = || {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may make containers".to_owned());
        }
        if locate("busybox").is_none() || locate("runc").is_none() {
            install(&["busybox-static", "runc"])?;
        }
        let find = |name| locate(name).ok_or_else(|| format!("no {name} installed"));
        Ok((find("busybox")?, find("runc")?))
    };
    FOUND.get_or_init(look).clone()
}

pub(crate) fn locate(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(usual);
    folders.map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    for arguments in [&["update"][..], &[&["install", "-y"], packages].concat()] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        apt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match apt.status() {
            Ok(status) if status.success() => {}
            other => return Err(format!("apt-get {arguments:?}: {other:?}")),
        }
    }
    Ok(())
}

/// Says that a test was left out; in CI that is a failure.
pub(crate) fn skip(test: &str, reason: &str) {
    // Past the capture of the harness; nothing better can be done about a broken one.
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} was left out: {reason}");
}

impl Node {
    /// A node, or none if this machine cannot run containers.
    pub(crate) fn new(test: &str) -> Option<Node> {
        Node::with(test, |_| {})
    }

    /// One whose configuration was changed.
    pub(crate) fn with(test: &str, change: impl FnOnce(&mut Config)) -> Option<Node> {
        let (busybox, runc) = match programs() {
            Ok(found) => found,
            Err(reason) => {
                skip(test, &reason);
                return None;
            }
        };
        static NODES: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new().prefix("mason").tempdir().unwrap();
        make_image(&folder.path().join("image"), &busybox);
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}-{number}", std::process::id());
        let mut config = Config::new(folder.path().join("d"), &name);
        config.classes = vec![Class::runc(runc)];
        config.classes.extend(locate("crun").map(Class::crun));
        change(&mut config);
        let runner = Runner::open(config.clone()).unwrap();
        let (runner, runs) = (Some(runner), AtomicU32::new(0));
        Some(Node { runner, config, folder, runs })
    }

    pub(crate) fn runner(&self) -> &Runner {
        self.runner.as_ref().expect("the agent lives")
    }

    /// What an agent's death leaves: nobody.
    pub(crate) fn agent_dies(&mut self) {
        self.runner = None;
    }

    pub(crate) fn agent_starts(&mut self) {
        self.runner = Some(Runner::open(self.config.clone()).unwrap());
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn data(&self) -> &Path {
        &self.config.data_dir
    }

    /// A run of a shell script.
    pub(crate) fn launch(&self, script: &str) -> Launch {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut task = Task::new("busybox", &[]);
        task.command = ["sh", "-c", script].map(str::to_owned).into();
        Launch {
            run: RunId::new(7, number.into()),
            task,
            image: Image::default(),
            layers: vec![self.image()],
            env: Vec::new(),
            hostname: "task-0".to_owned(),
            files: BTreeMap::new(),
            concurrency: Concurrency::Available,
            rewrites: Vec::new(),
        }
    }

    pub(crate) fn start(&self, launch: &Launch) -> Running {
        self.runner().start(launch).unwrap()
    }

    pub(crate) fn wait(&self, run: &RunId) -> Ended {
        let ended = self.runner().wait(run, LONG).unwrap();
        ended.unwrap_or_else(|| panic!("{run} still runs; it printed: {}", self.text(run)))
    }

    /// Runs a script to its end: how it ended, and what it printed.
    pub(crate) fn run(&self, script: &str) -> (Ended, String) {
        self.run_launch(&self.launch(script))
    }

    pub(crate) fn run_launch(&self, launch: &Launch) -> (Ended, String) {
        self.start(launch);
        (self.wait(&launch.run), self.text(&launch.run))
    }

    /// What a run has printed so far, and what was noted in its log.
    pub(crate) fn text(&self, run: &RunId) -> String {
        let mut cursor = self.runner().logs(run).oldest().unwrap();
        let mut text = Vec::new();
        while let Some(event) = cursor.read().unwrap() {
            match event {
                Event::Output { bytes, .. } => text.extend(bytes),
                Event::End => break,
                other => panic!("{other:?}"),
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until a run has printed this.
    pub(crate) fn wait_for_text(&self, run: &RunId, wanted: &str) {
        let mut cursor = self.runner().logs(run).from(0);
        let mut text = String::new();
        while !text.contains(wanted) {
            match cursor.follow(LONG).unwrap() {
                Some(Event::Output { bytes, .. }) => text += &String::from_utf8_lossy(&bytes),
                other => panic!("`{wanted}` did not come, but {other:?} after `{text}`"),
            }
        }
    }

    /// Runs something in a container: its code, and what it printed on both streams.
    pub(crate) fn exec(&self, run: &RunId, words: &[&str]) -> Result<(i32, String), Error> {
        let command = words.iter().map(|&word| word.to_owned()).collect();
        let exec = Exec { command, ..Exec::default() };
        let mut process = self.runner().exec(run, &exec)?;
        process.stdin = None;
        let mut out = String::new();
        std::io::Read::read_to_string(&mut process.stdout, &mut out).unwrap();
        std::io::Read::read_to_string(&mut process.stderr, &mut out).unwrap();
        Ok((process.wait()?, out))
    }

    /// Forgets all runs, and checks that nothing is left of any.
    pub(crate) fn finish(mut self) {
        for (run, _) in self.runner().list().unwrap() {
            self.runner().reap(&run).unwrap();
        }
        assert_eq!(self.runner().sweep(&[].into()).unwrap(), []);
        self.runner.take().expect("the agent lives").close();
        let left = self.leftovers();
        assert!(left.is_empty(), "left: {left:#?}");
    }

    /// Everything on the machine that belongs to this node.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let place = self.folder.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut left: Vec<String> =
            mounts.lines().filter(|line| line.contains(place)).map(str::to_owned).collect();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let path = entry.path();
            let read = |name| fs::read(path.join(name)).unwrap_or_default();
            // What is dead is its parent's to reap: the machine's first process, when a keeper was
            // killed.
            if String::from_utf8_lossy(&read("stat")).contains(") Z 1 ") {
                continue;
            }
            let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let groups = String::from_utf8_lossy(&read("cgroup")).into_owned();
            if words.contains(place) || groups.contains(&format!("/{}/", self.config.node)) {
                left.push(format!("process {}: {words}", path.display()));
            }
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = hierarchy.path().join("mason").join(&self.config.node);
            left.extend(group.exists().then(|| group.display().to_string()));
        }
        for name in ["runs", "s", "net"] {
            let entries = fs::read_dir(self.data().join(name)).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        left
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind either.
        if std::thread::panicking()
            && let Ok(runner) =
                self.runner.take().map_or_else(|| Runner::open(self.config.clone()), Ok)
        {
            let _ = runner.sweep(&[].into());
            runner.close();
        }
    }
}

fn make_image(image: &Path, busybox: &Path) {
    for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
        fs::create_dir_all(image.join(name)).unwrap();
    }
    let program = image.join("bin/busybox");
    // A copy cannot be run while a child of another test, just forked, still has it open for
    // writing.
    if fs::hard_link(busybox, &program).is_err() {
        fs::copy(busybox, &program).unwrap();
    }
    let installed = Command::new(busybox).args(["--install", "-s"]).arg(image.join("bin")).status();
    assert!(installed.unwrap().success());
    for entry in fs::read_dir(image.join("bin")).unwrap().flatten() {
        // They point to where the program lies on this machine.
        if entry.path() != program {
            fs::remove_file(entry.path()).unwrap();
            std::os::unix::fs::symlink("busybox", entry.path()).unwrap();
        }
    }
    // Where the node's programs look for their libraries, once its /usr is mounted.
    for (at, to) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        std::os::unix::fs::symlink(to, image.join(at)).unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:82:web:/tmp:/bin/sh\n";
    fs::write(image.join("etc/passwd"), passwd).unwrap();
    fs::write(image.join("etc/group"), "root:x:0:\nwww:x:82:\n").unwrap();
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "{what}: not in {LONG:?}");
        std::thread::yield_now();
    }
}
