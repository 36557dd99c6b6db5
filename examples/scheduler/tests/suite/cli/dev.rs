//! `mason dev`, and what a first-time user does with it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{ends, mason};
use crate::support::skip;

/// A `dev` that runs, in a folder of its own.
struct Dev {
    home: TempDir,
    /// How its control groups end.
    group: String,
    child: Option<Child>,
    /// Kept open, so that what it says at its end can be said.
    _out: Option<BufReader<ChildStdout>>,
}

impl Dev {
    fn start() -> Dev {
        let home = TempDir::new().unwrap();
        let mut command = mason(home.path());
        command.args(["dev", "--listen", "127.0.0.1:0"]).env("TMPDIR", home.path());
        for name in ["busybox", "alpine:3.18", "nginx:1.14.2"] {
            command.args(["--stand-in", &format!("{name}=tiny")]);
        }
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let group = format!("-{}", child.id());
        let mut dev = Dev { home, group, child: Some(child), _out: None };
        let mut out = BufReader::new(dev.child.as_mut().unwrap().stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("try next") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "it ended before it answered");
        }
        dev._out = Some(out);
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
        assert!(status.success(), "{text}");
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
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            // A namespace lives by what is in it, or by a mount of it, in whatever namespace.
            let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
            found.extend(mounts.lines().filter(|line| line.contains(home)).map(str::to_owned));
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            found.extend(line.contains(home).then_some(line));
        }
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([root.to_owned()]) {
            for node in fs::read_dir(hierarchy.join("mason")).into_iter().flatten().flatten() {
                let name = node.file_name().to_string_lossy().into_owned();
                found.extend(name.ends_with(&self.group).then_some(name));
            }
        }
        // The folder of its beacon stays, and what tests put there.
        let names = fs::read_dir(self.home.path()).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        found.extend(names.filter(|name| name.starts_with("mason-dev")));
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
    let mut dev = Dev::start();
    let run = |words: &[&str]| dev.does(&[&["run", "--image", "busybox", "--"], words].concat());
    let (code, out, error) = run(&["echo", "hi"]);
    assert_eq!((code, &*out), (0, "hi\n"), "{error}");
    let (code, out, error) = run(&["sh", "-c", "exit 7"]);
    assert_eq!((code, &*out), (7, ""), "{error}");
    let (code, _, error) = dev.does(&["run", "--image", "tiny", "--cpu", "nonsense", "--", "echo"]);
    assert_eq!(code, 125, "{error}");
    assert!(error.contains("cpu"), "the field is named: {error}");
    let second = dev.does(&["dev", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.0, 1);
    assert!(second.2.contains("runs already"), "{}", second.2);
    // Something that would go on for ever.
    dev.says(&["run", "--name", "long", "--detach", "--image", "tiny", "--", "sleep", "1000"]);
    dev.says(&["wait", "long", "--for", "ready", "--timeout", "60s"]);
    assert!(dev.says(&["status", "long"]).contains("ready"));
    assert!(dev.says(&["explain", "long"]).contains("runs on dev-1"));
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
    let mut dev = Dev::start();
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

/// Whoever names a thing by its kind means no other, and what waits for a container can use it.
#[test]
fn words_mean_what_they_say() {
    if !can_run("words_mean_what_they_say") {
        return;
    }
    let mut dev = Dev::start();
    let (code, out, _) = dev.does(&["run", "--image", "tiny", "--", "echo", "$$", "$$(MASON_JOB)"]);
    assert_eq!((code, &*out), (0, "$$ $(MASON_JOB)\n"), "a shell's own number stays");
    dev.says(&["run", "--name", "nap", "--detach", "--image", "tiny", "--", "sleep", "1000"]);
    dev.says(&["wait", "nap", "--for", "running", "--timeout", "60s"]);
    let (code, _, error) = dev.does(&["exec", "nap", "--", "echo", "in"]);
    assert_eq!(code, 0, "it runs: {error}");
    let (code, _, error) = dev.does(&["delete", "service/nap"]);
    assert_eq!((code, &*error), (3, "mason: there is no service nap: nap is a job\n"));
    assert!(dev.says(&["status", "job/nap"]).contains("nap  Active"));
    let (code, _, error) = dev.does(&["rollout", "history", "nap"]);
    assert!(code == 1 && error.contains("nap is a job"), "{error}");
    assert_eq!(dev.does(&["wait", "none", "--for", "ready"]).0, 3);
    assert_eq!(dev.does(&["wait", "job/none", "--for", "deleted"]).0, 0);
    assert_eq!(dev.says(&["secret", "create", "a", "--from-literal", "K=V"]), "secret/a sealed\n");
    for (value, said) in [("K=1", "created"), ("K=2", "changed"), ("K=2", "unchanged")] {
        let words = ["config", "create", "a", "--from-literal", value];
        assert_eq!(dev.says(&words), format!("config/a {said}\n"));
    }
    dev.says(&["stop", "nap"]);
    dev.says(&["wait", "nap", "--for", "finished", "--timeout", "60s"]);
    assert_eq!(dev.end(), 0);
    assert_eq!(dev.traces(), Vec::<String>::new());
}

/// A graph of jobs is read by the names that its author gave, and a failure by its reason.
#[test]
fn trees_have_names_and_reasons() {
    if !can_run("trees_have_names_and_reasons") {
        return;
    }
    let mut dev = Dev::start();
    dev.apply(
        "
kind: Workflow
name: flow
entrypoint: main
templates:
- name: main
  dag:
  - {name: first, template: t}
  - {name: second, template: t, depends: [first]}
  - {name: never, template: t, depends: [first], when: '1 == 2'}
- {name: t, image: tiny, command: [echo, there]}
---
{kind: Job, name: slow, image: tiny, command: [sleep, '1000'], timeout: 1s}
---
kind: Job
name: again
image: tiny
command: ['false']
retry: {attempts: 2, backoff: {initial: 1h, jitter: 0}}
",
    );
    dev.says(&["wait", "flow", "--for", "succeeded", "--timeout", "60s"]);
    let tree = dev.says(&["status", "flow"]);
    let names: Vec<_> = tree.lines().skip(1).map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(names, ["first", "second", "never"], "{tree}");
    assert!(tree.contains("Skipped"), "{tree}");
    assert_eq!(dev.says(&["logs", "flow"]), "main.first/0 | there\nmain.second/0 | there\n");
    dev.says(&["wait", "slow", "--for", "failed", "--timeout", "60s"]);
    let tree = dev.says(&["status", "slow"]);
    assert!(tree.contains("timeout"), "{tree}");
    let mut events = dev.says(&["events", "again"]);
    while !events.contains("attempt 2 is due") {
        events = dev.says(&["events", "again"]);
    }
    let tree = dev.says(&["status", "again"]);
    assert!(tree.contains("is tried again in 5") && tree.contains("before: exit 1"), "{tree}");
    assert_eq!(dev.end(), 0);
    assert_eq!(dev.traces(), Vec::<String>::new());
}
