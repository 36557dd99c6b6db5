//! A running API server, and what is asked of it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::free_port;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);
const TOKEN: &str = "wall";

/// An API server.
pub(super) struct Api {
    child: Child,
    url: String,
    folder: TempDir,
}

/// What a watch has seen: `ADDED`, `MODIFIED` or `DELETED`, and of which object.
type Event = (String, String);

/// A watch that is open.
pub(super) struct Watch {
    child: Child,
    events: Receiver<Event>,
}

impl Api {
    /// Starts it on an empty or used store, and waits until it is ready.
    pub(super) fn start(program: &Path, store: &str) -> Api {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let keys = Command::new("openssl").args(["genrsa", "-out", &file("key"), "2048"]).output();
        assert!(keys.expect("openssl runs").status.success());
        let line = format!("{TOKEN},admin,1,\"system:masters\"\n");
        std::fs::write(file("tokens"), line).expect("a file can be written");
        let port = free_port();
        let log = std::fs::File::create(file("log")).expect("a file can be made");
        let mut command = Command::new(program);
        command
            .args([format!("--etcd-servers={store}"), format!("--secure-port={port}")])
            .args(["--insecure-port=0", "--bind-address=127.0.0.1"])
            .args([format!("--cert-dir={}", file("certs"))])
            .args([format!("--service-account-key-file={}", file("key"))])
            .args([format!("--service-account-signing-key-file={}", file("key"))])
            .args(["--service-account-issuer=https://wall.example"])
            .args([format!("--token-auth-file={}", file("tokens"))])
            .args(["--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=AlwaysAllow"])
            .args(["--disable-admission-plugins=ServiceAccount"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("the API server starts");
        let api = Api { child, url: format!("https://127.0.0.1:{port}"), folder };
        api.wait_until_ready();
        api
    }

    /// Waits until it says that it is ready.
    pub(super) fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask("GET", "/readyz", None).0 != 200 {
            assert!(Instant::now() < deadline, "not ready; it says:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// An object with nothing in it but its name.
    pub(super) fn object(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
    }

    fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "-H", &format!("Authorization: Bearer {TOKEN}")]);
        curl.arg(format!("{}{path}", self.url)).stdin(Stdio::null());
        curl
    }

    /// The status and the document, if it is one.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut curl = self.curl(path);
        curl.args(["-X", method, "-w", "\n%{http_code}", "--max-time", "60"]);
        if let Some(body) = body {
            curl.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        let said = curl.output().expect("curl runs").stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        let (document, status) = said.rsplit_once('\n').expect("curl says the status");
        (status.parse().unwrap_or(0), serde_json::from_str(document).unwrap_or_default())
    }

    /// Makes an object.
    #[track_caller]
    pub(super) fn create(&self, place: &str, object: &Value) {
        let (status, said) = self.ask("POST", place, Some(object));
        assert_eq!(status, 201, "{place}: {said}");
    }

    /// What is at a path.
    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Value {
        let (status, said) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {said}");
        said
    }

    /// Puts `old`, with `says` for its data, in its own place; the status.
    pub(super) fn replace(&self, path: &str, old: &Value, says: &str) -> u16 {
        let mut new = old.clone();
        new["data"] = json!({ "says": says });
        self.ask("PUT", path, Some(&new)).0
    }

    /// Removes an object.
    #[track_caller]
    pub(super) fn delete(&self, path: &str) {
        let (status, said) = self.ask("DELETE", path, None);
        assert_eq!(status, 200, "{path}: {said}");
    }

    /// The version of a whole list.
    pub(super) fn version_of(&self, place: &str) -> String {
        text(&self.get(place)["metadata"]["resourceVersion"])
    }

    /// Each object with its version.
    pub(super) fn versions(&self, place: &str) -> BTreeSet<(String, String)> {
        let list = self.get(place);
        let items = list["items"].as_array().expect("a list has items").iter();
        let of = |item: &Value, field: &str| text(&item["metadata"][field]);
        // One is made in each namespace by the cluster itself.
        let items = items.map(|item| (of(item, "name"), of(item, "resourceVersion")));
        items.filter(|(name, _)| name != "kube-root-ca.crt").collect()
    }

    /// All names, asked for in pages, with something done after each; and how many pages.
    pub(super) fn names_in_pages(
        &self,
        place: &str,
        size: usize,
        between: impl Fn(usize),
    ) -> (BTreeSet<String>, usize) {
        let (mut names, mut pages, mut next) = (BTreeSet::new(), 0, String::new());
        loop {
            let page = self.get(&format!("{place}?limit={size}&continue={next}"));
            for item in page["items"].as_array().expect("a list has items") {
                assert!(names.insert(text(&item["metadata"]["name"])), "twice: {item}");
            }
            between(pages);
            pages += 1;
            match page["metadata"]["continue"].as_str().filter(|next| !next.is_empty()) {
                Some(more) => more.clone_into(&mut next),
                None => return (names, pages),
            }
        }
    }

    /// Opens a watch.
    pub(super) fn watch(&self, path: &str) -> Watch {
        let mut child =
            self.curl(path).arg("-N").stdout(Stdio::piped()).spawn().expect("curl runs");
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                let event = (text(&event["type"]), text(&event["object"]["metadata"]["name"]));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Watch { child, events }
    }
}

impl Watch {
    /// All events up to one.
    pub(super) fn until(&self, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut seen = Vec::new();
        loop {
            let event = self.events.recv_timeout(PATIENCE);
            seen.push(event.unwrap_or_else(|_| panic!("no more came after {seen:?}")));
            if seen.last().is_some_and(&is_last) {
                return seen;
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
