//! How much each user may have of this member.
//!
//! **The problem.** Where many share a cluster, one of them can take all of it, and admission by
//! load ([`crate::admission`]) then refuses everybody alike.
//!
//! **The idea.** `--user-limits` gives users a number of requests and bytes a second, and of
//! requests under way. Each user has buckets of his own ([`bucket`]) at every member; they know
//! nothing of each other, so that whoever spreads over three members has three times as much.
//!
//! ```text
//!   call ──► who is it? ──► rule ──► under way? requests? bytes? ──► serve ──► pay for the bytes
//!            user, certificate, address              └─ too many requests
//! ```
//!
//! **Who it is.** While authentication is on: the user, by token or certificate. While it is off:
//! the name in a verified certificate, else the address; all who come over Unix sockets are one.
//! Through the JSON gateway certificates name nobody.
//!
//! **What counts.** Every call counts as one request, when it begins. Streams do not count as under
//! way. The bytes of messages count, both ways, but not those of watches: what is sent there,
//! others have written. Free are what keeps a lease alive or ends it, logging in, the health check
//! and Status ([`is_free`]).
//!
//! **Bounds.** [`USERS_MAX`] are told apart. A user who has paid for everything and has nothing
//! under way is forgotten when room is needed, for a new one would be the same; if that is not
//! enough, further ones share a place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::admission::Reason;
use crate::grpc_method::Service;
use bucket::Bucket;
use rule::Rule;
pub(crate) use rule::Rules;

mod bucket;
mod rule;

/// Users that are told apart.
const USERS_MAX: usize = 10_000;
/// How long to wait until those are looked for again who need not be known.
const PRUNE_PAUSE: Duration = Duration::from_secs(1);

/// Who makes a call, as far as this matters here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// A user, or whom a certificate is for.
    User(Arc<str>),
    /// Somebody without a name, from there; `None` is this machine, over a Unix socket.
    From(Option<IpAddr>),
    /// One of too many.
    Crowd,
}

/// All limits, and what has been taken.
pub(crate) struct UserLimits {
    rules: Rules,
    users: Mutex<Users>,
    origin: Instant,
}

#[derive(Default)]
struct Users {
    known: HashMap<Who, Arc<User>>,
    /// When those were last forgotten who need not be known.
    pruned_at: Duration,
}

/// What a user has taken.
struct User {
    rule: Rule,
    account: Mutex<Account>,
    origin: Instant,
}

struct Account {
    requests: Option<Bucket>,
    bytes: Option<Bucket>,
    under_way: u64,
}

/// A call of a user who is bounded.
pub(crate) struct Visit {
    user: Arc<User>,
    counts: bool,
    pays: bool,
}

/// Whether a call is never refused here.
pub(crate) fn is_free(service: Service, name: &str) -> bool {
    match service {
        Service::Lease => matches!(name, "LeaseKeepAlive" | "LeaseRevoke"),
        Service::Auth => name == "Authenticate",
        Service::Maintenance => name == "Status",
        Service::Health => true,
        _ => false,
    }
}

/// Whether others decide how much a call sends.
fn is_fed_by_others(service: Service, name: &str) -> bool {
    service == Service::Watch || (service == Service::Election && name == "Observe")
}

impl UserLimits {
    /// As the flag says; `None` if that is nothing.
    pub(crate) fn new(rules: Rules) -> Option<UserLimits> {
        let (users, origin) = (Mutex::default(), Instant::now());
        (!rules.is_empty()).then_some(UserLimits { rules, users, origin })
    }

    /// Lets a call begin; `None` if nothing bounds its user.
    ///
    /// # Errors
    /// Of what there was too much.
    pub(crate) fn begin(
        &self,
        who: Who,
        (service, name, is_unary): (Service, &str, bool),
    ) -> Result<Option<Visit>, Reason> {
        if is_free(service, name) {
            return Ok(None);
        }
        let Some(user) = self.user(who) else { return Ok(None) };
        user.account.lock().begin(&user.rule, self.origin.elapsed(), is_unary)?;
        Ok(Some(Visit { user, counts: is_unary, pays: !is_fed_by_others(service, name) }))
    }

    fn user(&self, who: Who) -> Option<Arc<User>> {
        let rule = match &who {
            Who::User(name) => self.rules.of_user(name),
            Who::From(_) | Who::Crowd => self.rules.of_nameless(),
        }?;
        let mut users = self.users.lock();
        if let Some(user) = users.known.get(&who) {
            return Some(user.clone());
        }
        let now = self.origin.elapsed();
        if users.known.len() >= USERS_MAX && now - users.pruned_at >= PRUNE_PAUSE {
            users.known.retain(|_, user| !user.account.lock().is_settled(now));
            users.pruned_at = now;
        }
        let who = if users.known.len() >= USERS_MAX { Who::Crowd } else { who };
        let user = users.known.entry(who).or_insert_with(|| {
            let account = Mutex::new(Account::new(&rule, now));
            Arc::new(User { rule, account, origin: self.origin })
        });
        Some(user.clone())
    }
}

impl Account {
    fn new(rule: &Rule, now: Duration) -> Account {
        let bucket = |rate: Option<u64>| rate.map(|rate| Bucket::new(rate, now));
        Account { requests: bucket(rule.requests), bytes: bucket(rule.bytes), under_way: 0 }
    }

    fn begin(&mut self, rule: &Rule, now: Duration, counts: bool) -> Result<(), Reason> {
        if counts && rule.in_flight.is_some_and(|most| self.under_way >= most) {
            return Err(Reason::UserInFlight);
        }
        if self.bytes.as_mut().is_some_and(|bytes| !bytes.has_any(now)) {
            return Err(Reason::UserBytes);
        }
        if let Some(requests) = &mut self.requests {
            if !requests.has_any(now) {
                return Err(Reason::UserRequests);
            }
            requests.take(1);
        }
        self.under_way += u64::from(counts);
        Ok(())
    }

    fn is_settled(&mut self, now: Duration) -> bool {
        let buckets = [&mut self.requests, &mut self.bytes];
        let full = buckets.into_iter().flatten().all(|bucket| bucket.is_full(now));
        full && self.under_way == 0
    }
}

impl Visit {
    /// Pays for a message.
    pub(crate) fn pay(&self, bytes: u64) {
        if self.pays
            && let Some(bucket) = &mut self.user.account.lock().bytes
        {
            // What has come in meanwhile first: a bucket that is full takes no more.
            bucket.has_any(self.user.origin.elapsed());
            bucket.take(bytes);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.counts {
            self.user.account.lock().under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: (Service, &str, bool) = (Service::Kv, "Put", true);

    fn limits(text: &str) -> UserLimits {
        UserLimits::new(Rules::parse(text).unwrap()).unwrap()
    }

    fn user(name: &str) -> Who {
        Who::User(name.into())
    }

    // What one user has taken must be missing to nobody else.
    #[test]
    fn users_are_bounded_each_by_himself() {
        let limits = limits("*=requests:3");
        for _ in 0..3 {
            assert!(limits.begin(user("alice"), PUT).unwrap().is_some());
        }
        let refused = limits.begin(user("alice"), PUT).map(drop);
        assert_eq!(refused, Err(Reason::UserRequests));
        assert!(limits.begin(user("bob"), PUT).is_ok());
        assert!(limits.begin(user("root"), PUT).unwrap().is_none(), "nobody bounds root");
        assert!(limits.begin(Who::From(None), PUT).unwrap().is_none(), "there is no rule for it");
    }

    // A user without tokens must not lose his leases, nor the way in.
    #[test]
    fn what_keeps_a_user_alive_is_free() {
        let limits = limits("*=requests:1");
        limits.begin(user("alice"), PUT).unwrap();
        assert!(limits.begin(user("alice"), PUT).is_err());
        for free in [
            (Service::Lease, "LeaseKeepAlive", false),
            (Service::Lease, "LeaseRevoke", true),
            (Service::Auth, "Authenticate", true),
            (Service::Maintenance, "Status", true),
        ] {
            assert!(limits.begin(user("alice"), free).unwrap().is_none(), "{free:?}");
        }
        assert!(limits.begin(user("alice"), (Service::Lease, "LeaseGrant", true)).is_err());
    }

    // A call that ends, however it does, makes room for the next.
    #[test]
    fn calls_under_way_are_counted_until_they_end() {
        let limits = limits("?=in-flight:1");
        let who = || Who::From(Some(IpAddr::from([127, 0, 0, 1])));
        let first = limits.begin(who(), PUT).unwrap();
        assert_eq!(limits.begin(who(), PUT).map(drop), Err(Reason::UserInFlight));
        let watch = limits.begin(who(), (Service::Watch, "Watch", false));
        assert!(watch.is_ok(), "a stream is under way for ever");
        assert!(limits.begin(Who::From(None), PUT).is_ok(), "it is somebody else");
        drop(first);
        assert!(limits.begin(who(), PUT).is_ok());
    }

    // Bytes are paid for when they are known; of what others write, no watcher pays.
    #[test]
    fn bytes_are_paid_for_afterwards() {
        let limits = limits("*=bytes:1000");
        let put = limits.begin(user("alice"), PUT).unwrap().unwrap();
        let watch = limits.begin(user("alice"), (Service::Watch, "Watch", false));
        watch.unwrap().unwrap().pay(1 << 30);
        assert!(limits.begin(user("alice"), PUT).is_ok());
        put.pay(1 << 30);
        assert_eq!(limits.begin(user("alice"), PUT).map(drop), Err(Reason::UserBytes));
    }

    // Whoever makes up users, or comes from everywhere, must not fill the memory.
    #[test]
    fn further_users_share_a_place_until_others_are_forgotten() {
        let limits = limits("?=requests:1");
        let from = |number: u32| Who::From(Some(IpAddr::from(number.to_be_bytes())));
        for number in 0..USERS_MAX as u32 {
            limits.begin(from(number), PUT).unwrap();
        }
        let first = USERS_MAX as u32;
        assert!(limits.begin(from(first), PUT).is_ok(), "the crowd has taken nothing yet");
        assert!(limits.begin(from(first + 1), PUT).is_err(), "now it has");
        assert_eq!(limits.users.lock().known.len(), USERS_MAX + 1);

        // All have slept for a minute.
        let mut later = limits;
        later.origin = later.origin.checked_sub(Duration::from_secs(60)).expect("it is not 1970");
        assert!(later.begin(from(first + 2), PUT).is_ok());
        assert_eq!(later.users.lock().known.len(), 1, "whoever is settled is forgotten");
    }
}
