//! What a member is told when it begins.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use drystone_membership::runtime::{Builder, Membership};
use drystone_membership::{Config, Key};

/// Run one member of a cluster, and print what it sees
#[derive(Debug, Parser)]
#[command(name = "drystone-membership", version)]
pub(crate) struct Arguments {
    /// Where to listen, by UDP and TCP; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7946")]
    bind: SocketAddr,
    /// Where others reach us, if not there
    #[arg(long, value_name = "ADDR")]
    advertise: Option<SocketAddr>,
    /// What to be called; no two members have one name
    #[arg(long)]
    name: String,
    /// What to share fate and wires with: a rack, a region
    #[arg(long, default_value = "")]
    zone: String,
    /// Where to look for the cluster: host:port, as often as you like
    #[arg(long, value_name = "ADDR")]
    join: Vec<String>,
    /// Keys, 64 hexadecimal digits a line; the first seals
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Remember here who is there
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The name of the cluster; others are not talked to
    #[arg(long, default_value = "")]
    label: String,
    /// Metadata to begin with, as often as you like
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How far the others are away
    #[arg(long, value_enum, default_value = "lan")]
    profile: Profile,
    /// Probe by datagrams alone, where streams cannot be had
    #[arg(long)]
    no_stream_probes: bool,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// End, without leaving, when standard input does
    #[arg(long)]
    pub(crate) end_with_input: bool,
}

/// A set of timeouts.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Profile {
    /// On this machine
    Local,
    /// In one place
    Lan,
    /// On several continents
    Wan,
}

impl Arguments {
    fn config(&self) -> Config {
        let profile = match self.profile {
            Profile::Local => Config::local(),
            Profile::Lan => Config::lan(),
            Profile::Wan => Config::wan(),
        };
        Config { label: self.label.clone(), stream_probes: !self.no_stream_probes, ..profile }
    }

    /// The member that is wanted.
    pub(crate) async fn builder(self) -> anyhow::Result<Builder> {
        let mut builder = Membership::bind(self.bind).name(&self.name).zone(&self.zone);
        builder = builder.config(self.config());
        if let Some(addr) = self.advertise {
            builder = builder.advertise(addr);
        }
        if let Some(path) = self.snapshot {
            builder = builder.snapshot(path);
        }
        if let Some(path) = &self.key_file {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("key file {}", path.display()))?;
            builder = builder.keys(keys(&text)?);
        }
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--set {pair}: KEY=VALUE is wanted");
            };
            builder = builder.meta(key, value.to_owned());
        }
        let mut seeds = Vec::new();
        for text in &self.join {
            seeds.push(crate::resolve(text).await?);
        }
        Ok(builder.seeds(seeds))
    }
}

/// The keys of a file. Nothing of them is ever printed.
fn keys(text: &str) -> anyhow::Result<Vec<Key>> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let keys: anyhow::Result<Vec<Key>> = lines
        .map(|(place, line)| {
            let key = key(line);
            key.with_context(|| format!("key file, line {}: no 64 hexadecimal digits", place + 1))
        })
        .collect();
    let keys = keys?;
    if keys.is_empty() {
        bail!("the key file has no key");
    }
    Ok(keys)
}

fn key(line: &str) -> Option<Key> {
    let digits: Option<Vec<u8>> =
        line.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits: [u8; 64] = digits?.try_into().ok()?;
    Some(Key::new(std::array::from_fn(|place| digits[2 * place] << 4 | digits[2 * place + 1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Who turns streams off has a reason, and who does not needs them.
    #[test]
    fn streams_probe_unless_they_are_turned_off() {
        let config = |more: &[&str]| {
            let words = [&["drystone-membership", "--name", "a"], more].concat();
            Arguments::try_parse_from(words).unwrap().config()
        };
        assert_eq!(config(&[]), Config::lan());
        let local = Config { stream_probes: false, ..Config::local() };
        assert_eq!(config(&["--no-stream-probes", "--profile", "local"]), local);
    }

    // A key that was read wrongly locks its member out, and one that is guessed lets anyone in.
    #[test]
    fn keys_are_read_as_they_are_written_or_refused() {
        let one = "00".repeat(31) + "fF";
        let two = "a0".repeat(32);
        let read = keys(&format!("# ours\n{one}\n\n  {two}\n")).unwrap();
        let mut bytes = [0; 32];
        bytes[31] = 0xff;
        assert_eq!(read, [Key::new(bytes), Key::new([0xa0; 32])]);
        for bad in ["", "# nothing\n", "00", &"0g".repeat(32), &"00".repeat(33)] {
            assert!(keys(bad).is_err(), "{bad}");
        }
    }
}
