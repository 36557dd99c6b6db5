//! The options of a group or of one member, as scripts write them.

use drystone_raft::{Config, Lease, Member, Suffrage};
use drystone_sim::script::Command;

/// A configuration with what a command says in the place of what `config` has.
pub(super) fn config(command: &Command, mut config: Config) -> Config {
    if let Some(election) = command.option_as("election") {
        config = Config::new(election);
    }
    let flag = |key, was| command.option(key).map_or(was, |word| word == "on");
    let ticks = |key, was| command.option_as(key).unwrap_or(was);
    let size = |key, was| command.option_as(key).unwrap_or(was);
    config.pre_vote = flag("pre_vote", config.pre_vote);
    config.check_quorum = flag("check_quorum", config.check_quorum);
    config.heartbeat = ticks("heartbeat", config.heartbeat);
    config.storage_stall = ticks("storage_stall", config.storage_stall);
    config.quiesce_after = command.option_as("quiesce_after").or(config.quiesce_after);
    config.message_bytes_max = size("message_bytes_max", config.message_bytes_max);
    config.window_bytes_max = size("window_bytes_max", config.window_bytes_max);
    config.window_messages_max = size("window_messages_max", config.window_messages_max);
    config.uncommitted_bytes_max = size("uncommitted_bytes_max", config.uncommitted_bytes_max);
    config.tail_bytes_max = size("tail_bytes_max", config.tail_bytes_max);
    if let Some(lease) = command.option("lease") {
        config.lease = Some(match lease.split_once(':') {
            Some(("contact", ppm)) => Lease::Contact { drift_ppm: ppm.parse().unwrap() },
            Some(("log", ppm)) => Lease::Log { drift_ppm: ppm.parse().unwrap() },
            _ => command.refuse("a lease is contact:PPM or log:PPM"),
        });
    }
    config
}

/// `1`, or `2p5` with a priority, or `3w`, a witness.
pub(super) fn member(word: &str) -> Member {
    let name = word.trim_end_matches('w');
    let suffrage = if name == word { Suffrage::Voter } else { Suffrage::Witness };
    let (id, priority) = name.split_once('p').unwrap_or((name, "1"));
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"));
    let priority = u8::try_from(number(priority)).unwrap();
    Member { id: number(id), suffrage, priority }
}
