//! The scripts of the sessions, which are what people do with `etcdctl`, through our proxy.
//!
//! With an empty `--advertise-client-url` MemberList is the member's own, so that not even that
//! differs; what it is otherwise, [`super::words`] asks. The members restart and crash in the midst
//! of some scripts, and the proxy finds them again.

use crate::session::{self, SCRIPTS};
use crate::support::programs;

/// In front of our member: what it answers itself.
#[test]
fn ours_in_front_of_ours_answers_as_ours() {
    let Some(real) = programs::real_or_skip("proxy::transparent::ours") else { return };
    session::through_proxy(&programs::ours(), &real, SCRIPTS);
}

/// In front of etcd: what etcd answers itself.
#[test]
fn ours_in_front_of_etcd_answers_as_etcd() {
    let Some(real) = programs::real_or_skip("proxy::transparent::etcd") else { return };
    session::through_proxy(&real.etcd, &real, SCRIPTS);
}
