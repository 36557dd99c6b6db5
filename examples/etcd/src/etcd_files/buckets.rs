//! Names of buckets, and how keys in them are written.

use drystone_kv::types::Revision;

pub(crate) const ALARM: &str = "alarm";
pub(crate) const AUTH: &str = "auth";
pub(crate) const AUTH_ROLES: &str = "authRoles";
pub(crate) const AUTH_USERS: &str = "authUsers";
pub(crate) const CLUSTER: &str = "cluster";
pub(crate) const KEY: &str = "key";
pub(crate) const LEASE: &str = "lease";
pub(crate) const MEMBERS: &str = "members";
pub(crate) const MEMBERS_REMOVED: &str = "members_removed";
pub(crate) const META: &str = "meta";

pub(crate) const META_CONF_STATE: &str = "confState";
pub(crate) const META_INDEX: &str = "consistent_index";
pub(crate) const META_FINISHED: &str = "finishedCompactRev";
pub(crate) const META_SCHEDULED: &str = "scheduledCompactRev";
pub(crate) const META_STORAGE_VERSION: &str = "storageVersion";
pub(crate) const META_TERM: &str = "term";

/// What stands under a member that was removed.
pub(crate) const REMOVED: &str = "removed";

/// Width of a revision.
const REVISION_BYTES: usize = 17;
const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// The bytes of a record's key: main, `_`, sub, and a `t` for a tombstone.
pub(crate) fn revision_key(revision: Revision, is_tombstone: bool) -> Vec<u8> {
    let mut key = Vec::with_capacity(REVISION_BYTES + 1);
    key.extend_from_slice(&revision.main.to_be_bytes());
    key.push(SEPARATOR);
    key.extend_from_slice(&u64::from(revision.sub).to_be_bytes());
    if is_tombstone {
        key.push(TOMBSTONE);
    }
    key
}

/// The revision that a record's key names, and whether it is a tombstone's.
pub(crate) fn parse_revision_key(key: &[u8]) -> Option<(Revision, bool)> {
    let is_tombstone = match key.get(REVISION_BYTES..)? {
        [] => false,
        [TOMBSTONE] => true,
        _ => return None,
    };
    if key[8] != SEPARATOR {
        return None;
    }
    let main = u64::from_be_bytes(key[..8].try_into().ok()?);
    let sub = u64::from_be_bytes(key[9..REVISION_BYTES].try_into().ok()?);
    // etcd's numbers are signed.
    i64::try_from(main).ok()?;
    Some((Revision::new(main, u32::try_from(sub).ok()?), is_tombstone))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The order of the keys is the order of history; a tombstone's key is one byte longer.
    #[test]
    fn revision_keys_have_etcds_shape() {
        let revision = Revision::new(0x102, 3);
        let key = b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03";
        assert_eq!(revision_key(revision, false), key);
        assert_eq!(parse_revision_key(key), Some((revision, false)));
        let tombstone = revision_key(revision, true);
        assert_eq!(tombstone, [&key[..], b"t"].concat());
        assert_eq!(parse_revision_key(&tombstone), Some((revision, true)));
        for bad in [
            &key[..16],
            b"\xff\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03",
            b"",
            b"\0\0\0\0\0\0\x01\x02+\0\0\0\0\0\0\0\x03",
        ] {
            assert_eq!(parse_revision_key(bad), None, "{bad:?}");
        }
    }
}
