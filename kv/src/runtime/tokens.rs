//! Who was recognised lately: the tokens that this member knows.
//!
//! **The problem.** A client is recognised by one member, which costs that member a tenth of a
//! second, and then asks any of them. So all must know its token; and none may write it down, since
//! whoever reads a disk or a backup would be that client.
//!
//! **The idea.** What goes through the log is the token's SHA-256. Every member notes it when the
//! command is applied, in memory, together with the user. A token that is shown is hashed and
//! looked up:
//!
//! ```text
//!   log:    authenticate alice, 5f16…          in memory: 5f16… ──► alice, until 12:05
//!   client: "Gmv…"  ──SHA-256──► 5f16…                               each use: five minutes more
//! ```
//!
//! A token has as many random bits as its hash is worth: nothing need slow a guesser down.
//!
//! Tokens do not outlive the process, as in etcd: what a log replays was noted in another life, and
//! may have ended in it. Nor do they come with another member's state. A client whose token is not
//! known says its password once more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drystone_vfs::Clock;
use parking_lot::Mutex;

use crate::command::AuthChange;

/// Most tokens that are known at once; a client that comes in beyond is not recognised until some
/// have ended.
const TOKENS_MAX: usize = 1 << 18;

/// The SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// The tokens that this member knows.
pub(crate) struct Tokens {
    clock: Arc<dyn Clock>,
    ttl: Duration,
    /// Commands of the log up to here were applied, or could have been, in another life.
    replayed: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    known: HashMap<TokenHash, Token>,
    /// At so many those that have ended are looked for.
    sweep_at: usize,
}

struct Token {
    user: Arc<str>,
    /// By the clock's monotonic time.
    until: Duration,
}

impl Tokens {
    pub(crate) fn new(clock: Arc<dyn Clock>, ttl: Duration) -> Tokens {
        Tokens { clock, ttl, replayed: AtomicU64::new(u64::MAX), table: Mutex::default() }
    }

    /// The log went up to `last` when the process began.
    pub(crate) fn begin_after(&self, last: u64) {
        self.replayed.store(last, Ordering::Release);
    }

    /// A change of the log that was done, at `index`.
    pub(crate) fn note(&self, index: u64, change: &AuthChange) {
        match change {
            AuthChange::Disable => self.forget_all(),
            AuthChange::UserDelete { name } | AuthChange::UserChangePassword { name, .. } => {
                self.table.lock().known.retain(|_, token| *token.user != **name);
            }
            AuthChange::Authenticate { user, token: Some(hash), .. }
                if index > self.replayed.load(Ordering::Acquire) =>
            {
                self.add(*hash, user);
            }
            _ => {}
        }
    }

    fn add(&self, hash: TokenHash, user: &str) {
        let now = self.clock.monotonic();
        let mut table = self.table.lock();
        if table.known.len() >= table.sweep_at {
            table.known.retain(|_, token| now < token.until);
            // Looked at again when there are twice as many: each pays for two looks.
            table.sweep_at = (2 * table.known.len()).clamp(64, TOKENS_MAX);
        }
        if table.known.len() < TOKENS_MAX {
            table.known.insert(hash, Token { user: user.into(), until: now + self.ttl });
        }
    }

    /// Whose token it is; from now on it lives its full time again.
    pub(crate) fn find(&self, hash: &TokenHash) -> Option<Arc<str>> {
        let now = self.clock.monotonic();
        let mut table = self.table.lock();
        let token = table.known.get_mut(hash).filter(|token| now < token.until)?;
        token.until = now + self.ttl;
        Some(Arc::clone(&token.user))
    }

    pub(crate) fn forget_all(&self) {
        self.table.lock().known.clear();
    }
}

#[cfg(test)]
mod tests {
    use drystone_vfs::SimClock;

    use super::*;

    fn authenticate(user: &str, token: u8) -> AuthChange {
        AuthChange::Authenticate { user: user.into(), revision: 1, token: Some([token; 32]) }
    }

    fn tokens() -> (Arc<SimClock>, Tokens) {
        let clock = Arc::new(SimClock::new());
        let tokens = Tokens::new(clock.clone(), Duration::from_secs(300));
        tokens.begin_after(7);
        (clock, tokens)
    }

    // etcd's rule: every use prolongs it, and nothing else does.
    #[test]
    fn tokens_live_as_long_as_they_are_used() {
        let (clock, tokens) = tokens();
        tokens.note(8, &authenticate("alice", 1));
        for _ in 0..3 {
            clock.advance(Duration::from_secs(299));
            assert_eq!(tokens.find(&[1; 32]).as_deref(), Some("alice"));
        }
        clock.advance(Duration::from_secs(300));
        assert_eq!(tokens.find(&[1; 32]), None);
        assert_eq!(tokens.find(&[2; 32]), None);
    }

    // A token of somebody who is gone, or whose password leaked and was changed, must be worthless.
    #[test]
    fn tokens_end_with_their_user_password_and_process() {
        let (_, tokens) = tokens();
        let change = |name: &str| AuthChange::UserChangePassword {
            name: name.into(),
            password: bytes::Bytes::new(),
        };
        for end in
            [AuthChange::UserDelete { name: "alice".into() }, change("alice"), AuthChange::Disable]
        {
            tokens.note(8, &authenticate("alice", 1));
            tokens.note(8, &authenticate("bob", 2));
            tokens.note(9, &end);
            assert_eq!(tokens.find(&[1; 32]), None, "{end:?}");
            let bob = tokens.find(&[2; 32]);
            assert_eq!(bob.is_some(), end != AuthChange::Disable, "{end:?}");
        }
        tokens.note(7, &authenticate("alice", 3));
        assert_eq!(tokens.find(&[3; 32]), None, "what is replayed was another life's");
    }

    // Whoever asks for tokens without end must not fill the memory with those that have ended.
    #[test]
    fn tokens_that_have_ended_are_forgotten() {
        let (clock, tokens) = tokens();
        for round in 0..100u32 {
            for one in 0..10u32 {
                let mut hash = [0; 32];
                hash[..4].copy_from_slice(&(round * 10 + one).to_be_bytes());
                let user = "alice".to_owned();
                let token = Some(hash);
                tokens.note(8, &AuthChange::Authenticate { user, revision: 1, token });
            }
            clock.advance(Duration::from_secs(200));
        }
        assert!(tokens.table.lock().known.len() <= 64);
    }
}
