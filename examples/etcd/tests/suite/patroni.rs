//! Patroni, which keeps a PostgreSQL cluster available by what it writes to etcd.
//!
//! ```text
//!     patroni a ──┐  JSON: keys with a lease, transactions,   ┌── role `patroni`, which may
//!     patroni b ──┴── a watch of the prefix, as a user ──────►│   touch `/service/` alone
//!        │ starts, stops, promotes                            └── the server under test
//!     postgres a ═══ replicates ═══► postgres b
//! ```
//!
//! Who leads is whose lease keeps the key `leader`: an answer that comes late, twice or from the
//! past makes two databases that both take writes, or none.
//!
//! PostgreSQL and what Patroni stands on are Debian's, installed where that is possible; Patroni
//! itself is newer, from PyPI: none before 4.1.1 shows who it is when it asks for the members, and
//! since 3.6.9 etcd wants to know.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use drystone_etcd_api::authpb::permission::Type;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::auth::{CHEAP, add_role, add_user, allow, come_in, enable, give_role};
use crate::clients;
use crate::support::calls::{client_of, runtime};
use crate::support::programs::{install, ours};
use crate::support::server::{Server, free_port};
use crate::support::skip;

/// How long anything may take. A lease of 20 s, the shortest that Patroni asks for, ends in it.
const PATIENCE: Duration = Duration::from_secs(90);

// Lock, lease, watch and user of one tool that people run etcd for, while the server crashes, and
// while the leader of the databases does.
#[test]
fn patroni_keeps_one_leader() {
    let test = "patroni::patroni_keeps_one_leader";
    let postgres = match find() {
        Ok(found) => found,
        Err(reason) => return skip(test, &reason),
    };
    let mut server = Server::start(&ours(), &[CHEAP]);
    runtime().block_on(async {
        let client = client_of(&server).await;
        add_user(&client, "patroni", "wall").await;
        add_role(&client, "patroni").await;
        allow(&client, "patroni", Type::Readwrite, b"/service/", b"/service0").await;
        give_role(&client, "patroni", "patroni").await;
        enable(&client, "root").await;
    });
    let (mut first, second) =
        (Node::start("a", &postgres, &server), Node::start("b", &postgres, &server));
    // Both try, and one wins.
    until("there is a leader and a replica", &[&first, &second], || {
        is_pair(&first, &second) || is_pair(&second, &first)
    });
    let second = if first.is("primary") { second } else { std::mem::replace(&mut first, second) };
    first.sql("create table stone (number int)");
    server.kill();
    server.launch();
    runtime().block_on(come_in(&mut server, "root", "root"));
    until("it still leads", &[&first, &second], || first.is("primary"));
    first.sql("insert into stone values (7)");
    until("what is written is replicated", &[&first, &second], || second.count() == "1");
    // Nobody gives the lease back: it ends.
    let died = Instant::now();
    first.kill();
    until("the other leads", &[&second], || second.is("primary"));
    assert!(died.elapsed() > Duration::from_secs(10), "its lease was kept until it ended");
    let put = || second.psql("insert into stone values (8)").is_ok();
    until("it takes writes", &[&second], put);
    assert_eq!(second.count(), "2", "nothing is lost");
}

/// Whether one leads and the other follows.
fn is_pair(leader: &Node, replica: &Node) -> bool {
    leader.is("primary") && replica.is("replica")
}

/// Waits for something of these nodes.
#[track_caller]
fn until(what: &str, nodes: &[&Node], condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        let logs = || nodes.iter().map(|node| node.log()).collect::<String>();
        assert!(Instant::now() < deadline, "{what}: not in time\n{}", logs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What runs databases here.
struct Postgres {
    /// Patroni's package.
    patroni: PathBuf,
    programs: PathBuf,
    /// PostgreSQL refuses to be run by root.
    user: u32,
    group: u32,
}

/// The programs, installed if need be, or why there are none.
fn find() -> Result<Postgres, String> {
    look().or_else(|_| {
        install(&["--no-install-recommends", "postgresql", "patroni"])?;
        look()
    })
}

fn look() -> Result<Postgres, String> {
    if !Path::new("/usr/bin/patroni").is_file() {
        return Err("no patroni installed".to_owned());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").map_err(|error| error.to_string())?;
    let programs = versions.flatten().map(|version| version.path().join("bin"));
    let programs = programs.filter(|folder| folder.join("postgres").is_file()).max();
    let programs = programs.ok_or("no PostgreSQL installed")?;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/patroni");
    let patroni = clients::install("patroni", &scripts)?.join("patroni");
    if !rustix::process::geteuid().is_root() {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        return Ok(Postgres { patroni, programs, user: user.as_raw(), group: group.as_raw() });
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.ok_or("no user postgres")?.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok());
    let (user, group) = number().zip(number()).ok_or("no number of the user postgres")?;
    Ok(Postgres { patroni, programs, user, group })
}

/// A Patroni with its PostgreSQL. All of it ends with the test.
struct Node {
    patroni: Child,
    folder: TempDir,
    programs: PathBuf,
    /// Where Patroni is asked how it is.
    rest: u16,
    sql: u16,
}

impl Node {
    fn start(name: &str, postgres: &Postgres, server: &Server) -> Node {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (rest, sql) = (free_port(), free_port());
        let config = folder.path().join("patroni.yml");
        let text = configuration(name, &postgres.programs, server, folder.path(), rest, sql);
        std::fs::write(&config, text).expect("a file can be written");
        std::os::unix::fs::chown(folder.path(), Some(postgres.user), Some(postgres.group))
            .expect("a folder can be given away");
        // Where it was installed, the user need not be able to read.
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(&postgres.patroni).arg(folder.path());
        assert!(copy.status().expect("cp can be started").success(), "a package can be copied");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file can be made");
        let mut patroni = Command::new("/usr/bin/python3");
        patroni.args(["-m", "patroni"]).arg(&config);
        patroni.current_dir(folder.path()).env("HOME", folder.path());
        patroni.env("PYTHONPATH", folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        patroni.uid(postgres.user).gid(postgres.group).stdin(Stdio::null());
        patroni.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let patroni = patroni.spawn().expect("patroni can be started");
        Node { patroni, folder, programs: postgres.programs.clone(), rest, sql }
    }

    /// Whether Patroni says that it is healthy in that role.
    fn is(&self, role: &str) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.rest))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(format!("GET /{role} HTTP/1.0\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
    }

    fn psql(&self, command: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-qtA", "-p", &self.sql.to_string()]);
        let output = psql.args(["-c", command]).output().expect("psql can be started");
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    #[track_caller]
    fn sql(&self, command: &str) {
        self.psql(command).unwrap_or_else(|error| panic!("{command}: {error}\n{}", self.log()));
    }

    /// How many rows there are; nothing if the table cannot be read yet.
    fn count(&self) -> String {
        self.psql("select count(*) from stone").unwrap_or_default()
    }

    /// Ends both where they stand.
    fn kill(&mut self) {
        let _ = self.patroni.kill();
        let _ = self.patroni.wait();
        let file = self.folder.path().join("db/postmaster.pid");
        let pid = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(pid) = pid.lines().next().and_then(|line| line.parse().ok()) {
            // Its children notice.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        format!("patroni at {}:\n{}\n", self.rest, String::from_utf8_lossy(&log))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn configuration(
    name: &str,
    programs: &Path,
    server: &Server,
    folder: &Path,
    rest: u16,
    sql: u16,
) -> String {
    let (programs, folder, server) =
        (programs.display(), folder.display(), server.client_address());
    format!(
        "scope: wall
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}
etcd3: {{host: '{server}', username: patroni, password: wall}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    postgresql: {{parameters: {{fsync: 'off', shared_buffers: 16MB}}}}
  initdb: [{{encoding: UTF8}}]
  pg_hba:
    - local all all trust
    - host all all 127.0.0.1/32 trust
    - host replication all 127.0.0.1/32 trust
postgresql:
  listen: 127.0.0.1:{sql}
  connect_address: 127.0.0.1:{sql}
  data_dir: {folder}/db
  bin_dir: {programs}
  parameters: {{unix_socket_directories: {folder}}}
  authentication:
    replication: {{username: copy, password: copy}}
    superuser: {{username: postgres, password: postgres}}
"
    )
}
