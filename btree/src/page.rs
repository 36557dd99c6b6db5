//! A page's bytes.
//!
//! (Signatures first; bodies follow.)

use crate::error::Damage;
use crate::types::PageId;

/// The structural check that must precede every other use of untrusted bytes: after it, no offset
/// in the page leads outside of it.
pub(crate) fn check(_bytes: &[u8], _id: PageId) -> Result<(), Damage> {
    todo!()
}

/// For recovery: of a checked branch page its children, of a leaf the runs it points to.
pub(crate) fn is_leaf(_bytes: &[u8]) -> bool {
    todo!()
}
