//! Hashing passwords, which is slow on purpose.
//!
//! A hash takes some 50 ms of a core, so that whoever has stolen hashes cannot try many passwords.
//! The same makes it a weapon: anybody may ask for a token, with any password. So no more hashes
//! are made at once than half of the cores can, on threads that serve no connections, and of those
//! who wait for their turn there are [`WAITING_MAX`] at most.

use bcrypt::{BcryptError, Version};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::error_text;

/// Who comes when so many wait is told to come again.
const WAITING_MAX: usize = 1024;
/// bcrypt looks at no more; a longer one would be cut without a word.
const PASSWORD_BYTES_MAX: usize = 72;
/// What bcrypt can do.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
/// Bytes of a salt.
pub(crate) const SALT_BYTES: usize = 16;
/// etcd's, and bcrypt's own.
const COST_DEFAULT: u32 = 10;

/// Where passwords are hashed.
#[derive(Debug)]
pub(crate) struct Passwords {
    cost: u32,
    turns: Semaphore,
    places: Semaphore,
}

impl Passwords {
    /// Hashes at `cost`, or at the usual one if that cannot be.
    pub(crate) fn new(cost: u32) -> Passwords {
        let usable = COSTS.contains(&cost);
        if !usable {
            tracing::warn!(
                given_cost = cost,
                "use default bcrypt cost instead of the invalid given cost"
            );
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords {
            cost: if usable { cost } else { COST_DEFAULT },
            turns: Semaphore::new(cores.div_ceil(2)),
            places: Semaphore::new(WAITING_MAX),
        }
    }

    /// The hash of a password, as etcd writes it.
    pub(crate) async fn hash(&self, password: String) -> Result<Bytes, Status> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Status::unknown(error_text::PASSWORD_TOO_LONG));
        }
        let cost = self.cost;
        let hashed = self.in_turn(move || bcrypt::hash_with_result(password, cost)).await?;
        let hashed = hashed.map_err(|error| Status::internal(error.to_string()))?;
        Ok(hashed.format_for_version(Version::TwoA).into())
    }

    /// Whether `hash` is of this password. What is no hash is of none.
    pub(crate) async fn is_right(&self, password: String, hash: Bytes) -> Result<bool, Status> {
        self.in_turn(move || {
            let hash = std::str::from_utf8(&hash).unwrap_or_default();
            bcrypt::verify(password, hash).unwrap_or(false)
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let _place = self.places.try_acquire().map_err(|_| error_text::too_many())?;
        let _turn = self.turns.acquire().await.map_err(|_| error_text::stopped())?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Status::internal(format!("drystone-etcd: hashing broke off: {error}")))
    }
}

/// The hash of a password that comes with a salt, at the usual cost; for passwords that were
/// accepted long ago, so that a long one is cut as it was then.
pub(crate) fn hash_with(password: &str, salt: [u8; SALT_BYTES]) -> Result<Bytes, BcryptError> {
    let hashed = bcrypt::hash_with_salt(password, COST_DEFAULT, salt)?;
    Ok(hashed.format_for_version(Version::TwoA).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    // Hashes of an etcd whose data was taken over must go on working, and ours there.
    #[test]
    fn hashes_are_those_of_etcd() {
        let passwords = Passwords::new(4);
        run(async {
            let hash = passwords.hash("pass".into()).await.unwrap();
            assert!(hash.starts_with(b"$2a$04$"), "{hash:?}");
            assert!(passwords.is_right("pass".into(), hash.clone()).await.unwrap());
            assert!(!passwords.is_right("Pass".into(), hash).await.unwrap());
            // Made by libxcrypt.
            let known = "$2a$04$DCq7YPn5Rq63x1Lad4cll.5Dmg1vN0YHozPNpouup1bpWmIY/.nwu";
            assert!(passwords.is_right("pass".into(), known.into()).await.unwrap());
            assert!(!passwords.is_right(String::new(), Bytes::new()).await.unwrap());
        });
    }

    // Two long passwords with the same beginning would be the same one.
    #[test]
    fn passwords_that_would_be_cut_are_refused() {
        let passwords = Passwords::new(4);
        run(async {
            assert!(passwords.hash("x".repeat(72)).await.is_ok());
            let refused = passwords.hash("x".repeat(73)).await.unwrap_err();
            assert_eq!(refused.message(), "bcrypt: password length exceeds 72 bytes");
        });
    }
}
