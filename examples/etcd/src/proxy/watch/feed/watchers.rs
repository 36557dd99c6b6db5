//! Who has his events from a feed: how they get them, how they come, and how they go.

use std::sync::atomic::Ordering;

use drystone_etcd_api::etcdserverpb as pb;
use pb::{ResponseHeader, WatchResponse};
use tokio::sync::oneshot;
use tonic::Status;

use super::{Command, Feed, Life, NO_WATCHER, UNKNOWN};
use crate::proxy::watch::hub::Shared;
use crate::proxy::watch::watcher::Watcher;

impl Feed {
    /// To all watchers, of whom none is waited for.
    pub(super) fn spread(&mut self, message: &WatchResponse) {
        let mut slow = Vec::new();
        for (at, watcher) in self.watchers.iter_mut().enumerate() {
            let before = watcher.next;
            let messages = watcher.see(message);
            if messages.is_empty() {
                continue;
            }
            // It is told of progress another time.
            if !watcher.out.try_send_all(messages) && !message.events.is_empty() {
                watcher.next = before;
                slow.push(at);
            }
        }
        for at in slow.into_iter().rev() {
            let watcher = self.watchers.swap_remove(at);
            self.proxy.watches.count(0, -1);
            if !watcher.out.is_closed() {
                Feed::spawn(&self.proxy, self.topic.clone(), watcher.next, watcher);
            }
        }
    }

    /// To the one watcher, which is waited for.
    pub(super) async fn deliver(&mut self, message: &WatchResponse) {
        let Some(watcher) = self.watchers.first_mut() else { return };
        let (messages, out) = (watcher.see(message), watcher.out.clone());
        for message in messages {
            let mut sent = std::pin::pin!(out.send(Ok(message)));
            loop {
                tokio::select! {
                    () = &mut sent => break,
                    command = self.commands.recv() => {
                        if self.take(command) == Life::Ended {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Hands the watcher of an own feed to the topic's feed, if it can go on there; and if there is
    /// none and this one has caught up, this is it.
    pub(super) async fn merge(&mut self, caught_up: bool) {
        if self.is_shared {
            return;
        }
        let Some(shared) = self.proxy.watches.find(&self.topic) else {
            let feed = Shared { next: self.next.clone(), commands: self.own.clone() };
            self.is_shared = caught_up && self.proxy.watches.offer(&self.topic, feed);
            return;
        };
        if self.next() < shared.next.load(Ordering::Acquire) || self.watchers.len() != 1 {
            return;
        }
        let Some(mut watcher) = self.watchers.pop() else { return };
        // What it did not want is behind it.
        watcher.next = watcher.next.max(self.next());
        let (reply, answer) = oneshot::channel();
        let join = Command::Join { watcher: Box::new(watcher), at: None, reply };
        let back = match shared.commands.send(join) {
            Ok(()) => answer.await.unwrap_or(None),
            Err(unsent) => unsent.0.into_watcher(),
        };
        match back {
            Some(back) => {
                back.leash.move_to(self.own.clone());
                self.watchers.push(*back);
                self.let_go();
            }
            None => self.proxy.watches.count(0, -1),
        }
    }

    /// Takes one more in. It comes back if it would miss something.
    pub(super) fn join(
        &mut self,
        mut watcher: Box<Watcher>,
        at: Option<ResponseHeader>,
    ) -> Option<Box<Watcher>> {
        let next = self.next();
        let begins_now = watcher.next == 0;
        if next == UNKNOWN && !(begins_now && at.is_none()) {
            return Some(watcher);
        }
        if next != UNKNOWN {
            let begun = match at {
                Some(at) if begins_now => next.max(at.revision + 1),
                // It was to wait for the creation, which has been meanwhile: no word for it.
                None if begins_now => return Some(watcher),
                _ => watcher.next,
            };
            if begun < next {
                return Some(watcher);
            }
            if watcher.is_new() {
                let Some(mut header) = at else { return Some(watcher) };
                if begins_now {
                    header.revision = begun - 1;
                }
                let created = WatchResponse {
                    header: Some(header),
                    watch_id: watcher.id,
                    created: true,
                    ..Default::default()
                };
                watcher.be_created(created);
            }
            watcher.next = begun;
        }
        watcher.leash.move_to(self.own.clone());
        self.proxy.watches.count(0, 1);
        self.watchers.push(*watcher);
        None
    }

    /// Parts from the watchers that have been let go.
    pub(super) fn let_go(&mut self) {
        let mut at = 0;
        while at < self.watchers.len() {
            let Some(is_waited_for) = self.watchers[at].leash.is_gone() else {
                at += 1;
                continue;
            };
            let watcher = self.watchers.swap_remove(at);
            self.proxy.watches.count(0, -1);
            if is_waited_for {
                let header = Some(self.header);
                let watch_id = watcher.id;
                let last = WatchResponse { header, watch_id, canceled: true, ..Default::default() };
                watcher.bid_farewell(Ok(last));
            }
        }
        self.to_ask.retain(|it| !it.reply.is_closed());
    }

    /// The member has ended the watch, or has never begun it.
    pub(super) fn cancel_all(&mut self, message: &WatchResponse) {
        for watcher in self.part_with_all() {
            let is_new = watcher.is_new();
            // A watcher that never was has no id; one that was, was created long ago.
            let last = WatchResponse {
                watch_id: if is_new && message.created { NO_WATCHER } else { watcher.id },
                created: is_new && message.created,
                ..message.clone()
            };
            watcher.bid_farewell(Ok(last));
        }
    }

    /// Ends the streams of all watchers.
    pub(super) fn fail_all(&mut self, status: &Status) {
        for watcher in self.part_with_all() {
            watcher.bid_farewell(Err(status.clone()));
        }
    }

    fn part_with_all(&mut self) -> Vec<Watcher> {
        let all = std::mem::take(&mut self.watchers);
        self.proxy.watches.count(0, -(all.len() as i64));
        all
    }
}
