//! Who a member is: its number, and the number of its cluster.
//!
//! Every answer carries both, and clients refuse to go on when the cluster's number changes under
//! them. etcd derives the numbers from the configuration, so that all members of a new cluster
//! arrive at the same ones without talking:
//!
//! ```text
//!   member  = first 8 bytes of sha1( peer URLs, sorted, joined without separator ++ token )
//!   cluster = first 8 bytes of sha1( member numbers, sorted, 8 bytes each, big-endian )
//! ```
//!
//! A member that is added later has the time in seconds in the place of the token: the same URLs
//! may come back under another number, never under the one that was removed.
//!
//! The numbers of a member never change after its first start, whatever its flags say later: they
//! are kept in the data directory (see [`crate::data_dir`]).

use std::fmt;

use sha1::{Digest, Sha1};

/// The number of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberId(pub(crate) u64);

/// The number of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterId(pub(crate) u64);

/// A member's number together with its cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster's number.
    pub(crate) cluster: ClusterId,
    /// The member's number.
    pub(crate) member: MemberId,
}

impl MemberId {
    /// The number of a founding member.
    pub(crate) fn of_founder(peer_urls: &[String], token: &str) -> MemberId {
        MemberId(sha1_head([sorted(peer_urls).concat().as_str(), token].concat().as_bytes()))
    }

    /// The number of a member that is added at this time, in seconds since 1970.
    pub(crate) fn of_newcomer(peer_urls: &[String], unix_seconds: u64) -> MemberId {
        let seconds = unix_seconds.to_string();
        MemberId(sha1_head([sorted(peer_urls).concat(), seconds].concat().as_bytes()))
    }
}

impl ClusterId {
    /// The number of a cluster with these founders.
    pub(crate) fn of_founders(founders: impl IntoIterator<Item = MemberId>) -> ClusterId {
        let mut ids: Vec<u64> = founders.into_iter().map(|id| id.0).collect();
        ids.sort_unstable();
        let bytes: Vec<u8> = ids.into_iter().flat_map(u64::to_be_bytes).collect();
        ClusterId(sha1_head(&bytes))
    }
}

fn sorted(urls: &[String]) -> Vec<&str> {
    let mut sorted: Vec<&str> = urls.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

fn sha1_head(bytes: &[u8]) -> u64 {
    let digest = Sha1::digest(bytes);
    let head = digest[..8].try_into().expect("a SHA-1 digest has 20 bytes");
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The numbers that a default etcd has had since version 3.0; tools carry them in their tests.
    #[test]
    fn default_flags_give_etcds_numbers() {
        let id = MemberId::of_founder(&["http://localhost:2380".into()], "etcd-cluster");
        assert_eq!(id.to_string(), "8e9e05c52164694d");
        assert_eq!(ClusterId::of_founders([id]).to_string(), "cdf818194e3a8c32");
    }

    // Members that list the same URLs and members in another order must agree on who each one is.
    #[test]
    fn order_does_not_matter() {
        let urls = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let one = MemberId::of_founder(&urls("http://a:1", "http://b:2"), "t");
        let two = MemberId::of_founder(&urls("http://b:2", "http://a:1"), "t");
        assert_eq!(one, two);
        let (a, b) = (MemberId(7), MemberId(3));
        assert_eq!(ClusterId::of_founders([a, b]), ClusterId::of_founders([b, a]));
    }

    // A removed number never returns, but its machine may.
    #[test]
    fn newcomer_has_a_number_of_its_own() {
        let urls = ["http://a:1".to_owned()];
        let founder = MemberId::of_founder(&urls, "");
        let (one, two) = (MemberId::of_newcomer(&urls, 1), MemberId::of_newcomer(&urls, 2));
        assert!(founder != one && one != two);
    }
}
