//! Events: what happened is told, once, and in its order.

use mason::api::client::ClientError;
use mason::api::wire::{Change, Event};
use mason_core::keys::Key;
use mason_core::record::{Exit, Reason, ResultRecord, RunPhase, SeenRecord, encode};
use mason_core::txn::Txn;

use super::{Site, check_refused, key};
use crate::support::{Kind, until};

on_both! {
    the_life_of_a_task_is_told_step_by_step
    followers_hear_of_what_comes
    a_server_tells_of_the_time_before_it
}

async fn events(site: &Site, query: &str) -> Vec<Event> {
    let mut lines = site.client.lines(format!("/v1/events{query}")).await.unwrap();
    let mut all = Vec::new();
    while let Some(event) = lines.next::<Event>().await.unwrap() {
        all.push(event);
    }
    all
}

fn words(events: &[Event]) -> Vec<&str> {
    events.iter().map(|it| it.what.as_str()).collect()
}

/// Plays an agent that runs a task to this code.
async fn play(site: &Site, code: i32) {
    let run = site.shows(|mirror| mirror.node(&"n1".into())?.runs.first().cloned()).await;
    let path = |key| site.store.keys().path(&key);
    for (phase, ready) in [(RunPhase::Claimed, false), (RunPhase::Running, true)] {
        let (message, started_at) = (String::new(), None);
        let seen = SeenRecord { epoch: 1, phase, ready, since: 5, started_at, message };
        let path = path(Key::Seen("n1".into(), run.clone()));
        site.commit(Txn::new().put(path, encode(&seen))).await;
    }
    let exit = Exit { code: Some(code), ..Exit::without_code(Reason::Exited, "", 6) };
    let result = ResultRecord { task: key("a").task(0), node: "n1".into(), exit };
    let txn = Txn::new().put(path(Key::Result(run.clone())), encode(&result));
    assert!(site.store.commit(&txn).await.unwrap().succeeded);
    site.shows(|mirror| mirror.run(&run).is_none().then_some(())).await;
}

/// "What happened to my job?" is asked when it is over: all of it must still be there.
async fn the_life_of_a_task_is_told_step_by_step(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    let job = "{kind: Job, name: a, image: a, retry: {attempts: 2, backoff: {initial: 1ms}}}";
    site.apply(job).await.unwrap();
    play(&site, 3).await;
    play(&site, 0).await;
    let is_over = |mirror: &mason_core::mirror::Mirror| {
        mirror.job(&key("a"))?.state.as_ref().filter(|it| it.value.phase.is_final()).map(|_| ())
    };
    site.shows(is_over).await;
    let all = events(&site, "?namespace=default&name=a").await;
    assert_eq!(
        words(&all),
        [
            "created",
            "waiting",
            "active",
            "bound",
            "claimed",
            "ready",
            "exited",
            "retry",
            "bound",
            "claimed",
            "ready",
            "exited",
            "succeeded",
        ]
    );
    assert_eq!(all[6].message, "with code 3");
    assert!(all[6].run.is_some() && all[6].index == Some(0) && all[6].revision > 0);
    assert!(all.is_sorted_by_key(|it| it.revision));
    let later = events(&site, &format!("?namespace=default&after={}", all[6].revision)).await;
    assert_eq!(later, all[7..]);
    let node = events(&site, "?node=n1").await;
    assert_eq!(words(&node)[..3], ["added", "joined", "bound"]);
    for bad in ["?name=a", "?namespace=A", "?after=x", "?what=bound"] {
        let refused: Result<Event, ClientError> = site.client.get(format!("/v1/events{bad}")).await;
        check_refused(refused, 400, "");
    }
}

/// A dashboard that polls shows yesterday.
async fn followers_hear_of_what_comes(kind: Kind) {
    let site = Site::start(kind).await;
    let mut lines = site.client.lines("/v1/events?namespace=default&follow=true").await.unwrap();
    site.apply("{kind: Job, name: a, image: a}").await.unwrap();
    site.apply("{kind: Job, name: b, image: a, suspend: true}").await.unwrap();
    site.verb("b", "resume", Change::default()).await.unwrap();
    let mut heard = Vec::new();
    while heard.last().is_none_or(|it: &Event| it.what != "resume") {
        heard.push(lines.next::<Event>().await.unwrap().unwrap());
    }
    assert_eq!(heard[0].what, "created");
    let of_b = heard.iter().filter(|it| it.job == Some(key("b"))).count();
    assert!(of_b >= 2 && heard.len() > of_b, "{heard:?}");
}

/// A server that was started a minute ago still knows when a job was made.
async fn a_server_tells_of_the_time_before_it(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply("{kind: Job, name: a, image: a}").await.unwrap();
    let (second, desk) = mason::server::Server::start(site.store.clone(), "http://there:7070");
    let told = until(async || {
        let (events, _) = second.shared().chronicle().since(0, 99, |event| event.what == "created");
        events.first().cloned()
    })
    .await;
    assert_eq!((told.job.clone(), told.revision), (Some(key("a")), 0));
    desk.abort();
}
