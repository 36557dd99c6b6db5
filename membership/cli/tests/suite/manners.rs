//! How the command behaves at a terminal.

use std::process::Command;

use rustix::process::Signal;

use crate::cluster::{Cluster, field};

// What a person does in the first minute: start two, talk, stop one by Ctrl-C.
#[test]
fn two_processes_talk_and_leave_when_asked() {
    let mut cluster = Cluster::new(3);
    let seed = cluster.start(0, &["--set".to_owned(), "role=first".to_owned()]);
    cluster.start(1, &["--join".to_owned(), seed.to_string()]);
    cluster.until_holds("they know each other", |it| it.agree(&[0, 1]));
    cluster.type_line(1, "set role second one");
    cluster.until("metadata", |said| said.who == 0 && said.event() == ("updated", "m1"));
    cluster.type_line(0, "get m1 role");
    let got = cluster.until("its value", |said| said.event() == ("meta", "m1"));
    assert_eq!(field(&got.what, "value"), "second one");
    cluster.type_line(0, "broadcast greeting hello all");
    let heard = cluster.until("the broadcast", |said| said.event() == ("broadcast", "m0"));
    assert_eq!((heard.who, field(&heard.what, "text")), (1, "hello all"));
    cluster.type_line(0, "members");
    let told = cluster.until("members", |said| said.event().0 == "members");
    assert_eq!(told.what["members"].as_array().unwrap().len(), 2);
    cluster.type_line(0, "condemn nobody");
    let sorry = cluster.until("a refusal", |said| said.event().0 == "sorry");
    assert!(field(&sorry.what, "text").starts_with("no member"));
    cluster.signal(1, Signal::INT);
    cluster.until("it has left", |said| said.who == 0 && said.event() == ("left", "m1"));
    assert_eq!(cluster.wait_end(1), Some(0));
    cluster.type_line(0, "leave");
    assert_eq!(cluster.wait_end(0), Some(0));
    assert_eq!(cluster.declared_failed(0), [], "who leaves is not called dead");
}

// Whoever starts it wrongly must read why, and a script must see it by the status.
#[test]
fn what_cannot_begin_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let missing = ["--bind", "127.0.0.1:0", "--key-file", "/nonexistent"];
    for (arguments, said) in [
        (&["--bind", &addr][..], "cannot bind tcp"),
        (&missing, "key file /nonexistent"),
        (&["--bind", "0.0.0.0:0"], "advertise one"),
        (&["--bind", "127.0.0.1:0", "--set", "nothing"], "KEY=VALUE is wanted"),
    ] {
        let command = env!("CARGO_BIN_EXE_drystone-membership");
        let done = Command::new(command).args(["--name", "a"]).args(arguments).output().unwrap();
        let text = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
}
