//! Starting it: words, texts and statuses of etcd's.

use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::programs;
use crate::support::server::{clean_command, free_port};

fn run(program: &Path, words: &[&str]) -> Output {
    let mut command = clean_command(program);
    command.arg("gateway").args(words).stdin(Stdio::null());
    command.output().expect("the program can be started")
}

/// The status, standard output, and the first line of standard error that is no log.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let line = err.lines().find(|line| !line.starts_with('{')).unwrap_or_default().to_owned();
    (output.status.code(), out.trim_end().to_owned(), line)
}

/// What cannot be started is told where etcd tells it, in its words.
#[test]
fn what_cannot_start_says_what_etcds_says() {
    let test = "forward::commands::what_cannot_start_says_what_etcds_says";
    let Some(real) = programs::real_or_skip(test) else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().expect("it has an address").to_string();
    let (own, other) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let listen = |address: &str| format!("--listen-addr={address}");
    let to = |endpoint: &str| format!("--endpoints={endpoint}");
    let cases: Vec<Vec<String>> = vec![
        vec![listen(":1")],
        vec![listen("foo")],
        vec![listen(&own), to(&own)],
        vec![listen(&own), to(&format!("{other},http://{own}/"))],
        vec![listen(&taken), to(&other)],
        vec![to("nohost.invalid:1")],
        vec![to("")],
        vec![to("a:b:1")],
    ];
    for words in cases {
        let words: Vec<&str> =
            ["start"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let (ours, theirs) = (run(&programs::ours(), &words), run(&real.etcd, &words));
        assert_eq!(said(&ours), said(&theirs), "{words:?}");
        assert_eq!(ours.status.code(), Some(1), "{words:?}");
    }
    // Bad usage has the same status, and a text that names the flag.
    for words in [&["start", "--foo"][..], &["start", "--retry-delay=5"]] {
        let (ours, theirs) = (run(&programs::ours(), words), run(&real.etcd, words));
        assert_eq!(ours.status.code(), theirs.status.code(), "{words:?}");
        let text = String::from_utf8_lossy(&ours.stderr).into_owned();
        assert!(text.contains(words[1].split('=').next().unwrap_or_default()), "{text}");
    }
    // And help has success.
    for words in [&[][..], &["what"], &["start", "--help"]] {
        let (ours, theirs) = (run(&programs::ours(), words), run(&real.etcd, words));
        assert_eq!((ours.status.code(), theirs.status.code()), (Some(0), Some(0)), "{words:?}");
        assert!(String::from_utf8_lossy(&ours.stdout).contains("gateway"));
    }
}
