//! Processes, and what each of them has said.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything takes that comes to an end, on a machine with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(80);

/// Something that a process has said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) who: usize,
    pub(crate) what: Value,
}

impl Said {
    /// The event, and the member that it is about.
    pub(crate) fn event(&self) -> (&str, &str) {
        (field(&self.what, "event"), field(&self.what, "name"))
    }
}

pub(crate) fn field<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

struct Process {
    child: Child,
    /// Where it listens.
    local: SocketAddr,
}

/// Processes by number. None of them outlives this: it is killed here, and ends by itself when the
/// test is killed and its standard input closes.
pub(crate) struct Cluster {
    processes: BTreeMap<usize, Process>,
    sender: Sender<Said>,
    receiver: Receiver<Said>,
    /// Everything that was said, in the order in which it came.
    pub(crate) history: Vec<Said>,
    /// Which of the loopback's networks is ours: two clusters of one test must not meet.
    net: u8,
}

pub(crate) fn name(number: usize) -> String {
    format!("m{number}")
}

impl Cluster {
    pub(crate) fn new(net: u8) -> Cluster {
        let (sender, receiver) = channel();
        Cluster { processes: BTreeMap::new(), sender, receiver, history: Vec::new(), net }
    }

    /// The address of a process. All of 127.0.0.0/8 is this machine.
    pub(crate) fn ip(&self, number: usize) -> IpAddr {
        Ipv4Addr::new(127, self.net, (number >> 8) as u8, number as u8 + 1).into()
    }

    /// Starts a process, and says where it listens.
    pub(crate) fn start(&mut self, number: usize, arguments: &[String]) -> SocketAddr {
        let mut child = Command::new(env!("CARGO_BIN_EXE_drystone-membership"))
            .args(["--name", &name(number), "--bind", &format!("{}:0", self.ip(number))])
            .args(["--profile", "local", "--json", "--end-with-input"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let sender = self.sender.clone();
        let (first, started) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let what: Value = serde_json::from_str(&line).expect("every line is JSON");
                if field(&what, "event") == "listening" {
                    drop(first.send(what.clone()));
                }
                drop(sender.send(Said { who: number, what }));
            }
            drop(sender.send(Said { who: number, what: serde_json::json!({ "event": "ended" }) }));
        });
        let listening = started.recv_timeout(PATIENCE).expect("it starts");
        let local = field(&listening, "local").parse().unwrap();
        self.processes.insert(number, Process { child, local });
        local
    }

    pub(crate) fn local(&self, number: usize) -> SocketAddr {
        self.processes[&number].local
    }

    pub(crate) fn numbers(&self) -> Vec<usize> {
        self.processes.keys().copied().collect()
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, number: usize, line: &str) {
        let process = self.processes.get_mut(&number).unwrap();
        writeln!(process.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        let id = self.processes[&number].child.id();
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut process = self.processes.remove(&number).unwrap();
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    /// Waits for the end of a process that ends by itself, and says its status.
    pub(crate) fn wait_end(&mut self, number: usize) -> Option<i32> {
        self.until("it ends", |said| said.who == number && said.event().0 == "ended");
        self.processes.remove(&number).unwrap().child.wait().unwrap().code()
    }

    /// Waits until this was said, from now on. Returns it.
    pub(crate) fn until(&mut self, what: &str, mut wanted: impl FnMut(&Said) -> bool) -> Said {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(said) = self.receiver.recv_timeout(left) else { self.give_up(what) };
            self.history.push(said.clone());
            if wanted(&said) {
                return said;
            }
        }
    }

    /// Listens for so long.
    pub(crate) fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(said) = self.receiver.recv_timeout(left) else { return };
            self.history.push(said);
        }
    }

    /// Waits until it holds, and looks whenever something was said. Tells how long it took.
    pub(crate) fn until_holds(&mut self, what: &str, holds: impl Fn(&Cluster) -> bool) {
        let (began, end) = (Instant::now(), Instant::now() + PATIENCE);
        while !holds(self) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(said) = self.receiver.recv_timeout(left) else { self.give_up(what) };
            self.history.push(said);
        }
        println!("{what}: after {:.1} s", began.elapsed().as_secs_f64());
    }

    /// Whom a process takes for members, by what it has said. Itself is not among them.
    pub(crate) fn view(&self, number: usize) -> Vec<String> {
        let mut members = std::collections::BTreeSet::new();
        for said in self.history.iter().filter(|said| said.who == number) {
            match said.event() {
                ("joined", name) => drop(members.insert(name.to_owned())),
                ("failed" | "left", name) => drop(members.remove(name)),
                _ => {}
            }
        }
        members.into_iter().collect()
    }

    /// Whether each of these takes the others of these for members, and nobody else.
    pub(crate) fn agree(&self, numbers: &[usize]) -> bool {
        numbers.iter().all(|number| {
            let others = numbers.iter().filter(|other| *other != number);
            let mut wanted: Vec<String> = others.map(|other| name(*other)).collect();
            wanted.sort();
            self.view(*number) == wanted
        })
    }

    /// Who has declared whom failed, from a place in the history on.
    pub(crate) fn declared_failed(&self, from: usize) -> Vec<(usize, String)> {
        let failed = self.history[from..].iter().filter(|said| said.event().0 == "failed");
        failed.map(|said| (said.who, said.event().1.to_owned())).collect()
    }

    fn give_up(&self, what: &str) -> ! {
        for number in self.numbers() {
            let view = self.view(number);
            println!("{}: {} members: {}", name(number), view.len(), view.join(" "));
        }
        let last = self.history.iter().rev().take(60).rev();
        last.for_each(|said| println!("{} {}", name(said.who), said.what));
        panic!("never so: {what}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            // It may have ended by itself.
            drop(process.child.kill());
            drop(process.child.wait());
        }
    }
}
