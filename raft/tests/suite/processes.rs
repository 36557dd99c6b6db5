//! Real processes on real sockets and files, killed again and again.
//!
//! ```text
//!     clients ──► "w 3 17" ──► door of node 2 ═══ TCP ═══ nodes 1 and 3      each a process with
//!        │            "done" ◄──┘                                           a folder of its own
//!        ▼
//!     history ──► linearizable?                 SIGKILL: one, the leader, two, all ──► start again
//! ```
//!
//! What chance decides here comes from `SEED`; what the kernel and the network do does not. Known
//! to fail when it should: with writes acknowledged before they are committed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use drystone_raft::NodeId;
use drystone_sim::history::{History, Outcome};
use drystone_sim::linear::register::{Op, Register, Ret};
use drystone_sim::linear::{Model, expect};
use drystone_vfs::{Clock, OsClock};
use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

mod life;

type Registers = Register<u64, u64>;
type Ops = History<<Registers as Model>::Op, <Registers as Model>::Ret>;

const NAME: &str = "processes::a_group_of_processes_outlives_every_kill";
const ORDERS: &str = "DRYSTONE_RAFT_LIFE";
const IDS: [NodeId; 3] = [1, 2, 3];
const CLIENTS: u64 = 4;
/// Operations on so many keys follow each other, and then on the next.
const KEYS: u64 = 3;
const OPS_PER_KEYS: u64 = 60;
/// Longer than anything takes that comes to an end.
const PATIENCE: Duration = Duration::from_secs(60);
/// A client does not wait longer for an answer.
const ANSWER: Duration = Duration::from_secs(2);

fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    u64::from(random.next_u32()) % bound
}

/// A running node; it does not outlive the test.
struct Process {
    child: Child,
    /// Disconnected when it is dead.
    alive: Receiver<()>,
}

impl Process {
    /// Starts it, and says on which port it hears clients.
    fn start(id: NodeId, folder: &Path, ports: [u16; 3]) -> (Process, u16) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(ORDERS, life::Orders { id, folder: folder.to_path_buf(), ports }.encode())
            // It ends itself when this closes, which it does whatever becomes of the test.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (line, lines) = channel();
        let (pulse, alive): (Sender<()>, _) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(line.send(text));
            }
            drop(pulse);
        });
        let process = Process { child, alive };
        loop {
            let text = lines.recv_timeout(PATIENCE).expect("the node starts");
            if let Some(port) = text.strip_prefix(life::OPEN) {
                return (process, port.parse().unwrap());
            }
        }
    }

    fn kill(mut self) {
        // Nothing but us may have ended it.
        assert!(self.alive.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected));
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed already, unless an assertion failed meanwhile.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where clients reach the nodes that live.
type Doors = Arc<Mutex<BTreeMap<NodeId, u16>>>;

/// The nodes, and how often which of them were killed.
struct Group {
    folder: PathBuf,
    ports: [u16; 3],
    living: BTreeMap<NodeId, Process>,
    doors: Doors,
    kills: u32,
    leaders_killed: u32,
}

impl Group {
    fn start(&mut self, id: NodeId) {
        let folder = self.folder.join(format!("node-{id}"));
        let (process, port) = Process::start(id, &folder, self.ports);
        self.living.insert(id, process);
        self.doors.lock().insert(id, port);
    }

    fn kill(&mut self, id: NodeId) {
        self.doors.lock().remove(&id);
        self.living.remove(&id).expect("only who lives is killed").kill();
        self.kills += 1;
    }

    /// Who leads, if one says so.
    fn leader(&self) -> Option<NodeId> {
        let doors = self.doors.lock().clone();
        let leads = |port: &u16| {
            Door::open(*port)
                .is_ok_and(|mut door| door.ask("leads").is_ok_and(|answer| answer == "yes"))
        };
        doors.iter().find(|(_, port)| leads(port)).map(|(id, _)| *id)
    }

    /// Kills one, the leader, two or all, lets some time pass, and starts them again.
    fn trouble(&mut self, random: &mut ChaCha8Rng) {
        let one = IDS[below(random, 3) as usize];
        let victims = match below(random, 8) {
            0 => IDS.to_vec(),
            1 => IDS.into_iter().filter(|id| *id != one).collect(),
            2 | 3 => vec![one],
            _ => {
                let leader = self.leader();
                self.leaders_killed += u32::from(leader.is_some());
                vec![leader.unwrap_or(one)]
            }
        };
        victims.iter().for_each(|id| self.kill(*id));
        pause(Duration::from_millis(below(random, 300)));
        victims.iter().for_each(|id| self.start(*id));
    }
}

fn pause(time: Duration) {
    let (_keep, never) = channel::<()>();
    let _ = never.recv_timeout(time);
}

/// A client's connection to one node.
struct Door {
    port: u16,
    stream: BufReader<TcpStream>,
}

impl Door {
    fn open(port: u16) -> io::Result<Door> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Door { port, stream: BufReader::new(stream) })
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        let mut answer = String::new();
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        self.stream.read_line(&mut answer)?;
        match answer.strip_suffix('\n') {
            Some(answer) => Ok(answer.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// One who reads and writes, and notes what it was told.
struct Client {
    id: u64,
    random: ChaCha8Rng,
    doors: Doors,
    history: Arc<Mutex<Ops>>,
    door: Option<Door>,
    count: u64,
}

impl Client {
    fn new(id: u64, seed: u64, doors: &Doors, history: &Arc<Mutex<Ops>>) -> Client {
        let random = ChaCha8Rng::seed_from_u64(seed ^ id << 32);
        let (doors, history) = (Arc::clone(doors), Arc::clone(history));
        Client { id, random, doors, history, door: None, count: 0 }
    }

    /// A connection to some node that lives.
    fn door(&mut self) -> Option<&mut Door> {
        let doors = self.doors.lock().clone();
        let good = self.door.as_ref().is_some_and(|door| doors.values().any(|it| *it == door.port));
        if !good {
            let at = below(&mut self.random, doors.len().max(1) as u64) as usize;
            self.door = doors.values().nth(at).and_then(|port| Door::open(*port).ok());
        }
        self.door.as_mut()
    }

    /// One operation. Says whether a node has done it.
    fn act(&mut self) -> bool {
        let key = (self.count / OPS_PER_KEYS) * KEYS + below(&mut self.random, KEYS);
        if below(&mut self.random, 2) == 0 {
            let value = self.id << 32 | self.count;
            self.run(Op::Write(key, value), &format!("w {key} {value}"))
        } else {
            self.run(Op::Read(key), &format!("r {key}"))
        }
    }

    fn run(&mut self, op: Op<u64, u64>, line: &str) -> bool {
        if self.door().is_none() {
            return false;
        }
        let history = Arc::clone(&self.history);
        let reads = matches!(op, Op::Read(_));
        let id = history.lock().invoke(self.id, op);
        let answer = self.door.as_mut().expect("it was just opened").ask(line);
        let answer = answer.unwrap_or_else(|_| "perhaps".to_owned());
        let ret = match answer.split_once(' ') {
            Some(("is", value)) => Some(Ret::Value(value.parse().ok())),
            _ => (answer == "done").then_some(Ret::Written),
        };
        if let Some(ret) = ret {
            history.lock().returned(id, ret);
            self.count += 1;
            return true;
        }
        // A write that was sent and not answered may be done, and has had its turn.
        if reads || answer == "no" {
            history.lock().failed(id);
        } else {
            self.count += 1;
        }
        self.door = None;
        false
    }

    fn live(mut self, end: &Receiver<()>) {
        loop {
            let rest =
                if self.act() { Duration::from_millis(1) } else { Duration::from_millis(10) };
            if end.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }
}

/// Ports that were free a moment ago.
fn free_ports() -> [u16; 3] {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = [free(), free(), free()];
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Reads every key at every node, until each has answered: what was acknowledged must be there.
fn read_all(doors: &Doors, history: &Arc<Mutex<Ops>>) {
    let ops = history.lock().operations().to_vec();
    let keys = ops.iter().map(|op| match op.op {
        Op::Read(key) | Op::Write(key, _) | Op::Cas { key, .. } => key,
    });
    let keys: std::collections::BTreeSet<u64> = keys.collect();
    let all = doors.lock().clone();
    assert_eq!(all.len(), 3, "all live");
    for (node, port) in all {
        let only: Doors = Arc::new(Mutex::new(BTreeMap::from([(node, port)])));
        let mut client = Client::new(100 + node, 0, &only, history);
        for key in &keys {
            let answered = (0..6000).any(|_| {
                let done = client.run(Op::Read(*key), &format!("r {key}"));
                if !done {
                    pause(Duration::from_millis(10));
                }
                done
            });
            assert!(answered, "node {node} answers again");
        }
    }
}

/// The promise as an operator sees it: processes die at any moment, alone or together, and what a
/// client was told is done is there, in one order for all.
#[test]
fn a_group_of_processes_outlives_every_kill() {
    if let Ok(orders) = std::env::var(ORDERS) {
        return life::live(&life::Orders::decode(&orders));
    }
    let seed = std::env::var("SEED").map_or(7, |seed| seed.parse().unwrap());
    let slow = std::env::var_os("SLOW").is_some();
    let (time, kills_min) = if slow { (120, 100) } else { (6, 4) };
    println!("replay: SEED={seed} cargo test -p drystone-raft outlives_every_kill");
    let temp = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let (doors, history) = (Doors::default(), Arc::<Mutex<Ops>>::default());
    let mut group = Group {
        folder: temp.path().to_path_buf(),
        ports: free_ports(),
        living: BTreeMap::new(),
        doors: Arc::clone(&doors),
        kills: 0,
        leaders_killed: 0,
    };
    IDS.into_iter().for_each(|id| group.start(id));
    let mut ends = Vec::new();
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|id| {
            let (end, ended) = channel::<()>();
            ends.push(end);
            let client = Client::new(id, seed, &doors, &history);
            std::thread::spawn(move || client.live(&ended))
        })
        .collect();
    let (clock, mut random) = (OsClock::new(), ChaCha8Rng::seed_from_u64(seed));
    while clock.monotonic() < Duration::from_secs(time) || group.kills < kills_min {
        pause(Duration::from_millis(200 + below(&mut random, 600)));
        group.trouble(&mut random);
    }
    drop(ends);
    clients.into_iter().for_each(|client| client.join().unwrap());
    read_all(&doors, &history);
    let history = history.lock();
    let written = history.operations().iter().filter(|op| {
        matches!(op.outcome, Outcome::Returned { .. }) && matches!(op.op, Op::Write(..))
    });
    let (written, Group { kills, leaders_killed, .. }) = (written.count(), &group);
    println!("{kills} kills, {leaders_killed} of a leader; {written} writes were acknowledged");
    assert!(written > 50, "something is done between the kills");
    assert!(*leaders_killed > 0, "a leader was among those killed");
    expect::<Registers>(&history);
}
