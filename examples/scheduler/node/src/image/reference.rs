//! The name of an image, as people write it: `busybox`, `alpine:3.18`, `host:5000/a/b@sha256:…`.
//!
//! ```text
//!   [registry '/'] repository [':' tag] ['@' digest]
//!
//!   registry    the part before the first '/', if it has a '.' or a ':' or is `localhost`;
//!               docker.io else, and one plain word there means library/<word>
//!   repository  words of a-z 0-9 with . _ __ - between, joined by '/'
//!   tag         [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}, `latest` if there is neither tag nor digest
//! ```
//!
//! Two texts that mean one image give one [`Reference`], and it is written in full.

use std::fmt;
use std::str::FromStr;

use mason_core::image::Name;

use super::digest::Digest;
use super::error::Error;

pub use mason_core::image::DEFAULT_REGISTRY;
/// Longest reference, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 512;

/// The name of an image, in full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host, with a port if it has one.
    pub registry: String,
    /// Path at the registry.
    pub repository: String,
    /// Which one there. With a digest, only a remark.
    pub tag: Option<String>,
    /// Exactly which one.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        parse(text).map_err(|rule| {
            let text = text.chars().take(100).collect();
            Error::BadReference { text, rule }
        })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > REFERENCE_BYTES_MAX {
        return Err("it is longer than 512 bytes");
    }
    // How names are filled in is one function, which placement uses, too.
    let Name { registry, in_library, repository, tag, digest } = Name::split(text);
    let digest = match digest.map(str::parse) {
        None => None,
        Some(Ok(digest)) => Some(digest),
        Some(Err(_)) => {
            return Err("after @ there must be sha256: and 64 lowercase hex digits");
        }
    };
    check_registry(registry)?;
    let tag = tag.map(|tag| check_tag(tag).map(str::to_owned)).transpose()?;
    check_repository(repository)?;
    let prefix = if in_library { "library/" } else { "" };
    let repository = format!("{prefix}{repository}");
    Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "no IPv6 address is in the [ ]")?;
            (None, port.strip_prefix(':'))
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    if let Some(host) = host {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        if host.is_empty() || !host.bytes().all(plain) || host.starts_with(['.', '-']) {
            return Err("the registry is no host name");
        }
    }
    match port.map(str::parse::<u16>) {
        None => Ok(()),
        Some(Ok(port)) if port > 0 => Ok(()),
        Some(_) => Err("the registry's port is no number from 1 to 65535"),
    }
}

fn check_tag(tag: &str) -> Result<&str, &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match tag.as_bytes() {
        [] => Err("the tag is empty"),
        bytes if bytes.len() > 128 => Err("the tag is longer than 128 bytes"),
        [first, ..] if !word(*first) => Err("the tag begins with . or -"),
        bytes if bytes.iter().all(|&byte| word(byte) || byte == b'.' || byte == b'-') => Ok(tag),
        _ => Err("only A-Z, a-z, 0-9 and _ . - may be in the tag"),
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if repository.is_empty() {
        return Err("there is no repository");
    }
    for part in repository.split('/') {
        let bytes = part.as_bytes();
        if bytes.iter().any(u8::is_ascii_uppercase) {
            return Err("the repository has an uppercase letter");
        }
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err("the repository has an empty part");
        };
        if !word(*first) || !word(*last) {
            return Err("a part of the repository begins or ends with no letter or digit");
        }
        if !bytes.iter().all(|&byte| word(byte) || matches!(byte, b'.' | b'_' | b'-')) {
            return Err("only a-z, 0-9 and . _ - / may be in the repository");
        }
        if part.contains("..") {
            return Err("the repository has .. in it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Reference;

    /// People write short names; a store that took them for other images would run the wrong code.
    #[test]
    fn short_names_mean_what_docker_means_by_them() {
        let hex = "a".repeat(64);
        let digest = format!("sha256:{hex}");
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("alpine:3.18", "docker.io/library/alpine:3.18".to_owned()),
            ("mason/tiny", "docker.io/mason/tiny:latest".to_owned()),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest".to_owned()),
            ("localhost/x", "localhost/x:latest".to_owned()),
            ("127.0.0.1:5000/a/b:1_x", "127.0.0.1:5000/a/b:1_x".to_owned()),
            ("[::1]:5000/a:t", "[::1]:5000/a:t".to_owned()),
            ("quay.io/a__b/c-d", "quay.io/a__b/c-d:latest".to_owned()),
            (&format!("h:5000/a/b@{digest}"), format!("h:5000/a/b@{digest}")),
            (&format!("busybox:1@{digest}"), format!("docker.io/library/busybox:1@{digest}")),
        ] {
            let parsed: Reference = text.parse().unwrap();
            assert_eq!(parsed.to_string(), full, "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), parsed, "full text means the same");
        }
    }

    /// A refusal that does not name the rule leaves a user guessing.
    #[test]
    fn refusals_name_the_rule() {
        for (text, rule) in [
            ("", "empty"),
            ("BusyBox", "uppercase"),
            ("a//b", "empty part"),
            ("a/../b", "letter or digit"),
            ("a..b", ".."),
            ("a:", "the tag is empty"),
            ("a:-x", "begins with"),
            ("a:b c", "may be in the tag"),
            ("a@sha256:12", "64 lowercase hex"),
            ("a@md5:12", "sha256"),
            ("host:port/x", "port"),
            ("host:0/x", "port"),
            ("-x.com/x", "no host name"),
            ("[zz]:1/x", "IPv6"),
            ("ho st.com/x", "no host name"),
            ("file:///etc/passwd", "port"),
            (&"a".repeat(600), "longer than 512"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(rule), "{text}: {error}");
        }
    }
}
