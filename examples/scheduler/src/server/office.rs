//! Standing for the office of leader, over and over.
//!
//! An office is the key of one session. It is held by one leader at most, and once: when that one
//! goes, for whatever reason, the session is ended and another one stands anew. So nothing that was
//! sent under an office that was given up can change the store when its successor decides.

use std::time::Duration;

use mason_core::protocol::Office;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::store::{Session, Store, StoreError, now};

/// How long a server's lease lasts without a word of it.
const TTL: Duration = Duration::from_secs(5);
/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(1_500);
/// How long it waits after a failure to stand again.
const PAUSE: Duration = Duration::from_millis(500);

/// News of the office.
#[derive(Debug)]
pub(super) enum Word {
    /// It is ours.
    Won(Office),
    /// It is not, or may not be, any more.
    Lost,
}

/// A place on the bench of candidates. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Bench {
    words: mpsc::Receiver<Word>,
    /// None when it was left.
    resign: Option<mpsc::Sender<()>>,
    task: JoinHandle<()>,
}

impl Bench {
    /// Stands, and stands again whenever it has lost.
    pub(super) fn sit(store: Store, name: &str) -> Bench {
        let (told, words) = mpsc::channel(1);
        let (resign, asked) = mpsc::channel(1);
        let task = tokio::spawn(stand_for_ever(store, name.to_owned(), told, asked));
        Bench { words, resign: Some(resign), task }
    }

    /// What happens next.
    pub(super) async fn next(&mut self) -> Word {
        match self.words.recv().await {
            Some(word) => word,
            None => std::future::pending().await,
        }
    }

    /// Gives the office up, if it has it or is about to win it.
    pub(super) fn resign(&mut self) {
        // Somebody has asked for it already: that will do.
        let _ = self.resign.as_ref().map(|resign| resign.try_send(()));
    }

    /// Gives the office up and stands no more: another server need not wait until the lease has
    /// run out. Returns when the store knows.
    pub(super) async fn leave(&mut self) {
        // What is told from now on is heard by nobody.
        self.words.close();
        self.resign = None;
        // It ends with an error if it panicked, and then holds nothing either.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn stand_for_ever(
    store: Store,
    name: String,
    told: mpsc::Sender<Word>,
    mut resign: mpsc::Receiver<()>,
) {
    loop {
        match stand(&store, &name, &told, &mut resign).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot stand for leader");
                if !resign.is_closed() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // Whoever left the bench stands no more.
        if told.send(Word::Lost).await.is_err() || resign.is_closed() {
            return;
        }
    }
}

/// One candidacy, from its session to its end.
async fn stand(
    store: &Store,
    name: &str,
    told: &mpsc::Sender<Word>,
    resign: &mut mpsc::Receiver<()>,
) -> Result<(), StoreError> {
    let session = Session::open(store, TTL, RENEW).await?;
    let election = store.election();
    let won = tokio::select! {
        won = election.campaign(&session, name.as_bytes()) => won,
        _ = resign.recv() => return session.close().await,
    };
    let held = match won {
        Ok(office) => {
            // What was asked for before this office is of an earlier one.
            while resign.try_recv().is_ok() {}
            let _ = told.send(Word::Won(office)).await;
            tokio::select! {
                () = is_late(&session) => {}
                _ = session.lost() => {}
                _ = resign.recv() => {}
            }
            Ok(())
        }
        Err(error) => Err(error),
    };
    let _ = told.send(Word::Lost).await;
    // If nobody can be told, it runs out by itself, and the next waits for that.
    let closed = session.close().await;
    held.and(closed)
}

/// Resolves when the lease may have run out, for all that is known.
async fn is_late(session: &Session) {
    let pulse = session.pulse();
    loop {
        let (asked, ttl) = {
            let pulse = pulse.borrow();
            (pulse.asked, pulse.ttl)
        };
        let Some(rest) = (asked + ttl).checked_sub(now()).filter(|rest| *rest > 0) else { return };
        tokio::time::sleep(Duration::from_millis(rest)).await;
    }
}
