//! The command as people run it: on a real server, for a short while.
//!
//! The server is the one that `ETCD_FAULTS_SERVER` names, or else the `etcd` in PATH; without one
//! the tests say loudly that they were left out, and fail where `CI=true`. Like every run these
//! need some seconds of a quiet machine, so they take turns.
//!
//! | test | asks |
//! |---|---|
//! | `a_short_run_finds_nothing` | whether a good server passes, and nothing is left behind |
//! | `every_lie_is_found` | whether each checker sees its bug, end to end |
//! | `an_interrupted_run_leaves_nothing` | whether Ctrl-C cleans up |
//! | `what_a_killed_run_leaves_is_removed` | whether the next run cleans up where none could |

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drystone_etcd_faults::lie::Lie;
use drystone_etcd_faults::violation::Checker;
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_etcd-faults");

/// One run at a time: several clusters on one small machine would test its scheduler.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line past the capture of the test harness.
fn say(line: &str) {
    // Nothing better can be done about a broken standard error than to go on.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says that a test was left out; fails it when `CI=true`.
fn skip(test: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run: {reason}");
    say(&format!("SKIPPED {test}: {reason}"));
}

/// The server under test; says so if there is none. One that is named has to be there.
fn server(test: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ETCD_FAULTS_SERVER") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "ETCD_FAULTS_SERVER names no file: {}", named.display());
        return Some(named);
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join("etcd"));
    let found = found.into_iter().find(|program| program.is_file());
    if found.is_none() {
        skip(test, "no ETCD_FAULTS_SERVER is named, and there is no etcd");
    }
    found
}

/// Releases of etcd before 3.4.25 and 3.5.8 send progress out of turn; others must not, and ours
/// must not whichever release it says it is like.
fn excuse(server: &Path) -> &'static [&'static str] {
    let output = Command::new(server).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    if said.contains("drystone") {
        return &[];
    }
    let version = said.lines().find_map(|line| line.strip_prefix("etcd Version: "));
    let numbers = version.unwrap_or_default().split('.');
    let numbers: Vec<u32> = numbers.filter_map(|number| number.trim().parse().ok()).collect();
    match numbers[..] {
        [3, 4, ..25] | [3, 5, ..8] => &["--excuse", "progress"],
        _ => &[],
    }
}

fn command(server: &Path, seconds: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--server").arg(server).args(["--seconds", seconds]).args(flags);
    command.stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(err), String::from_utf8_lossy(out))
}

/// What the run of this process has left: namespaces, bridges, mounts, processes with its number.
fn left(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    let names = [format!("etcd-faults-{pid}"), format!("efb{pid}"), format!("faults-{pid}")];
    let mut look = |what: &str, text: &str| {
        let here = text.lines().filter(|line| names.iter().any(|name| line.contains(name)));
        found.extend(here.map(|line| format!("{what}: {line}")));
    };
    for (program, args) in [("ip", ["netns", "list"]), ("ip", ["link", "show"])] {
        // Where there is no such program there is nothing that it could show.
        if let Ok(output) = Command::new(program).args(args).output() {
            look(program, &String::from_utf8_lossy(&output.stdout));
        }
    }
    look("mount", &std::fs::read_to_string("/proc/mounts").unwrap_or_default());
    for entry in std::fs::read_dir("/proc").expect("a kernel shows its processes") {
        let Ok(entry) = entry else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        look("process", &line);
    }
    found
}

/// A good server passes twenty seconds of everything, and the machine is as it was.
#[test]
fn a_short_run_finds_nothing() {
    let Some(server) = server("a_short_run_finds_nothing") else { return };
    let _alone = alone();
    let mut command = command(&server, "20", excuse(&server));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for line in text(&output).lines().filter(|line| line.contains("SKIPPED")) {
        say(line);
    }
    assert_eq!(left(pid), Vec::<String>::new());
}

/// A checker that sees no bug is worth nothing. Two of them in every run of the tests, all of them
/// with `SLOW=1`.
#[test]
fn every_lie_is_found() {
    let Some(server) = server("every_lie_is_found") else { return };
    let _alone = alone();
    let slow = std::env::var_os("SLOW").is_some();
    let chosen = |lie: &Lie| slow || matches!(lie, Lie::DropEvent | Lie::LoseWrite);
    for (lie, name, checker) in Lie::ALL.into_iter().filter(|(lie, ..)| chosen(lie)) {
        // Without faults nothing else can be what fails the run.
        let rare = matches!(lie, Lie::ExpireEarly | Lie::TellCompacted | Lie::DenyPast);
        let seconds = if rare { "15" } else { "8" };
        let flags = ["--faults", "none", "--lie", name];
        let excuse = if lie == Lie::FalseProgress { &[] } else { excuse(&server) };
        let output = command(&server, seconds, &[&flags, excuse].concat()).output().unwrap();
        let said = text(&output);
        // Who is not excused is held to it here, too. (A watch that is lied about breaks it.)
        let lied = matches!(checker, Checker::Watch | Checker::Progress);
        let progress = said.lines().find(|line| line.starts_with("VIOLATION [progress]"));
        assert!(lied || !excuse.is_empty() || progress.is_none(), "{name}: {said}");
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        // What an old release does wrong by itself must not pass for the lie.
        let word = if lie == Lie::FalseProgress { "was sent" } else { "" };
        let violation = format!("VIOLATION [{checker}]");
        let seen = |line: &str| line.starts_with(&violation) && line.contains(word);
        assert!(said.lines().any(seen), "{name}: {said}");
        remove_what_is_kept(&said);
    }
}

/// A run that found something keeps its folder, which here nobody will look at.
fn remove_what_is_kept(said: &str) {
    let folder = said.lines().find_map(|line| line.strip_prefix("history and logs are in "));
    if let Some(folder) = folder {
        std::fs::remove_dir_all(folder).expect("the folder is ours");
    }
}

/// Starts a run and waits until its cluster is up and the first fault is announced.
/// Its files go below `folder`.
fn begin(server: &Path, folder: &Path) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = command(server, "60", &[]);
    command.env("TMPDIR", folder).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command can be run");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.contains(" for ")), "the run begins");
    // The reader goes along: a program that cannot say what it does would end of that.
    (child, lines)
}

/// Whoever loses patience must not have to clean up.
#[test]
fn an_interrupted_run_leaves_nothing() {
    let Some(server) = server("an_interrupted_run_leaves_nothing") else { return };
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _lines) = begin(&server, folder.path());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(left(child.id()), Vec::<String>::new());
}

/// A run that is killed cannot clean up; its servers end with it all the same, and the next run
/// removes the rest.
#[test]
fn what_a_killed_run_leaves_is_removed() {
    let Some(server) = server("what_a_killed_run_leaves_is_removed") else { return };
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _lines) = begin(&server, folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let processes = || left(child.id()).into_iter().filter(|line| line.starts_with("process"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while processes().count() > 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(processes().collect::<Vec<_>>(), Vec::<String>::new());
    let flags = [excuse(&server), &["--faults", "none"]].concat();
    let output = command(&server, "1", &flags).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(left(child.id()), Vec::<String>::new());
}
