//! What can be asked of a member that runs.

use std::io;

use drystone_membership::NodeId;
use drystone_membership::runtime::{self, Membership};

use crate::print::Printer;

/// Does what a line says, and says so. Only a terminal that refuses is an error.
pub(crate) async fn obey(membership: &Membership, printer: Printer, line: &str) -> io::Result<()> {
    let mut words = line.trim().splitn(3, ' ');
    let command = words.next().unwrap_or_default();
    let (first, second) = (words.next(), words.next());
    let done = match (command, first, second) {
        ("", None, None) => return Ok(()),
        ("members", None, None) => return printer.members(membership),
        ("stats", None, None) => return printer.stats(membership),
        ("get", Some(name), Some(key)) => return printer.meta(membership, name, key),
        ("set", Some(key), value) => {
            membership.set_meta(key, value.map(|value| value.to_owned().into())).await
        }
        ("broadcast", Some(topic), text) => {
            membership.broadcast(topic, text.unwrap_or_default().to_owned()).await
        }
        ("condemn", Some(name), None) => condemn(membership, name).await,
        _ => {
            let known = "members, set KEY [VALUE], get NAME KEY, broadcast TOPIC TEXT, \
                         condemn NAME, stats, leave";
            return printer.complain(&format!("commands: {known}"));
        }
    };
    match done {
        Ok(()) => Ok(()),
        Err(error) => printer.complain(&error.to_string()),
    }
}

async fn condemn(membership: &Membership, name: &str) -> runtime::Result<()> {
    membership.condemn(NodeId::named(name)).await
}
