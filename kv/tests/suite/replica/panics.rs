//! A thread that panics ends its member, and whoever runs it is told.

use std::time::Duration;

use drystone_kv::runtime::{Observer, Tally};

use super::*;

/// Panics on the thread that applies, at the first batch of two commands or more.
#[derive(Debug)]
struct Mine;

impl Observer for Mine {
    fn applied(&self, commands: &Tally, _: Duration) {
        assert!(commands.total() < 2, "this is what the test wants");
    }

    fn restoring(&self, _: bool) {}
}

/// How long the member is given to notice.
const PATIENCE: Duration = Duration::from_secs(20);

/// A member that cannot apply is of no use, and looks like one that is: it leads, and is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_while_applying_ends_the_member() {
    let mut party = Party::new(0, |options| options.observer = Arc::new(Mine)).await;
    party.founders = vec![member(1)];
    let one = party.start(1).await;
    one.linearize().await.expect("it leads");
    let failed = tokio::spawn({
        let one = one.clone();
        async move { one.failed().await }
    });
    // Sooner or later two of them meet.
    let puts = (0..64).map(|number| {
        let one = one.clone();
        tokio::spawn(async move { one.propose(put("k", &number.to_string())).await.is_ok() })
    });
    for put in puts.collect::<Vec<_>>() {
        let _ = tokio::time::timeout(PATIENCE, put).await.expect("each is answered, or refused");
    }
    let error = tokio::time::timeout(PATIENCE, failed).await.expect("it is told");
    assert!(matches!(error, Ok(Error::Stopped)), "{error:?}");
}

/// Who shuts a member down knows it already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_is_no_failure() {
    let mut party = Party::new(0, |_| {}).await;
    party.founders = vec![member(1)];
    let one = party.start(1).await;
    one.linearize().await.expect("it leads");
    let failed = tokio::spawn({
        let one = one.clone();
        async move { one.failed().await }
    });
    one.shutdown().await.expect("the disk is sound");
    let told = tokio::time::timeout(Duration::from_millis(300), failed).await;
    assert!(told.is_err(), "it was asked to: {told:?}");
}
