//! What was refused because there was too much of it.

use super::page::{Kind, Page};
use crate::member::Member;

pub(super) fn write(page: &mut Page, member: &Member) {
    let admission = &member.admission;
    let name = "drystone_etcd_requests_refused_total";
    page.head(name, "Requests refused with too many requests, by class and reason.", Kind::Counter);
    for (class, reason, count) in admission.refused() {
        page.sample(name, &[("class", class), ("reason", reason)], count);
    }
    let help = "Bytes of commands that may be under way; what does not fit waits.";
    page.number("drystone_etcd_commands_window_bytes", help, Kind::Gauge, admission.window());
    let help = "Commands that wait until they may be under way.";
    let waiting = admission.waiting() as u64;
    page.number("drystone_etcd_commands_waiting", help, Kind::Gauge, waiting);
}
