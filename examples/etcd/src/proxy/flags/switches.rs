//! Flags that are on or off.

use clap::{Arg, ArgAction, Command};

use crate::config::flags::parse_bool;

/// The flags that are on or off, by name.
const SWITCHES: [(&str, &str); 8] = [
    ("insecure-discovery", "Take what records say without a certificate for the domain"),
    ("permit-without-stream", "Ping members while no call is open, too"),
    ("insecure-skip-tls-verify", "Do not verify the members' certificates"),
    ("auto-tls", "Make a certificate for clients where none is given"),
    ("debug", "Log more"),
    ("experimental-enable-grpc-logging", "Log every call"),
    (
        "experimental-serializable-ordering",
        "No serializable read shows less than the proxy has shown before",
    ),
    ("enable-pprof", "Has no effect: there is no Go runtime to profile"),
];

/// Which of [`SWITCHES`] are on. Go's way: a switch never takes the next word.
#[derive(Debug, Default)]
pub(super) struct Switches([bool; SWITCHES.len()]);

impl Switches {
    /// Whether the one of that name is.
    pub(super) fn is_on(&self, name: &str) -> bool {
        let place = SWITCHES.iter().position(|(known, _)| *known == name);
        self.0[place.expect("it is one of them")]
    }
}

impl clap::Args for Switches {
    fn augment_args(command: Command) -> Command {
        command.args(SWITCHES.map(|(name, help)| switch(name, help)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Switches::augment_args(command)
    }
}

impl clap::FromArgMatches for Switches {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Switches, clap::Error> {
        let is_on = |(name, _): (&str, _)| matches.get_one::<bool>(name).is_some_and(|on| *on);
        Ok(Switches(SWITCHES.map(is_on)))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Switches::from_arg_matches(matches)?;
        Ok(())
    }
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .value_parser(parse_bool)
        .num_args(0..=1)
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_name("BOOL")
        .require_equals(true)
}
