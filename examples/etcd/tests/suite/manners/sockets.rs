//! Unix sockets in the place of ports.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::cluster::fleet::wait;
use crate::support::programs;
use crate::support::server::clean_command;

/// Ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The command line of Kubernetes' integration tests: a path that begins where a host would stand,
/// and a socket that somebody has left there.
#[test]
fn kubernetes_integration_tests_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("X")).unwrap();
    let socket = folder.path().join("X/etcd.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "a socket that was not closed in order stays");
    let mut command = clean_command(&programs::ours());
    command.current_dir(folder.path());
    command.args(["--data-dir", "X/data", "--listen-client-urls", "unix://X/etcd.sock"]);
    command.args(["--advertise-client-urls", "http://127.0.0.111:0"]);
    command.args(["--listen-peer-urls", "http://127.0.0.1:0", "-log-level", "warn"]);
    command.args(["--quota-backend-bytes", "8589934592"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Ended(child);
    let answer = wait(|| {
        assert!(server.0.try_wait().unwrap().is_none(), "it ended");
        ask(&socket).filter(|text| text.contains("200 OK"))
    });
    assert!(answer.expect("it answers").contains(r#"{"health":"true","reason":""}"#));
    if let Some(real) = programs::real_or_skip("manners::sockets::kubernetes_integration_tests") {
        let url = format!("unix://{}", socket.display());
        let mut etcdctl = clean_command(&real.etcdctl);
        etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &url, "put", "a", "b"]);
        let output = etcdctl.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "OK", "{output:?}");
    }
}
