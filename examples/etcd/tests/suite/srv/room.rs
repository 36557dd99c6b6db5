//! A network with nobody else in it, and a resolver's configuration of its own.
//!
//! A name server is asked at port 53, and `/etc/resolv.conf` is the same for all: a test that is
//! asked for both needs namespaces. It runs itself again under `unshare`, with root's rights or,
//! where the kernel lets everybody, without:
//!
//! ```text
//!   test ──► unshare --net --mount ──► the same test, inside: loopback up, resolv.conf in place
//! ```

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{programs, say, skip};

/// Set for the test that runs inside.
const INSIDE: &str = "DRYSTONE_TEST_ROOM";
const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n";
const NSSWITCH_CONF: &str = "hosts: files dns\n";

/// Runs `check` where the only name server is at 127.0.0.1:53 and is for `check` to bring. `test`
/// is the caller's name.
pub(crate) fn within(test: &str, check: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        furnish().unwrap_or_else(|error| panic!("cannot furnish the room: {error}"));
        return check();
    }
    // Inside, nothing can be installed any more.
    if programs::real_or_skip(test).is_none() {
        return;
    }
    let ways: [&[&str]; 2] = [&["--net", "--mount"], &["--map-root-user", "--net", "--mount"]];
    let mut reasons = Vec::new();
    for way in ways {
        // That is all that has to be possible; the rest has to work then.
        match run(Command::new("unshare").args(way).args(["ip", "link", "set", "lo", "up"])) {
            Ok(()) => return again(test, way),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    skip(test, &format!("no namespaces: {}", reasons.join("; ")));
}

fn again(test: &str, way: &[&str]) {
    let mut command = Command::new("unshare");
    command.args(way).arg(env::current_exe().expect("a test knows its program"));
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = command.stdin(Stdio::null()).output().expect("unshare can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{test} failed in its room\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{test} is no test: {out}");
    for line in err.lines().filter(|line| line.starts_with("SKIPPED")) {
        say(line);
    }
}

fn furnish() -> io::Result<()> {
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let folder = tempfile::tempdir()?;
    for (name, text) in [("resolv.conf", RESOLV_CONF), ("nsswitch.conf", NSSWITCH_CONF)] {
        let (own, systems) = (folder.path().join(name), Path::new("/etc").join(name));
        fs::write(&own, text)?;
        if systems.exists() {
            rustix::mount::mount_bind(&own, &systems)?;
        }
    }
    // What is mounted stays, whatever becomes of its name.
    drop(folder);
    Ok(())
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
