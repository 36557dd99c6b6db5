//! Secrets: whatever is asked, no value is ever seen again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use mason::api::wire::{Apply, Changed, NewSecret, Planned, Text};
use mason_core::mirror::Mirror;

use super::{Site, check_refused, key, refused};
use crate::support::Kind;

on_both! {
    the_value_of_a_secret_is_nowhere
    texts_are_listed_by_their_keys_and_deleted
}

const CANARY: &str = "canary-4711-canary";
/// The same in base64, wherever in a group of three bytes it begins.
const CODED: [&str; 3] =
    ["Y2FuYXJ5LTQ3MTEtY2FuYXJ5", "NhbmFyeS00NzExLWNhbmFye", "jYW5hcnktNDcxMS1jYW5hcn"];

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check_unseen(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "{what}: {text}");
    for coded in CODED {
        assert!(!text.contains(coded), "{what}: {text}");
    }
}

/// A password in an error, a log or a plan is a password in a ticket, a chat and a backup.
async fn the_value_of_a_secret_is_nowhere(kind: Kind) {
    let log = Log::default();
    let writer = {
        let log = log.clone();
        move || log.clone()
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(writer)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let site = Site::start(kind).await;
    let secret = format!("{{kind: Secret, name: s, data: {{password: {CANARY}, user: bob}}}}");
    let kube =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: k}}\ndata: {{p: {}}}\n", CODED[0]);
    let mut answers = Vec::new();
    for text in [secret.clone(), kube, secret.replace("bob", "eve"), format!("{secret} {CANARY}")] {
        for path in ["/v1/plan", "/v1/apply"] {
            let apply = Apply { text: text.clone(), namespace: "default".into(), lenient: false };
            let body = serde_json::to_string(&apply).unwrap();
            answers.push(site.say(&format!("POST {path}"), &body).await);
        }
    }
    let data: BTreeMap<_, _> = [("password".to_owned(), CODED[0].to_owned())].into();
    let new = NewSecret { kind: "Opaque".into(), data };
    let body = serde_json::to_string(&new).unwrap();
    let put = "PUT /v1/secrets/default/s";
    answers.push(site.say(put, &body).await);
    // Mistakes, each with the value in another place.
    for bad in [
        format!("\"{CANARY}\""),
        format!("{{\"kind\": \"Opaque\", \"data\": \"{CANARY}\"}}"),
        format!("{{\"kind\": \"Opaque\", \"data\": {{\"p\": [\"{CANARY}\"]}}}}"),
        format!("{{\"kind\": \"Opaque\", \"data\": {{\"p\": \"{CANARY}\"}}}}"),
        format!("{{\"kind\": [\"{CANARY}\"], \"data\": {{}}}}"),
        format!("{{\"kind\": \"Opaque\", \"data\": {{\"p\": \"{CANARY}"),
        body.replace("\"data\"", "\"date\""),
    ] {
        answers.push(site.say(put, &bad).await);
        answers.push(site.say("POST /v1/apply", &bad).await);
    }
    for path in
        ["/v1/secrets", "/v1/configs", "/v1/objects", "/v1/events", "/v1/nodes", "/v1/health"]
    {
        answers.push(site.say(&format!("GET {path}"), "").await);
    }
    let ok = answers.iter().filter(|it| it.starts_with("HTTP/1.1 200")).count();
    assert!(ok >= 12, "the good ones were taken in: {ok} of {}", answers.len());
    answers.iter().for_each(|answer| check_unseen("an answer", answer));
    let (_, all) = site.store.read_all("/").await.unwrap();
    assert!(all.iter().any(|kv| kv.key.ends_with("secret/default/s")));
    for kv in &all {
        check_unseen(&kv.key, &String::from_utf8_lossy(&kv.value));
    }
    check_unseen("the log", &String::from_utf8_lossy(&log.0.lock().unwrap()));
    check_unseen("the copy", &site.shared.read(|mirror: &Mirror| format!("{mirror:?}")));
}

/// What there is can be seen, and taken away.
async fn texts_are_listed_by_their_keys_and_deleted(kind: Kind) {
    let site = Site::start(kind).await;
    let text = "{kind: Secret, name: s, data: {b: '1', a: '2'}}\n---\n\
                {kind: Config, name: c, data: {x: y}}";
    site.apply(text).await.unwrap();
    let again = site.apply(text).await.unwrap();
    let same = mason::api::wire::Outcome::Unchanged;
    assert!(again.objects.iter().all(|it| it.outcome == same), "sealed anew, and the same");
    let secrets: Vec<Text> = site.client.get("/v1/secrets?namespace=default").await.unwrap();
    let opaque = Text { key: key("s"), kind: "Opaque".into(), keys: vec!["a".into(), "b".into()] };
    assert_eq!(secrets, [opaque]);
    let configs: Vec<Text> = site.client.get("/v1/configs").await.unwrap();
    assert_eq!(configs[0].keys, ["x"]);
    let apply = Apply {
        text: text.replace("'1'", "'3'").replace("a: '2'", "c: '2'"),
        namespace: "default".into(),
        lenient: false,
    };
    let planned: Planned = site.client.post("/v1/plan", &apply).await.unwrap();
    let paths: Vec<&str> = planned.objects[0].changes.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["data.a", "data.b", "data.c"]);
    let delete =
        async |path: &str| site.client.json::<(), Changed>(http::Method::DELETE, path, None).await;
    for path in ["/v1/secrets/default/s", "/v1/configs/default/c"] {
        delete(path).await.unwrap();
        check_refused(delete(path).await, 404, "there is no");
    }
    let bad = NewSecret { kind: "Opaque".into(), data: [("a/b".into(), "eA==".into())].into() };
    let answer: Result<Changed, _> =
        site.client.json(http::Method::PUT, "/v1/secrets/default/s", Some(&bad)).await;
    let (status, refusal) = refused(answer);
    assert!(status == 400 && refusal.error.contains("`a/b` is no name of a value"), "{refusal:?}");
}
