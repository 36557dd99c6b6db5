//! What is said when nobody answers, or the wrong one.

use std::time::Duration;

use mason::store::{Settings, Store, StoreError};
use mason_core::keys::Keys;
use tokio::net::TcpListener;

use crate::support::proxy::{Proxy, Way};
use crate::support::{Kind, Solo, connect_with, puts};

on_both! {
    one_endpoint_of_several_is_enough
    another_cluster_is_not_taken_for_the_first
}

fn hasty() -> Settings {
    let mut settings = Settings::default();
    settings.patience = Duration::from_millis(300);
    settings.call_max = Duration::from_millis(200);
    settings
}

async fn refusal(endpoints: &[&str]) -> String {
    let urls: Vec<String> = endpoints.iter().map(|url| (*url).to_owned()).collect();
    let error = Store::connect_with(&urls, Keys::default(), hasty()).await.unwrap_err();
    error.to_string()
}

/// A wrong endpoint is the first mistake of every installation: it must be named.
#[test]
fn endpoints_that_do_not_answer_are_named() {
    crate::support::run("endpoints::named", Kind::Ours, async |_| {
        assert_eq!(refusal(&[]).await, "no endpoint of the store is given");
        let bad = refusal(&["http://what is this"]).await;
        assert_eq!(bad, "`http://what is this` is no endpoint of a store");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("http://{}", silent.local_addr().unwrap());
        let text = refusal(&[&silent]).await;
        assert!(
            text.starts_with(&format!("no answer from the store, last asked at {silent}")),
            "{text}"
        );
        let nobody = "http://127.0.0.1:1";
        let text = refusal(&[nobody]).await;
        assert!(text.contains(nobody), "{text}");
    });
}

/// Operators list all members, and some of them are down.
async fn one_endpoint_of_several_is_enough(kind: Kind) {
    let solo = Solo::start(kind).await;
    let urls = ["http://127.0.0.1:1".to_owned(), solo.url(), "http://127.0.0.1:2".to_owned()];
    for _ in 0..5 {
        let store = connect_with(&urls, |_| {}).await;
        assert!(store.commit(&puts(&[("/t/a", "1")])).await.unwrap().succeeded);
        assert_eq!(store.endpoint(), solo.url());
    }
}

/// A port that another store has taken meanwhile: its revisions, compared with ours, would do harm.
async fn another_cluster_is_not_taken_for_the_first(kind: Kind) {
    let (one, two) = (Solo::start(kind).await, Solo::start(Kind::Ours).await);
    let proxies = [Proxy::to(&one.url()).await, Proxy::to(&two.url()).await];
    proxies[1].set(Way::Cut);
    let store = connect_with(&[proxies[0].url(), proxies[1].url()], |_| {}).await;
    store.commit(&puts(&[("/t/a", "1")])).await.unwrap();
    let mut watch = store.watch("/t/", 1);
    watch.next().await.unwrap();
    proxies[0].set(Way::Cut);
    proxies[1].set(Way::Open);
    assert!(matches!(watch.next().await, Err(StoreError::OtherCluster { .. })));
    let error = store.get("/t/a").await.unwrap_err();
    assert!(matches!(error, StoreError::OtherCluster { .. }), "{error:?}");
    assert!(error.to_string().contains(&proxies[1].url()), "{error}");
}
