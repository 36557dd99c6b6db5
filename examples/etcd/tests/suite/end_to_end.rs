//! etcd's own end-to-end tests, with this server where theirs was.
//!
//! ```text
//!     Debian's golang-etcd-server-dev ── go test -c ──► etcd's tests of 3.4
//!                                                          │ start, stop and kill members, and run
//!                                                          ▼ etcdctl and curl against them
//!                                        bin/etcd = this server, bin/etcdctl = Debian's
//! ```
//!
//! They were written by others, for another program, and know nothing of ours: whoever takes this
//! server for etcd has come this far. What fails has to fail, each for the [reason](EXCEPTIONS)
//! that stands beside it; one that passes is no exception any more.
//!
//! It takes a compiler for Go, two minutes of building and three of running, and a network
//! namespace, for their ports are fixed: only where there is time.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::programs::{install, ours_after, real, run};
use crate::support::{has_time_for, say, skip};

/// Where Debian 12 has Go, and what is written in it.
const GO: &str = "/usr/lib/go-1.19";
const GO_CODE: &str = "/usr/share/gocode";
const MODULE: &str = "src/go.etcd.io/etcd";
/// How long one of their tests may take: some wait for `etcdctl` to give up.
const SECONDS_MAX: &str = "90";

/// Tests that this server does not pass, and why it should not.
const EXCEPTIONS: [(&str, &str); 16] = [
    ("TestCtlV3Alarm", SINCE_36),
    ("TestCtlV3Migrate", "of the version 2 interface"),
    ("TestEtcdCorruptHash", "breaks a bbolt file of the member's, and there is none"),
    ("TestEtcdUnixPeers", "members reach each other over TCP alone"),
    ("TestV3CurlAuth", SINCE_36),
    ("TestV3CurlAuthClientTLSCertAuth", SINCE_36),
    ("TestV3CurlCipherSuitesValid", OTHER_RELEASE),
    ("TestV3CurlProclaimMissiongLeaderKeyNoTLS", SINCE_36),
    ("TestV3CurlResignMissiongLeaderKeyNoTLS", SINCE_36),
    ("TestV3CurlTxn", SINCE_36),
    ("TestV3Curl_MaxStreams_ReachLimit_NoTLS_Medium", NO_INNER_CONNECTION),
    ("TestV3Curl_MaxStreams_ReachLimit_NoTLS_Small", NO_INNER_CONNECTION),
    ("TestV3Curl_MaxStreams_ReachLimit_TLS_Medium", NO_INNER_CONNECTION),
    ("TestV3Curl_MaxStreams_ReachLimit_TLS_Small", NO_INNER_CONNECTION),
    ("TestV3MetricsInsecure", OTHER_RELEASE),
    ("TestV3MetricsSecure", OTHER_RELEASE),
];
const SINCE_36: &str = "the JSON is that of etcd 3.6";
const OTHER_RELEASE: &str = "looks for the metric that names release 3.4.23";
const NO_INNER_CONNECTION: &str =
    "etcd's gateway is one connection, whose limit all JSON calls share";

/// Of the version 2 interface, which etcd 3.6 does not have, or of etcd's upgrades.
fn is_of_another_etcd(test: &str) -> bool {
    test.contains("V2") || test.starts_with("TestReleaseUpgrade")
}

/// A folder with their tests, built, and what they expect around them.
struct Theirs {
    program: PathBuf,
    /// Where they look for files next to them.
    place: PathBuf,
}

fn build(folder: &Path) -> Result<Theirs, String> {
    install(&["golang-1.19-go", "golang-etcd-server-dev", "curl"])?;
    let place = folder.join(MODULE).join("tests/e2e");
    let made = |result: std::io::Result<()>| result.map_err(|error| error.to_string());
    made(std::fs::create_dir_all(place.parent().expect("it lies deeper")))?;
    let code = Path::new(GO_CODE).join(MODULE);
    run(Command::new("cp").arg("-r").arg(code.join("tests/e2e")).arg(&place))?;
    made(symlink(code.join("integration"), folder.join(MODULE).join("integration")))?;
    let sample = "name: default\ndata-dir: sample.etcd\n";
    made(std::fs::write(folder.join(MODULE).join("etcd.conf.yml.sample"), sample))?;
    let program = folder.join("theirs");
    let mut go = Command::new(format!("{GO}/bin/go"));
    go.env("GOROOT", GO).env("GO111MODULE", "off").env("CGO_ENABLED", "0").env("GOFLAGS", "");
    go.env("GOPATH", format!("{}:{GO_CODE}", folder.display()));
    go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"));
    run(go.args(["test", "-c", "-o"]).arg(&program).arg("go.etcd.io/etcd/tests/e2e"))?;
    Ok(Theirs { program, place })
}

impl Theirs {
    fn names(&self) -> Vec<String> {
        let mut list = Command::new(&self.program);
        let output = list.current_dir(&self.place).args(["-test.list", ".*"]).output();
        let listed = output.expect("their tests can be run").stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let names = listed.lines().filter(|name| name.starts_with("Test"));
        names.filter(|name| !is_of_another_etcd(name)).map(str::to_owned).collect()
    }

    /// What one of them says, if it does not pass. In a network of its own, and with an end to all
    /// that it has started.
    fn fails(&self, test: &str, programs: &Path) -> Option<String> {
        let words = format!(
            "ip link set lo up && cd {} && exec timeout {SECONDS_MAX} {} -bin-dir {} -test.v \
             -test.run '^{test}$'",
            self.place.display(),
            self.program.display(),
            programs.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        command.arg(words).stdin(Stdio::null());
        let output = command.output().expect("unshare can be run");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (!said.contains(&format!("--- PASS: {test} "))).then_some(said)
    }
}

#[test]
fn etcds_own_tests_pass_but_for_those_that_cannot() {
    let test = "end_to_end::etcds_own_tests_pass_but_for_those_that_cannot";
    if !has_time_for(test) {
        return;
    }
    let (folder, real) = (tempfile::tempdir().unwrap(), real());
    let theirs = real.and_then(|real| Ok((build(folder.path())?, real)));
    let (theirs, real) = match theirs {
        Ok(found) => found,
        Err(reason) => return skip(test, &reason),
    };
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    // Flags that etcd 3.6 does not know any more.
    let drop_old = "for word do shift; case $word in --enable-v2*) ;; *) set -- \"$@\" \"$word\";; \
                    esac; done";
    let server = ours_after(drop_old, &programs);
    std::fs::rename(server, programs.join("etcd")).unwrap();
    symlink(real.etcdctl, programs.join("etcdctl")).unwrap();

    let reasons: BTreeMap<&str, &str> = EXCEPTIONS.into();
    let (names, mut wrong) = (theirs.names(), Vec::new());
    assert!(names.len() > 150, "these are not all: {names:?}");
    for name in &names {
        // What waits for a moment that a busy machine let pass gets another chance.
        let failure = theirs.fails(name, &programs);
        let failure = failure.and_then(|_| theirs.fails(name, &programs));
        match (failure, reasons.get(name.as_str())) {
            (Some(said), None) => {
                say(&format!("{name}:\n{said}"));
                wrong.push(format!("{name} fails"));
            }
            (None, Some(reason)) => wrong.push(format!("{name} passes, although: {reason}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?} of {}", names.len());
}
