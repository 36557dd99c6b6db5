//! `mason dev`, and what a first-time user does with it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{ends, mason};
use crate::support::skip;

/// A `dev` that runs, in a folder of its own.
struct Dev {
    home: TempDir,
    node: String,
    child: Option<Child>,
}

impl Dev {
    fn start(node: &str) -> Dev {
        let home = TempDir::new().unwrap();
        let node = format!("{node}-{}-", std::process::id());
        let child = mason(home.path())
            .args(["dev", "--listen", "127.0.0.1:0", "--data-dir", "d", "--node", &node])
            .args(["--builtin-as", "busybox", "--builtin-as", "alpine:3.18"])
            .args(["--builtin-as", "nginx:1.14.2"])
            .stdout(Stdio::piped())
            .spawn();
        let mut dev = Dev { home, node, child: Some(child.unwrap()) };
        let out = dev.child.as_mut().unwrap().stdout.take().unwrap();
        let greeted = BufReader::new(out).lines().any(|line| line.unwrap().starts_with("Ctrl-C"));
        assert!(greeted, "it ended before it answered");
        dev
    }

    fn does(&self, words: &[&str]) -> (i32, String, String) {
        ends(self.home.path(), words)
    }

    fn says(&self, words: &[&str]) -> String {
        let (code, out, error) = self.does(words);
        assert_eq!(code, 0, "{words:?}: {error}");
        out
    }

    fn apply(&self, text: &str) -> String {
        let mut command = mason(self.home.path());
        command.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let Output { status, stdout, .. } = child.wait_with_output().unwrap();
        assert!(status.success());
        String::from_utf8(stdout).unwrap()
    }

    /// Ends it as a user does.
    fn end(&mut self) -> i32 {
        let Some(mut child) = self.child.take() else { return 0 };
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Whatever of it is still on this machine.
    fn traces(&self) -> Vec<String> {
        let mut found = Vec::new();
        let home = self.home.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        found.extend(mounts.lines().filter(|line| line.contains(home)).map(str::to_owned));
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            found.extend(line.contains(home).then_some(line));
        }
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([root.to_owned()]) {
            for node in fs::read_dir(hierarchy.join("mason")).into_iter().flatten().flatten() {
                let name = node.file_name().to_string_lossy().into_owned();
                found.extend(name.starts_with(&self.node).then_some(name));
            }
        }
        found.extend(self.home.path().join("d").exists().then(|| "its folder".to_owned()));
        found.extend(self.home.path().join("mason/dev.json").exists().then(|| "beacon".to_owned()));
        found
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether containers can be started here.
fn can_run(test: &str) -> bool {
    let reason = match rustix::process::geteuid().is_root() {
        false => "it needs root".to_owned(),
        true => match mason::node::runtimes() {
            Ok(_) => return true,
            Err(reason) => reason,
        },
    };
    skip(test, &reason);
    false
}

/// The first five minutes: what is printed, how it ends, and that nothing is left of it.
#[test]
fn a_first_user_sees_containers_run_and_nothing_is_left() {
    if !can_run("a_first_user_sees_containers_run_and_nothing_is_left") {
        return;
    }
    let mut dev = Dev::start("first");
    let run = |words: &[&str]| dev.does(&[&["run", "--image", "busybox", "--"], words].concat());
    let (code, out, error) = run(&["echo", "hi"]);
    assert_eq!((code, &*out), (0, "hi\n"), "{error}");
    assert!(error.contains("mason's own small image"), "{error}");
    let (code, out, error) = run(&["sh", "-c", "exit 7"]);
    assert_eq!((code, &*out), (7, ""), "{error}");
    let (code, _, error) = dev.does(&["run", "--image", "tiny", "--cpu", "nonsense", "--", "echo"]);
    assert_eq!(code, 125, "{error}");
    assert!(error.contains("cpu"), "the field is named: {error}");
    let second = dev.does(&["dev", "--listen", "127.0.0.1:0", "--data-dir", "e"]);
    assert_eq!(second.0, 1);
    assert!(second.2.contains("runs already"), "{}", second.2);
    // Something that would go on for ever.
    dev.says(&["run", "--name", "long", "--detach", "--image", "tiny", "--", "sleep", "1000"]);
    dev.says(&["wait", "long", "--for", "ready", "--timeout", "60s"]);
    assert!(dev.says(&["status", "long"]).contains("running"));
    assert!(dev.says(&["explain", "long"]).contains(&dev.node));
    assert_eq!(dev.does(&["exec", "long", "--", "sh", "-c", "exit 9"]).0, 9);
    assert_eq!(dev.does(&["get", "jobs", "none"]).0, 3);
    assert_eq!(dev.end(), 0);
    assert_eq!(dev.traces(), Vec::<String>::new());
}

/// People bring the manifests that they have.
#[test]
fn manifests_of_argo_and_kubernetes_run_as_they_are() {
    if !can_run("manifests_of_argo_and_kubernetes_run_as_they_are") {
        return;
    }
    let mut dev = Dev::start("bring");
    let workflow = "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: greet-, namespace: flows}
spec:
  entrypoint: greet
  templates:
  - name: greet
    container: {image: 'alpine:3.18', command: [echo], args: ['Good morning']}
";
    let said = dev.apply(workflow);
    assert!(said.starts_with("workflow/greet-") && said.contains("created"), "{said}");
    dev.says(&["wait", "-n", "flows", "@latest", "--for", "succeeded", "--timeout", "60s"]);
    assert_eq!(dev.says(&["logs", "-n", "flows", "@latest"]), "Good morning\n");
    let service = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1.14.2', command: [sleep, '1000'], ports: [{containerPort: 80}]}
";
    assert_eq!(dev.apply(service), "service/web created\n");
    dev.says(&["wait", "web", "--for", "ready", "--timeout", "60s"]);
    let plan = dev.home.path().join("web.yaml");
    fs::write(&plan, service.replace("replicas: 2", "replicas: 1")).unwrap();
    let (code, out, error) = dev.does(&["plan", "-f", "web.yaml"]);
    assert_eq!(code, 1, "{out}{error}");
    assert!(out.contains("replicas"), "{out}");
    dev.says(&["scale", "web", "1"]);
    dev.says(&["delete", "web"]);
    dev.says(&["wait", "web", "--for", "deleted", "--timeout", "60s"]);
    assert_eq!(dev.end(), 0);
    assert_eq!(dev.traces(), Vec::<String>::new());
}
