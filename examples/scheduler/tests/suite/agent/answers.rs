//! What an agent answers over HTTP.

use mason::api::client::ClientError;
use mason::api::wire::{Changed, Exec, ExecEnd, FrameKind, ImageView, LogEvent, PullImage};
use mason_core::types::RunId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Rig;
use crate::support::{Kind, until};

on_both! {
    a_log_outlives_its_run_and_can_be_followed_from_before_its_start
    a_command_in_a_container_reads_prints_and_ends
    a_command_is_killed_when_its_client_goes
    what_makes_no_sense_is_refused_by_name
    images_are_listed_and_forgotten
}

/// `mason run` follows a run that does not run yet; `mason logs` asks for one that is long gone.
async fn a_log_outlives_its_run_and_can_be_followed_from_before_its_start(kind: Kind) {
    let rig = Rig::start("logs", kind).await;
    let key = rig.script("logs", "echo one; echo two; sleep 1; echo three").await;
    let run = rig.seen(|_| true).await;
    let (text, others) = rig.log(&run, "?follow=true").await;
    assert_eq!(text, "one\ntwo\nthree\n");
    assert!(matches!(others[..], [LogEvent::End { .. }]), "{others:?}");
    rig.ended(&key).await;
    let folder = rig.folder.path().join("m/runs").join(run.as_str());
    until(async || (!folder.exists()).then_some(())).await;
    for (query, expected) in [
        ("", "one\ntwo\nthree\n"),
        ("?tail=1", "three\n"),
        ("?from=0&follow=true", "one\ntwo\nthree\n"),
        ("?since=99999999999999", ""),
    ] {
        let (text, others) = rig.log(&run, query).await;
        assert_eq!(text, expected, "{query}");
        assert!(matches!(others[..], [LogEvent::End { .. }]), "{query}: {others:?}");
    }
    rig.finish().await;
}

/// The next frame.
async fn frame(io: &mut (impl AsyncReadExt + Unpin)) -> Option<(u8, Vec<u8>)> {
    let kind = io.read_u8().await.ok()?;
    let mut bytes = vec![0; io.read_u32().await.ok()? as usize];
    io.read_exact(&mut bytes).await.ok()?;
    Some((kind, bytes))
}

async fn send(io: &mut (impl AsyncWriteExt + Unpin), kind: FrameKind, bytes: &[u8]) {
    io.write_u8(kind as u8).await.unwrap();
    io.write_u32(u32::try_from(bytes.len()).unwrap()).await.unwrap();
    io.write_all(bytes).await.unwrap();
    io.flush().await.unwrap();
}

fn exec(words: &[&str]) -> Exec {
    Exec { command: words.iter().map(|&word| word.to_owned()).collect() }
}

/// What it reads, prints and complains must come through, and its code be its own.
async fn a_command_in_a_container_reads_prints_and_ends(kind: Kind) {
    let rig = Rig::start("exec", kind).await;
    rig.script("exec", "sleep 1000").await;
    let run = rig.running().await;
    let path = format!("/v1/runs/{run}/exec");
    let words = exec(&["/bin/sh", "-c", "cat; nothing-of-this-name; exit 7"]);
    let mut io = rig.client.upgrade(&path, &words).await.unwrap();
    send(&mut io, FrameKind::Stdin, b"hello ").await;
    send(&mut io, FrameKind::Stdin, b"there").await;
    send(&mut io, FrameKind::Stdin, b"").await;
    let (mut out, mut err, mut end) = (Vec::new(), Vec::new(), None);
    while let Some((kind, bytes)) = frame(&mut io).await {
        match kind {
            1 => out.extend(bytes),
            2 => err.extend(bytes),
            3 => end = Some(serde_json::from_slice::<ExecEnd>(&bytes).unwrap()),
            other => panic!("a frame of kind {other}"),
        }
    }
    assert_eq!(String::from_utf8(out).unwrap(), "hello there");
    assert!(String::from_utf8(err).unwrap().contains("nothing-of-this-name"));
    assert_eq!(end, Some(ExecEnd { code: Some(7), error: String::new() }));
    // Nonsense is told, and ends it.
    let mut io = rig.client.upgrade(&path, &exec(&["sleep", "1000"])).await.unwrap();
    send(&mut io, FrameKind::Stdout, b"").await;
    let (kind, bytes) = frame(&mut io).await.unwrap();
    let end: ExecEnd = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((kind, end.code), (3, None));
    assert!(end.error.contains("kind 1"), "{end:?}");
    rig.finish().await;
}

/// Processes that nobody waits for must not fill the container.
async fn a_command_is_killed_when_its_client_goes(kind: Kind) {
    let rig = Rig::start("gone", kind).await;
    rig.script("gone", "sleep 1000").await;
    let run = rig.running().await;
    let path = format!("/v1/runs/{run}/exec");
    let io = rig.client.upgrade(&path, &exec(&["sleep", "7654321"])).await.unwrap();
    let runs_it = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            words.ends_with(b"sleep\x007654321\0") && !words.starts_with(b"runc")
        })
    };
    until(async || runs_it().then_some(())).await;
    drop(io);
    until(async || (!runs_it()).then_some(())).await;
    rig.finish().await;
}

fn status_of<T>(answer: Result<T, ClientError>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Whoever sends nonsense learns what is wrong with it, and nobody gets out of the folder of runs.
async fn what_makes_no_sense_is_refused_by_name(kind: Kind) {
    let rig = Rig::start("refuse", kind).await;
    let client = &rig.client;
    let node = &rig.node;
    let get = async |path: String| status_of(client.get::<serde_json::Value>(path).await);
    for (path, expected) in [
        ("/v1/runs/..%2F..%2Fetc/logs".to_owned(), "run:"),
        ("/v1/runs/aa/logs".to_owned(), "no log of run aa"),
        ("/v1/runs/aa/logs?what=1".to_owned(), "what"),
        ("/v1/runs/aa/logs?from=x".to_owned(), "from"),
        ("/v1/runs/aa/logs?from=1&tail=1".to_owned(), "from:"),
        ("/v1/nodes/other/images".to_owned(), "not other"),
        ("/v2/".to_owned(), "nothing answers at `/v2/`"),
        (format!("/v1/nodes/{node}/images/pull"), "`GET` is not answered at"),
    ] {
        let said = get(path.clone()).await;
        assert!(said.contains(expected), "{path}: {said}");
    }
    let run = RunId::from("aa");
    let path = format!("/v1/runs/{run}/exec");
    let upgrade = async |words: &[&str]| status_of(client.upgrade(&path, &exec(words)).await);
    assert!(upgrade(&[]).await.contains("command:"));
    assert!(upgrade(&["a\0b"]).await.contains("command:"));
    assert!(upgrade(&["true"]).await.contains("does not run"), "{}", upgrade(&["true"]).await);
    let plain = client.post::<_, serde_json::Value>(&path, &exec(&["true"])).await;
    assert!(status_of(plain).contains("upgrade"));
    let long = "x".repeat(100_000);
    assert!(upgrade(&[&long]).await.to_lowercase().contains("length"));
    let pull = PullImage { name: "NO such".to_owned() };
    let path = format!("/v1/nodes/{node}/images/pull");
    let said = status_of(client.post::<_, serde_json::Value>(path, &pull).await);
    assert!(said.contains("NO such"), "{said}");
    rig.finish().await;
}

/// People look at what a node has, and make room.
async fn images_are_listed_and_forgotten(kind: Kind) {
    let rig = Rig::start("images", kind).await;
    let path = format!("/v1/nodes/{}/images", rig.node);
    let all: Vec<ImageView> = rig.client.get(&path).await.unwrap();
    let tiny = all.iter().find(|image| image.name.contains("tiny")).expect("the built-in one");
    assert!(tiny.bytes > 0 && tiny.digest.starts_with("sha256:"));
    // No image, and a name that is none.
    let body = || http_body_util::Full::new(bytes::Bytes::from_static(b"no tar"));
    let body = || http_body_util::BodyExt::map_err(body(), |never| match never {});
    let said = status_of(rig.client.upload::<Vec<ImageView>>(&path, body()).await);
    assert!(said.contains("archive") || said.contains("tar"), "{said}");
    let bad = format!("{path}?name=a:b:c");
    let said = status_of(rig.client.upload::<Vec<ImageView>>(&bad, body()).await);
    assert!(said.contains("a:b:c"), "{said}");
    let gone = format!("{path}?name={}", tiny.name);
    let delete = async || rig.client.json::<(), Changed>(http::Method::DELETE, &gone, None).await;
    delete().await.unwrap();
    assert!(status_of(delete().await).contains("is not on node"));
    let all: Vec<ImageView> = rig.client.get(&path).await.unwrap();
    assert!(!all.iter().any(|image| image.name == tiny.name));
    rig.finish().await;
}
