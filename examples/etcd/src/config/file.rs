//! The configuration file: the same flags, written as YAML or JSON.
//!
//! ```text
//!   name: m1                        --name=m1
//!   log-outputs: [stderr, a.log]    --log-outputs=stderr,a.log
//!   grpc-keepalive-timeout: 2000…   --grpc-keepalive-timeout=2000…ns    nanoseconds, or Go's text
//!   peer-transport-security:
//!     cert-file: a.pem              --peer-cert-file=a.pem
//!     allowed-cn: [m1, m2]          --peer-cert-allowed-cn=m1,m2
//! ```
//!
//! A key that nobody knows is refused with its line, where etcd passes over it: what was meant by
//! it would silently not be so. Keys of etcd 2 that its sample file still has are passed
//! over here too.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use super::go_flags::{self, Normalised};

/// Keys that etcd's sample file has, and etcd itself no more.
const FORGOTTEN: [&str; 7] = [
    "proxy",
    "proxy-failure-wait",
    "proxy-refresh-interval",
    "proxy-dial-timeout",
    "proxy-write-timeout",
    "proxy-read-timeout",
    "enable-v2",
];

/// Flags that take a span of time.
const SPANS: [&str; 12] = [
    "grpc-keepalive-min-time",
    "grpc-keepalive-interval",
    "grpc-keepalive-timeout",
    "backend-batch-interval",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "compact-hash-check-time",
    "downgrade-check-time",
    "watch-progress-notify-interval",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "experimental-warning-apply-duration",
];

/// What a key of the block about clients is called as a flag, and one about members.
const SECURITY: [(&str, &str, &str); 11] = [
    ("cert-file", "cert-file", "peer-cert-file"),
    ("key-file", "key-file", "peer-key-file"),
    ("client-cert-file", "client-cert-file", "peer-client-cert-file"),
    ("client-key-file", "client-key-file", "peer-client-key-file"),
    ("client-cert-auth", "client-cert-auth", "peer-client-cert-auth"),
    ("trusted-ca-file", "trusted-ca-file", "peer-trusted-ca-file"),
    ("crl-file", "client-crl-file", "peer-crl-file"),
    ("auto-tls", "auto-tls", "peer-auto-tls"),
    ("allowed-cn", "client-cert-allowed-cn", "peer-cert-allowed-cn"),
    ("allowed-hostname", "client-cert-allowed-hostname", "peer-cert-allowed-hostname"),
    // Where clients come from is not looked at anyway.
    ("skip-client-san-verification", "", "peer-skip-client-san-verification"),
];

/// The words that say what `file` says.
///
/// # Errors
///
/// If it cannot be read, or holds what is no flag.
pub(super) fn words(command: &clap::Command, file: &Path) -> Result<Normalised, String> {
    let text = crate::tls::read_file(file)?;
    let text = String::from_utf8(text).map_err(|_| format!("{}: not UTF-8", file.display()))?;
    let (words, warnings) = flags(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut normalised = go_flags::normalise(command, words, []).map_err(|error| match error {
        go_flags::FlagError::Unknown(key) => {
            let line = line_of(&text, &key);
            format!("{}: line {line}: unknown key {key:?}", file.display())
        }
        error => format!("{}: {error}", file.display()),
    })?;
    normalised.warnings.extend(warnings);
    Ok(normalised)
}

/// The flags that a text stands for, and what the operator should know.
fn flags(text: &str) -> Result<(Vec<OsString>, Vec<String>), String> {
    // What is only comments is no mapping, and says nothing.
    let keys: Option<BTreeMap<String, Value>> =
        serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let (mut words, mut warnings) = (Vec::new(), Vec::new());
    for (key, value) in keys.unwrap_or_default() {
        match key.as_str() {
            "client-transport-security" => security(text, &key, &value, false, &mut words)?,
            "peer-transport-security" => security(text, &key, &value, true, &mut words)?,
            "config-file" | "version" => return Err(unknown(text, &key)),
            key if FORGOTTEN.contains(&key) => {
                warnings.push(format!("key {key:?} of the configuration file is ignored"));
            }
            key => push(text, key, key, &value, &mut words)?,
        }
    }
    Ok((words, warnings))
}

fn security(
    text: &str,
    block: &str,
    value: &Value,
    of_members: bool,
    words: &mut Vec<OsString>,
) -> Result<(), String> {
    let keys = match value {
        Value::Null => return Ok(()),
        Value::Object(keys) => keys,
        _ => return Err(format!("line {}: invalid {block}", line_of(text, block))),
    };
    for (key, value) in keys {
        let known = SECURITY.iter().find(|(known, ..)| known == key);
        let (_, client, member) = known.ok_or_else(|| unknown(text, key))?;
        let flag = if of_members { member } else { client };
        if !flag.is_empty() {
            push(text, key, flag, value, words)?;
        }
    }
    Ok(())
}

/// Appends `--flag=value`. What has no value is as if it were not there, and keeps its default.
fn push(
    text: &str,
    key: &str,
    flag: &str,
    value: &Value,
    words: &mut Vec<OsString>,
) -> Result<(), String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(on) => Ok(on.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(format!("line {}: key {key:?} has a value of the wrong kind", line_of(text, key))),
    };
    let mut written = match value {
        Value::Null => return Ok(()),
        Value::Array(items) => items.iter().map(scalar).collect::<Result<Vec<_>, _>>()?.join(","),
        value => scalar(value)?,
    };
    if SPANS.contains(&flag) && written.bytes().all(|byte| byte.is_ascii_digit()) {
        written.push_str("ns");
    }
    // An empty text is how the sample file leaves a flag at its default.
    if !written.is_empty() {
        words.push(format!("--{flag}={written}").into());
    }
    Ok(())
}

fn unknown(text: &str, key: &str) -> String {
    format!("line {}: unknown key {key:?}", line_of(text, key))
}

/// The line on which a key stands, counted from one.
fn line_of(text: &str, key: &str) -> usize {
    let is_it = |line: &str| {
        let line = line.trim_start().trim_start_matches(['{', ',', '"', '\'']);
        line.strip_prefix(key).is_some_and(|rest| rest.starts_with([':', '"', '\'', ' ']))
    };
    text.lines().position(is_it).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let (words, _) = flags(text).unwrap();
        words.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    // Both notations, lists, times in both forms, and the blocks of certificates.
    #[test]
    fn keys_become_flags() {
        let yaml = "name: 'm1'\ndata-dir:\nlog-outputs: [stderr, a.log]\n\
            grpc-keepalive-timeout: 2000000000\nwarning-apply-duration: 1s\npre-vote: true\n\
            peer-transport-security:\n  allowed-cn: [a, b]\n  client-cert-auth: true\n\
            client-transport-security:\n  cert-file: c.pem\n  skip-client-san-verification: true\n";
        let expected = [
            "--cert-file=c.pem",
            "--grpc-keepalive-timeout=2000000000ns",
            "--log-outputs=stderr,a.log",
            "--name=m1",
            "--peer-cert-allowed-cn=a,b",
            "--peer-client-cert-auth=true",
            "--pre-vote=true",
            "--warning-apply-duration=1s",
        ];
        let mut words = read(yaml);
        words.sort_unstable();
        assert_eq!(words, expected);
        assert_eq!(read(r#"{"name": "m1", "max-txn-ops": 12}"#), ["--max-txn-ops=12", "--name=m1"]);
        assert!(read("# nothing\n").is_empty());
    }

    // Whoever misspells a key shall find it.
    #[test]
    fn unknown_keys_are_told_with_their_line() {
        let error = flags("name: a\npeer-transport-security:\n  cert-fil: x\n").unwrap_err();
        assert_eq!(error, "line 3: unknown key \"cert-fil\"");
        let error = flags("name: a\nname-of: {b: 1}\n").unwrap_err();
        assert_eq!(error, "line 2: key \"name-of\" has a value of the wrong kind");
        assert!(flags("name: a\n  b: [\n").is_err());
        assert_eq!(line_of("a: 1\n\"nam\": 2\n", "nam"), 2);
    }
}
