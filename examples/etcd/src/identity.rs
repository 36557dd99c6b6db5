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
//! The numbers of a member never change after its first start, whatever its flags say later: they
//! are kept in the data directory (see [`crate::data_dir`]).

use std::fmt;

use sha1::{Digest, Sha1};

/// The number of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Identity {
    /// The identity of the only member of a new cluster.
    pub(crate) fn of_single_member(peer_urls: &[String], token: &str) -> Identity {
        let mut sorted: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let member = sha1_head(&[&sorted.concat(), token].concat().into_bytes());
        let cluster = sha1_head(&member.to_be_bytes());
        Identity { cluster: ClusterId(cluster), member: MemberId(member) }
    }
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
        let id = Identity::of_single_member(&["http://localhost:2380".into()], "etcd-cluster");
        assert_eq!(id.member.to_string(), "8e9e05c52164694d");
        assert_eq!(id.cluster.to_string(), "cdf818194e3a8c32");
    }

    // Two members that list the same URLs in another order must agree on who each one is.
    #[test]
    fn order_of_peer_urls_does_not_matter() {
        let urls = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let one = Identity::of_single_member(&urls("http://a:1", "http://b:2"), "t");
        let two = Identity::of_single_member(&urls("http://b:2", "http://a:1"), "t");
        assert_eq!(one, two);
    }
}
