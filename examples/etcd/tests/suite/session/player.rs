//! Plays a script against one server and notes what the real `etcdctl` says.
//!
//! Every wait has a deadline, and nothing waits for time to pass: a background command is read
//! until it printed what the script waits for.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::script::{Step, expand, words};
use crate::proxy::running::Proxy;
use crate::support::mask::Mask;
use crate::support::server::Server;

/// How long a command may take. Most take 20 ms; a lease that must end first takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and what the script has said so far.
pub(crate) struct Player {
    etcdctl: PathBuf,
    server: Server,
    mask: Mask,
    /// Ids that the server chose, by the name the script gave them.
    kept: BTreeMap<String, String>,
    background: BTreeMap<String, Running>,
    /// What stands in front of the server, if anything does.
    proxy: Option<Proxy>,
}

/// What one command said and how it ended.
#[derive(Debug, Default)]
struct Said {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Player {
    /// A player of scripts on `server`.
    pub(crate) fn new(etcdctl: PathBuf, server: Server) -> Player {
        let mask = Mask::new(&server);
        let (kept, background) = (BTreeMap::new(), BTreeMap::new());
        Player { etcdctl, server, mask, kept, background, proxy: None }
    }

    /// Asks through `proxy`, whose address counts as the server's.
    pub(crate) fn through(mut self, proxy: Proxy) -> Player {
        self.mask.hide_address(&proxy.address());
        self.proxy = Some(proxy);
        self
    }

    /// What the proxy has said.
    pub(crate) fn log_of_proxy(&self) -> String {
        self.proxy.as_ref().map(Proxy::log).unwrap_or_default()
    }

    fn address(&self) -> String {
        self.proxy.as_ref().map_or_else(|| self.server.client_address(), Proxy::address)
    }

    /// The last lines of the log of the server.
    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    /// Runs one step and returns its answer as it would stand in the file.
    pub(crate) fn play(&mut self, step: &Step) -> Vec<String> {
        let (name, command) = match step.command.split_once(" = ") {
            Some((name, command)) if name.starts_with('$') => (Some(name), command),
            _ => (None, step.command.as_str()),
        };
        let mut words: Vec<String> = words(command).iter().map(|word| expand(word)).collect();
        for word in &mut words {
            *word = word.replace("$URL", &format!("http://{}", self.address()));
            // Backwards, so that a name is tried before one that it starts with.
            for (name, value) in self.kept.iter().rev() {
                *word = word.replace(name, value);
            }
        }
        let said = self.perform(&words, &step.input);
        if let Some(name) = name {
            self.keep(name, &said);
        }
        self.show(&said)
    }

    fn perform(&mut self, words: &[String], input: &[String]) -> Said {
        let refs: Vec<&str> = words.iter().map(String::as_str).collect();
        match refs.as_slice() {
            ["restart"] => {
                self.server.restart();
                Said::line("restarted")
            }
            ["crash"] => {
                self.server.crash();
                Said::line("crashed")
            }
            ["gone", key] => self.gone(key),
            ["until", name, text] => {
                let running = self.background.remove(*name).expect("it runs in the background");
                running.until(text)
            }
            ["wait", name] => {
                let running = self.background.remove(*name).expect("it runs in the background");
                running.wait()
            }
            [command @ .., last] if last.starts_with('&') => {
                let running = self.spawn(command, input);
                self.background.insert(last[1..].to_owned(), running);
                Said::line("running")
            }
            _ => self.spawn(&refs, input).wait(),
        }
    }

    fn gone(&self, key: &str) -> Said {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let said = self.spawn(&["get", key, "--keys-only"], &[]).wait();
            if said.stdout.is_empty() && said.code == Some(0) {
                return Said::line("gone");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Said::line("still there")
    }

    fn spawn(&self, arguments: &[&str], input: &[String]) -> Running {
        let mut command = Command::new(&self.etcdctl);
        command.env_clear().env("ETCDCTL_API", "3").env("PATH", "/usr/bin:/bin");
        // The limits of the client are for people; a busy machine needs more.
        command.args(["--command-timeout=40s", "--dial-timeout=20s"]);
        if !arguments.iter().any(|argument| argument.starts_with("--endpoints")) {
            command.arg(format!("--endpoints={}", self.address()));
        }
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("etcdctl starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let text: String = input.iter().map(|line| format!("{line}\n")).collect();
        // On its own thread: a client that fails early does not read what it is sent.
        std::thread::spawn(move || {
            // A broken pipe means just that, and its answer tells why.
            let _ = stdin.write_all(text.as_bytes());
        });
        Running::new(child)
    }

    /// Keeps the lease id that was answered, and hides it from now on.
    fn keep(&mut self, name: &str, said: &Said) {
        let text = said.stdout.as_str();
        let simple = text.strip_prefix("lease ").and_then(|rest| rest.split(' ').next());
        let simple = simple.and_then(|id| u64::from_str_radix(id, 16).ok());
        let json = || {
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            value.get("ID")?.as_u64()
        };
        // Without an id the answer shows what went wrong, and the steps that use it differ.
        if let Some(id) = simple.or_else(json) {
            self.mask.hide_id(id, &format!("<{name}>"));
            self.kept.insert(name.to_owned(), format!("{id:x}"));
        }
    }

    fn show(&self, said: &Said) -> Vec<String> {
        let mut shown = Vec::new();
        let dot = |line: &str| if line.is_empty() { ".".to_owned() } else { line.to_owned() };
        for line in said.stdout.lines() {
            if line.is_empty() {
                shown.push(dot(line));
            }
            shown.extend(self.mask.line(line).lines().map(dot));
        }
        // A lease is renewed as often as time allows.
        shown.dedup_by(|a, b| a == b && a.contains(" keepalived with "));
        let mut shown = without_repeats(&shown);
        for line in said.stderr.lines() {
            shown.extend(self.mask.line(line).lines().map(|line| format!("! {line}")));
        }
        match said.code {
            Some(0) => {}
            Some(code) => shown.push(format!("exit {code}")),
            None => shown.push("stopped".to_owned()),
        }
        shown
    }
}

/// A pair of lines that comes many times in a row is shown once, with its count.
fn without_repeats(lines: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let pair = rest.get(..2).unwrap_or(rest);
        let count = rest.chunks(2).take_while(|chunk| *chunk == pair).count();
        if count > 8 {
            shown.extend_from_slice(pair);
            shown.push(format!("(these two lines {count} times)"));
            rest = &rest[count * 2..];
        } else {
            shown.push(first.clone());
            rest = &rest[1..];
        }
    }
    shown
}

impl Said {
    fn line(text: &str) -> Said {
        Said { stdout: format!("{text}\n"), stderr: String::new(), code: Some(0) }
    }
}

/// A command that runs, its output read line by line as it comes.
struct Running {
    child: Child,
    lines: Receiver<(Stream, String)>,
    said: Said,
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

impl Running {
    fn new(mut child: Child) -> Running {
        let (sender, lines) = channel();
        let out = child.stdout.take().expect("stdout is piped");
        let err = child.stderr.take().expect("stderr is piped");
        let errors = sender.clone();
        std::thread::spawn(move || read(out, |line| sender.send((Stream::Out, line)).is_ok()));
        std::thread::spawn(move || read(err, |line| errors.send((Stream::Err, line)).is_ok()));
        Running { child, lines, said: Said::default() }
    }

    /// Takes lines until one satisfies `last`, both outputs end, or patience does.
    fn take(&mut self, last: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((Stream::Out, line)) => {
                    self.said.stdout += &line;
                    if last(&line) {
                        return;
                    }
                }
                Ok((Stream::Err, line)) => self.said.stderr += &line,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    self.said.stdout += "(out of patience)\n";
                    return;
                }
            }
        }
    }

    fn until(mut self, text: &str) -> Said {
        self.take(|line| line.contains(text));
        // It may have ended by itself already; then the answer shows what it said.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.said
    }

    fn wait(mut self) -> Said {
        self.take(|_| false);
        if self.said.stdout.ends_with("(out of patience)\n") {
            let _ = self.child.kill();
        }
        let status: Option<ExitStatus> = self.child.wait().ok();
        self.said.code = status.and_then(|status| status.code());
        self.said
    }
}

fn read(stream: impl Read, mut each: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        if !each(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
        line.clear();
    }
}
