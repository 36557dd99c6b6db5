//! Who asks, and whether he may.
//!
//! **The problem.** A server that a cluster's secrets lie in must say no to everything that nobody
//! has thought of, must not be talked into yes by two requests that race, and must not slow down
//! those who have no users at all.
//!
//! **The idea.** With authentication off one flag is looked at for each call, and nothing else
//! happens. With it on, every call passes three gates:
//!
//! ```text
//!   request ── token, certificate ──► Credentials
//!      1  who is it?        Member::who_asks    ──► Caller: nobody, or alice at auth revision 7
//!      2  what is it, even? needs: a table of methods; what is not in it is refused
//!      3  these keys?       reads:  permitted before, and the auth revision is the same after
//!                           watches: permitted before, and again whenever users have changed
//!                           writes: judged when they are applied, on every member alike
//!                                   (drystone_kv::auth)
//! ```
//!
//! The functions that serve calls take the [`Caller`] as an argument. Whoever calls them from
//! inside, for a client that has come another way, says who that client is.
//!
//! | part | what it is |
//! |---|---|
//! | [`credentials`] | what a client shows: a token, or the name in its certificate |
//! | [`needs`] | what each method wants its caller to be |
//! | [`standing`] | what goes on after it was permitted: watches |
//! | [`passwords`] | hashing, which is slow on purpose, where it keeps nobody waiting |
//! | [`tokens`] | simple tokens: sixteen letters that the members know by their hash |
//! | [`jwt`] | signed tokens, which no member needs to know |

pub(crate) mod credentials;
pub(crate) mod jwt;
pub(crate) mod needs;
pub(crate) mod passwords;
pub(crate) mod standing;
pub(crate) mod tokens;

use drystone_kv::auth::Access;
use drystone_kv::key_range::KeyRange;
use drystone_kv::types::LeaseId;
use drystone_kv::{Auth, Caller, Refusal};
use tonic::Status;

pub(crate) use credentials::{Asker, Credentials, asker_of, caller_of};
pub(crate) use needs::Need;
pub(crate) use passwords::Passwords;
pub(crate) use standing::Standing;
pub(crate) use tokens::TokenKind;

use crate::error_text;
use crate::member::Member;
use crate::store::Error;

fn refusal(refusal: Refusal) -> Status {
    error_text::status(&Error::Refused(refusal))
}

impl Member {
    /// Who shows these credentials, as far as this member knows; nobody while nothing is checked.
    pub(crate) fn recognise(&self, credentials: &Credentials) -> Result<Caller, Status> {
        // First: whatever changes from here on makes the caller an old one.
        let revision = self.kv.auth_epoch();
        if revision == 0 {
            return Ok(Caller::Nobody);
        }
        let token = match credentials {
            Credentials::None => return Ok(Caller::Nobody),
            Credentials::Certificate(name) => {
                return Ok(Caller::User { name: name.clone(), revision });
            }
            Credentials::Token(token) => token,
        };
        let caller = match &self.config.tokens {
            TokenKind::Simple => {
                let user = tokens::hash_of(token).and_then(|hash| self.kv.user_of(&hash));
                user.map(|name| Caller::User { name, revision })
            }
            TokenKind::Jwt(jwt) => jwt.verify(token),
        };
        caller.ok_or_else(error_text::invalid_token)
    }

    /// The same, once this member has heard of all tokens that were given before.
    pub(crate) async fn who_asks(&self, credentials: &Credentials) -> Result<Caller, Status> {
        let found = self.recognise(credentials);
        if (found.is_err() || self.kv.auth_epoch() == 0) && self.is_behind(credentials) {
            self.linearize().await?;
            return self.recognise(credentials);
        }
        found
    }

    /// Whether these are from later than this member has come, or made up: users may have tokens
    /// that it does not know, and may be asked for them.
    pub(crate) fn is_behind(&self, credentials: &Credentials) -> bool {
        let Credentials::Token(token) = credentials else { return false };
        tokens::index_of(token).is_some_and(|index| index > self.kv.applied())
    }

    /// Whether `caller` is what a method wants; `need` is `None` for one that nobody has thought
    /// of.
    pub(crate) fn admit(&self, need: Option<Need>, caller: &Caller) -> Result<(), Status> {
        if self.kv.auth_epoch() == 0 {
            return Ok(());
        }
        match need {
            Some(Need::Nothing | Need::Inside) => Ok(()),
            Some(Need::User) => self.kv.auth().permit_user(caller).map_err(refusal),
            Some(Need::Root) => self.kv.auth().permit_root(caller).map_err(refusal),
            None => Err(refusal(Refusal::PermissionDenied)),
        }
    }

    /// Asks whether something may be read. What is returned is for [`Member::still`], after it was.
    pub(crate) fn permit(
        &self,
        ask: impl FnOnce(&Auth) -> Result<(), Refusal>,
    ) -> Result<u64, Status> {
        if self.kv.auth_epoch() == 0 {
            return Ok(0);
        }
        let auth = self.kv.auth();
        ask(&auth).map_err(refusal)?;
        Ok(auth.epoch())
    }

    /// Whether what was permitted then is permitted now: if users have changed while it was read,
    /// the client asks again.
    pub(crate) fn still(&self, permitted: u64) -> Result<(), Status> {
        match self.kv.auth_epoch() == permitted {
            true => Ok(()),
            false => Err(refusal(Refusal::AuthRevisionOld)),
        }
    }

    /// [`Member::permit`] for all keys of a lease, as this member knows them.
    pub(crate) fn permit_lease(
        &self,
        caller: &Caller,
        lease: LeaseId,
        access: Access,
    ) -> Result<u64, Status> {
        self.permit(|auth| {
            if auth.permit_root(caller).is_ok() {
                return Ok(());
            }
            let mut keys = self.kv.attached(lease).into_iter();
            keys.try_for_each(|key| auth.permit(caller, &KeyRange::single(key), access))
        })
    }
}
