//! Go's flag syntax and etcd's environment, rewritten into what clap reads.
//!
//! Scripts written for etcd use one dash or two, `=` or a blank, and `ETCD_NAME` for `--name`:
//!
//! ```text
//!   -name a   --name a   -name=a   --name=a     a flag with a value
//!   -pprof    --pprof=false                     a boolean never takes the next word
//!   ETCD_NAME=a                                 used when the command line has no --name
//! ```
//!
//! [`normalise`] turns all of it into `--name=a` words, so that clap and its checks see one form.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::old_names;

/// What the command line and the environment say together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Normalised {
    /// Words for clap, the program's name first.
    pub(crate) words: Vec<OsString>,
    /// What the operator should know: shadowed and unknown variables.
    pub(crate) warnings: Vec<String>,
}

impl Normalised {
    /// The value that a flag was given last; `None` if it was not.
    pub(crate) fn value_of(&self, flag: &str) -> Option<String> {
        let of = |word: &OsString| {
            let (name, value) = word.to_str()?.strip_prefix("--")?.split_once('=')?;
            (name == flag).then(|| value.to_owned())
        };
        self.words.iter().rev().find_map(of)
    }

    /// Whether all that is wanted is the help or the version.
    pub(crate) fn asks_for_text(&self) -> bool {
        let texts = ["--help", "--version", "--version=true"];
        self.words.iter().any(|word| texts.iter().any(|text| word == text))
    }
}

/// Why the words cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    /// A word that is neither a flag nor its value.
    #[error("'{0}' is not a valid flag")]
    Stray(String),
    /// A flag that there is not.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// A flag at the end of the line that needs a value.
    #[error("flag needs an argument: -{0}")]
    NeedsValue(String),
    /// A word or variable that is not UTF-8.
    #[error("argument or variable is not valid UTF-8: {0}")]
    NotUtf8(String),
}

/// Rewrites `args` (without the program's name) and `env` for `command`.
pub(crate) fn normalise(
    command: &clap::Command,
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Normalised, FlagError> {
    let known = known_flags(command);
    let mut out = Normalised { words: vec!["drystone-etcd".into()], warnings: Vec::new() };
    let mut given = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let arg = arg.into_string().map_err(|text| not_utf8(&text))?;
        let Some(flag) = strip_dashes(&arg) else { return Err(FlagError::Stray(arg)) };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let name = old_names::current(name, |name| known.contains_key(name), &mut out.warnings);
        let name = name.as_str();
        if !known.contains_key(name) && !matches!(name, "h" | "help") {
            return Err(FlagError::Unknown(name.to_owned()));
        }
        let takes_next = value.is_none() && known.get(name) == Some(&Kind::Value);
        let value = match takes_next {
            false => value,
            true => Some(
                args.next()
                    .ok_or_else(|| FlagError::NeedsValue(name.to_owned()))?
                    .into_string()
                    .map_err(|text| not_utf8(&text))?,
            ),
        };
        out.words.push(word(name, value.as_deref()));
        given.push(name.to_owned());
    }
    add_environment(&known, &given, env, &mut out)?;
    Ok(out)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Value,
}

fn known_flags(command: &clap::Command) -> BTreeMap<String, Kind> {
    let kind = |arg: &clap::Arg| match arg.get_num_args() {
        Some(values) if values.min_values() == 0 => Kind::Bool,
        _ if !arg.get_action().takes_values() => Kind::Bool,
        _ => Kind::Value,
    };
    let mut known = BTreeMap::new();
    for arg in command.get_arguments() {
        for name in arg.get_long_and_visible_aliases().unwrap_or_default() {
            known.insert(name.to_owned(), kind(arg));
        }
    }
    known
}

/// The flag without its one or two dashes; `None` when the word is no flag.
fn strip_dashes(arg: &str) -> Option<&str> {
    let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    (!flag.is_empty() && !flag.starts_with(['-', '='])).then_some(flag)
}

/// `-h` is the only short form that Go knows; everything else is long.
fn word(name: &str, value: Option<&str>) -> OsString {
    match value {
        None if name == "h" => "--help".into(),
        None => format!("--{name}").into(),
        Some(value) => format!("--{name}={value}").into(),
    }
}

fn add_environment(
    known: &BTreeMap<String, Kind>,
    given: &[String],
    env: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut Normalised,
) -> Result<(), FlagError> {
    // Sorted, so that warnings come in one order whatever the environment's.
    let mut variables = BTreeMap::new();
    for (variable, value) in env {
        let Ok(variable) = variable.into_string() else { continue };
        let Some(rest) = variable.strip_prefix("ETCD_") else { continue };
        let flag = rest.to_ascii_lowercase().replace('_', "-");
        // Variables of the wrong kind are told by their own name.
        let is_known = |name: &str| known.contains_key(name);
        let flag = match value.is_empty() {
            true => flag,
            false => old_names::current(&flag, is_known, &mut out.warnings),
        };
        variables.insert(variable, (flag, value));
    }
    for (variable, (flag, value)) in variables {
        if value.is_empty() || flag == "unsupported-arch" {
            continue;
        }
        if flag == "version" {
            out.warnings.push(format!("cannot set special environment variable {variable}"));
            continue;
        }
        if !known.contains_key(&flag) {
            out.warnings.push(format!("unrecognized environment variable {variable}"));
        } else if given.contains(&flag) {
            out.warnings.push(format!(
                "conflicting environment variable {variable:?} is shadowed by corresponding \
                 command-line flag (either unset environment variable or disable flag)"
            ));
        } else {
            let value = value.into_string().map_err(|text| not_utf8(&text))?;
            out.words.push(word(&flag, Some(&value)));
        }
    }
    Ok(())
}

fn not_utf8(text: &OsString) -> FlagError {
    FlagError::NotUtf8(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    fn check(args: &[&str], env: &[(&str, &str)], words: &[&str]) -> Vec<String> {
        let command = Command::new("t")
            .arg(Arg::new("name").long("name"))
            .arg(Arg::new("pprof").long("pprof").num_args(0..=1))
            .arg(Arg::new("version").long("version").action(ArgAction::SetTrue));
        let args = args.iter().map(OsString::from);
        let env = env.iter().map(|(name, value)| (name.into(), value.into()));
        let out = normalise(&command, args, env).unwrap();
        assert_eq!(out.words[1..], words.iter().map(OsString::from).collect::<Vec<_>>());
        out.warnings
    }

    // All four spellings occur in the wild, and mean one thing.
    #[test]
    fn four_spellings_of_a_value_are_one() {
        for args in [&["-name", "a"][..], &["--name", "a"], &["-name=a"], &["--name=a"]] {
            check(args, &[], &["--name=a"]);
        }
    }

    // A value may begin with a dash: quotas are switched off by -1.
    #[test]
    fn value_may_look_like_a_flag() {
        check(&["--name", "-1"], &[], &["--name=-1"]);
    }

    // In Go, `--pprof false` is the flag and a stray word.
    #[test]
    fn boolean_does_not_take_the_next_word() {
        check(&["-pprof", "--name=a"], &[], &["--pprof", "--name=a"]);
        check(&["--pprof=false"], &[], &["--pprof=false"]);
        let command = Command::new("t").arg(Arg::new("pprof").long("pprof").num_args(0..=1));
        let words = ["--pprof", "false"].map(OsString::from);
        assert_eq!(normalise(&command, words, []), Err(FlagError::Stray("false".into())));
    }

    // Container images set everything by environment; the command line must win.
    #[test]
    fn command_line_shadows_the_environment() {
        assert!(check(&[], &[("ETCD_NAME", "b")], &["--name=b"]).is_empty());
        let warnings = check(&["--name=a"], &[("ETCD_NAME", "b")], &["--name=a"]);
        assert!(warnings[0].contains("\"ETCD_NAME\" is shadowed"), "{warnings:?}");
        let warnings = check(&[], &[("ETCD_NAMES", "b"), ("HOME", "/")], &[]);
        assert_eq!(warnings, ["unrecognized environment variable ETCD_NAMES"]);
        assert!(check(&[], &[("ETCD_NAME", "")], &[]).is_empty());
        // It is set in images, and is no flag.
        let warnings = check(&[], &[("ETCD_VERSION", "3")], &[]);
        assert_eq!(warnings, ["cannot set special environment variable ETCD_VERSION"]);
    }

    // Go reports a missing value itself; reading past the end must not panic.
    #[test]
    fn missing_value_is_an_error() {
        let command = Command::new("t").arg(Arg::new("name").long("name"));
        let result = normalise(&command, ["-name".into()], []);
        assert_eq!(result, Err(FlagError::NeedsValue("name".into())));
        let result = normalise(&command, ["--".into()], []);
        assert_eq!(result, Err(FlagError::Stray("--".into())));
    }
}
