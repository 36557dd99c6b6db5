//! A step down to the minor version before, as far as it can be asked for.
//!
//! What etcd does: the members agree to write only what the version before can read, and are then
//! replaced one by one. What it answers before it begins is answered here. To begin is refused: the
//! data here are not etcd's, and no etcd of any version can open them, so that a "yes" would be the
//! first step to a member that does not start.

use drystone_etcd_api::etcdserverpb::downgrade_request::DowngradeAction;
use tonic::Status;

use crate::error_text;
use crate::version;

/// The version of the cluster as it is told here: without a patch.
pub(super) fn cluster_version() -> String {
    let (major, minor) = parse(version::CLUSTER).expect("it is a version");
    format!("{major}.{minor}")
}

/// Refuses what is no version.
pub(super) fn check_format(target: &str) -> Result<(), Status> {
    parse(target).map(drop).ok_or_else(error_text::bad_downgrade_version)
}

/// Whether a cluster that is not stepping down may do `action`.
pub(super) fn judge(action: DowngradeAction, target: &str) -> Result<(), Status> {
    if action == DowngradeAction::Cancel {
        return Err(error_text::no_downgrade());
    }
    let (major, minor) = parse(version::CLUSTER).expect("it is a version");
    if parse(target) != minor.checked_sub(1).map(|minor| (major, minor)) {
        return Err(error_text::not_a_downgrade());
    }
    match action {
        DowngradeAction::Enable => Err(error_text::cannot_downgrade()),
        DowngradeAction::Validate | DowngradeAction::Cancel => Ok(()),
    }
}

/// Major and minor version of a semantic version, whose patch may be left out.
fn parse(version: &str) -> Option<(u64, u64)> {
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| plain)
    };
    // What stands behind the numbers says which build it is.
    let numbers = version.split(['-', '+']).next()?;
    let mut parts = numbers.split('.');
    let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
    let patch: u64 = parts.next().map_or(Some(0), number)?;
    (parts.next().is_none() && patch < u64::MAX).then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tools tell these apart by their words: a typing error is not a version that is too old.
    #[test]
    fn targets_are_judged_as_etcd_judges_them() {
        let text = |action, target: &str| {
            let judged = check_format(target).and_then(|()| judge(action, target));
            judged.map_err(|status| status.message().to_owned())
        };
        use DowngradeAction::{Enable, Validate};
        for target in ["3.5", "3.5.0", "3.5.21", "3.5.0-rc.1"] {
            assert_eq!(text(Validate, target), Ok(()), "{target}");
            assert!(text(Enable, target).unwrap_err().starts_with("drystone-etcd: "), "{target}");
        }
        for target in ["3.6", "3.6.14", "3.4", "3.7", "2.5", "4.5.0"] {
            let invalid = "etcdserver: invalid downgrade target version";
            assert_eq!(text(Validate, target).unwrap_err(), invalid, "{target}");
            assert_eq!(text(Enable, target).unwrap_err(), invalid, "{target}");
        }
        for target in ["", "3", "v3.5", "3.5.0.0", "3.x", "+3.5", "3.5.", " 3.5"] {
            let format = "etcdserver: wrong downgrade target version format";
            assert_eq!(text(Validate, target).unwrap_err(), format, "{target}");
        }
        assert_eq!(cluster_version(), "3.6");
    }
}
