//! Watches: many of clients', few at the members.
//!
//! **The problem.** A thousand clients watch one prefix. A member should read, pack and send each
//! event once, and not a thousand times.
//!
//! **The idea.** A [`Feed`](feed::Feed) is one watch at a member, and has any number of watchers of
//! clients. The [`Hub`] knows, for each range and asker, the feed that new watchers may join:
//!
//! ```text
//!   client ── Session ── Watcher ─┐
//!   client ── Session ── Watcher ─┼── shared Feed ── one watch at a member
//!                     └─ Watcher ─┘        ▲ joins when it has caught up
//!   client ── Session ── Watcher ───── own Feed ──── a watch of its own
//! ```
//!
//! A watcher's place is its `next` revision: it has had all events below and none from there on. So
//! has a feed. A watcher may join a feed whose `next` is not beyond its own, and what it has had
//! already is left out for it. One that begins in the past has a feed of its own until it has
//! caught up; one that does not read gets one again, and holds up nobody else: a shared feed waits
//! for no one, an own feed waits for its watcher, and with it the member does.
//!
//! **Nobody hears what he may not.** A feed is shared only under the same token, so that it shows
//! what the member shows to that token; and whoever joins is first let through by the member, with
//! a read of that range which counts one key. What the member refuses, it refuses in its own words.
//!
//! **When a member dies** a feed goes on at another one from its `next`: nothing is lost or
//! doubled. If that has been compacted meanwhile, its watchers are told so.
//!
//! **Answers in order.** A stream's creations are done one after another: clients take the answers
//! for those of their requests in order.

mod feed;
mod hub;
mod line;
mod out;
mod session;
mod watcher;

pub(crate) use hub::Hub;
pub(crate) use session::serve;
