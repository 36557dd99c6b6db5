//! What callers want of a shard: one list under one lock, taken whole.
//!
//! ```text
//!     callers ──► push ──► [ r r r r r ] ──► take: the list for an empty one ──► shard
//!                  │ the first rings                        │ somebody waits: let them in
//!                  └────────────────► bell                  └────────────────► room
//! ```
//!
//! What changes nothing (a read) need not wait behind what does: it has a list of its own, which is
//! taken first, and also while the shard takes no more of the other.
//!
//! A channel hands over one thing after the other, and both sides pay for each. Here a caller pays
//! for a lock that nobody holds for long, and the shard once for all that has gathered; the bell is
//! rung once for each time the list is taken. For callers who each wait for an answer this halves
//! what the way there and back costs.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The callers' side.
pub(crate) struct Inbox<T> {
    shared: Arc<Shared<T>>,
}

/// The shard's side. When it is dropped, nothing is taken any more.
pub(crate) struct Outlet<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    list: Mutex<List<T>>,
    /// The list is empty no more, or nobody will put anything into it.
    bell: Notify,
    /// Callers wait here while their list is full, one place for each.
    room: [Notify; 2],
    count_max: usize,
}

/// * There are never more than `count_max` things, nor more than as many that go first.
/// * Whoever waits for room is counted.
struct List<T> {
    lanes: [Queue<T>; 2],
    closed: bool,
}

struct Queue<T> {
    things: VecDeque<T>,
    waiting: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { things: VecDeque::new(), waiting: 0 }
    }
}

/// Which of the lists.
#[derive(Clone, Copy)]
enum Lane {
    Common,
    First,
}

impl<T> List<T> {
    fn lane(&mut self, lane: Lane) -> &mut Queue<T> {
        &mut self.lanes[lane as usize]
    }
}

/// A list for so many; beyond, callers wait.
pub(crate) fn inbox<T>(count_max: usize) -> (Inbox<T>, Outlet<T>) {
    let list = Mutex::new(List { lanes: Default::default(), closed: false });
    let (bell, room) = (Notify::new(), [Notify::new(), Notify::new()]);
    let shared = Arc::new(Shared { list, bell, room, count_max: count_max.max(1) });
    (Inbox { shared: Arc::clone(&shared) }, Outlet { shared })
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Inbox<T> {
        Inbox { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl<T> Inbox<T> {
    /// Puts it in, if there is room now. Else it goes in with the future that is returned, on the
    /// heap: callers by the thousand each keep what they wait with, and most wait for no room.
    pub(crate) fn put(&self, thing: T) -> Result<Option<Later<'_, T>>, T>
    where
        T: Send,
    {
        self.put_in(Lane::Common, thing)
    }

    fn put_in(&self, lane: Lane, thing: T) -> Result<Option<Later<'_, T>>, T>
    where
        T: Send,
    {
        match self.shared.try_put(lane, thing) {
            Tried::Done => Ok(None),
            Tried::Closed(thing) => Err(thing),
            Tried::Full(thing) => Ok(Some(Box::pin(self.put_later(lane, thing)))),
        }
    }

    /// Puts it in before all else, once there is room. It comes back if nobody will take it.
    pub(crate) async fn put_first_in_time(&self, thing: T) -> Result<(), T>
    where
        T: Send,
    {
        match self.put_in(Lane::First, thing)? {
            Some(later) => later.await,
            None => Ok(()),
        }
    }

    /// Puts it in, once there is room. It comes back if nobody will take it.
    pub(crate) async fn put_in_time(&self, thing: T) -> Result<(), T>
    where
        T: Send,
    {
        match self.put(thing)? {
            Some(later) => later.await,
            None => Ok(()),
        }
    }

    async fn put_later(&self, lane: Lane, mut thing: T) -> Result<(), T> {
        let _waiting = Waiting::new(&self.shared, lane);
        loop {
            let called = self.shared.room[lane as usize].notified();
            tokio::pin!(called);
            // From here on no call is missed.
            called.as_mut().enable();
            match self.shared.try_put(lane, thing) {
                Tried::Done => return Ok(()),
                Tried::Closed(thing) => return Err(thing),
                Tried::Full(back) => thing = back,
            }
            called.await;
        }
    }
}

/// What goes in once there is room. It comes back if nobody will take it.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = Result<(), T>> + Send + 'a>>;

enum Tried<T> {
    Done,
    Full(T),
    Closed(T),
}

impl<T> Shared<T> {
    fn try_put(&self, lane: Lane, thing: T) -> Tried<T> {
        let mut list = self.list.lock();
        if list.closed {
            return Tried::Closed(thing);
        }
        let things = &mut list.lane(lane).things;
        if things.len() >= self.count_max {
            return Tried::Full(thing);
        }
        things.push_back(thing);
        let rings = things.len() == 1;
        drop(list);
        if rings {
            self.bell.notify_one();
        }
        Tried::Done
    }
}

/// One caller who waits for room.
struct Waiting<'a, T>(&'a Shared<T>, Lane);

impl<'a, T> Waiting<'a, T> {
    fn new(shared: &'a Shared<T>, lane: Lane) -> Waiting<'a, T> {
        shared.list.lock().lane(lane).waiting += 1;
        Waiting(shared, lane)
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        self.0.list.lock().lane(self.1).waiting -= 1;
    }
}

impl<T> Outlet<T> {
    /// Resolves when there is something to take; with `only_first`, something that goes first.
    pub(crate) async fn filled(&self, only_first: bool) {
        let is_empty = || {
            let mut list = self.shared.list.lock();
            let first = list.lane(Lane::First).things.is_empty();
            first && (only_first || list.lane(Lane::Common).things.is_empty())
        };
        // What was taken by the way leaves a stroke of the bell behind.
        while is_empty() {
            self.shared.bell.notified().await;
        }
    }

    /// Takes all that goes first, for `empty`, which is empty.
    pub(crate) fn take_first(&self, empty: &mut VecDeque<T>) {
        self.swap(Lane::First, empty);
    }

    /// Takes all else, for `empty`, which is empty.
    pub(crate) fn take(&self, empty: &mut VecDeque<T>) {
        self.swap(Lane::Common, empty);
    }

    fn swap(&self, lane: Lane, empty: &mut VecDeque<T>) {
        let mut list = self.shared.list.lock();
        let queue = list.lane(lane);
        std::mem::swap(&mut queue.things, empty);
        let enter = queue.waiting.min(self.shared.count_max);
        drop(list);
        for _ in 0..enter {
            self.shared.room[lane as usize].notify_one();
        }
    }

    /// Takes nothing any more: what is there is returned, and whoever comes is sent away.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut list = self.shared.list.lock();
        list.closed = true;
        let mut all = std::mem::take(&mut list.lane(Lane::First).things);
        all.append(&mut list.lane(Lane::Common).things);
        drop(list);
        for room in &self.shared.room {
            room.notify_waiters();
        }
        all
    }
}

impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A bell that is missed, or room that nobody is told of, is a call that hangs for ever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_that_is_put_in_is_taken_once() {
        let (inbox, outlet) = inbox(3);
        let putters: Vec<_> = (0..8_u64)
            .map(|caller| {
                let inbox = inbox.clone();
                tokio::spawn(async move {
                    for i in 0..500 {
                        inbox.put_in_time(caller * 1000 + i).await.unwrap();
                    }
                })
            })
            .collect();
        let (mut taken, mut things) = (VecDeque::new(), VecDeque::new());
        while taken.len() < 8 * 500 {
            timeout(DEADLINE, outlet.filled(false)).await.expect("the bell is rung");
            outlet.take(&mut things);
            assert!(things.len() <= 3, "the bound holds");
            taken.append(&mut things);
        }
        for putter in putters {
            putter.await.unwrap();
        }
        for caller in 0..8 {
            let own = taken.iter().filter(|thing| **thing / 1000 == caller);
            assert!(own.copied().eq((0..500).map(|i| caller * 1000 + i)), "each in its order");
        }
    }

    /// Who waits for room and goes away must not take the room along.
    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_its_room_to_the_next() {
        let (inbox, outlet) = inbox(1);
        inbox.put_in_time(1).await.unwrap();
        let mut gives_up = Box::pin(inbox.put_in_time(2));
        assert!(timeout(Duration::ZERO, &mut gives_up).await.is_err());
        let stays = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.put_in_time(3).await }
        });
        tokio::task::yield_now().await;
        let mut things = VecDeque::new();
        outlet.take(&mut things);
        drop(gives_up);
        timeout(DEADLINE, stays).await.expect("it is let in").unwrap().unwrap();
        let mut more = VecDeque::new();
        outlet.take(&mut more);
        assert!(things == [1] && more == [3]);
    }

    /// Who reads must not wait behind those who write, least of all while nothing is written.
    #[tokio::test]
    async fn what_goes_first_is_taken_first_and_by_itself() {
        let (inbox, outlet) = inbox(2);
        assert!(inbox.put(1).unwrap().is_none() && inbox.put(2).unwrap().is_none());
        let full = inbox.put(3).unwrap();
        assert!(full.is_some(), "there is no room for more of these");
        assert!(timeout(Duration::ZERO, outlet.filled(true)).await.is_err());
        let reads = inbox.clone();
        let waits = tokio::spawn(async move {
            tokio::task::yield_now().await;
            reads.put_first_in_time(7).await.is_ok()
        });
        timeout(DEADLINE, outlet.filled(true)).await.expect("the bell is rung for it");
        assert!(waits.await.unwrap(), "it has room of its own");
        let (mut first, mut rest) = (VecDeque::new(), VecDeque::new());
        outlet.take_first(&mut first);
        timeout(DEADLINE, outlet.filled(false)).await.expect("the others are there");
        outlet.take(&mut rest);
        assert!(first == [7] && rest == [1, 2]);
    }

    /// When the shard is gone, those who wait hear of it as well as those who come.
    #[tokio::test]
    async fn nobody_waits_for_a_shard_that_is_gone() {
        let (inbox, outlet) = inbox(1);
        inbox.put_in_time(1).await.unwrap();
        let waits = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.put_in_time(2).await }
        });
        tokio::task::yield_now().await;
        drop(outlet);
        assert_eq!(timeout(DEADLINE, waits).await.expect("it is told").unwrap(), Err(2));
        assert_eq!(inbox.put_in_time(3).await, Err(3));
    }
}
