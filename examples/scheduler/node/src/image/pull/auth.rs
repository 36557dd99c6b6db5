//! Who we say we are: credentials by registry, and the tokens that they buy.
//!
//! ```text
//!   GET /v2/…/manifests/1  ──►  401, WWW-Authenticate: Bearer realm="…",service="…",scope="…"
//!   GET realm?service&scope, with the password if there is one  ──►  {"token": "…"}
//!   GET /v2/…/manifests/1, Authorization: Bearer …              ──►  200
//! ```

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::image::error::Error;
use crate::image::manifest::json;

/// Credentials by registry, never shown.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// Those of a `config.json` as docker writes it: `{"auths": {"<registry>": {"auth":
    /// "<base64>"}}}`.
    ///
    /// # Errors
    /// [`Error::BadImage`] names the registry, never what stood there.
    pub fn from_docker_config(bytes: &[u8]) -> Result<Credentials, Error> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            auths: BTreeMap<String, Auth>,
        }
        #[derive(Deserialize)]
        struct Auth {
            #[serde(default)]
            auth: String,
        }
        let config: Config = json("credentials", bytes)?;
        let mut all = BTreeMap::new();
        for (registry, Auth { auth }) in config.auths {
            let what = format!("credentials of {registry}");
            let plain = STANDARD.decode(&auth).ok().filter(|plain| plain.contains(&b':'));
            if plain.is_none() {
                return Err(Error::bad(what, "`auth` is not base64 of a name, `:` and a password"));
            }
            all.insert(host(&registry).to_owned(), auth);
        }
        Ok(Credentials(all))
    }

    /// Adds a name and password for a registry.
    pub fn add(&mut self, registry: &str, name: &str, password: &str) {
        let auth = STANDARD.encode(format!("{name}:{password}"));
        self.0.insert(host(registry).to_owned(), auth);
    }

    /// The header for a registry.
    pub(super) fn basic(&self, registry: &str) -> Option<String> {
        self.0.get(host(registry)).map(|auth| format!("Basic {auth}"))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A registry's name in one form: docker writes its own as `https://index.docker.io/v1/`.
fn host(registry: &str) -> &str {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// What a registry asks for with a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header.
    pub(super) fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut fields = BTreeMap::new();
        let mut rest = rest.trim_start();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=')?;
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            fields.insert(key.trim().to_ascii_lowercase(), value.to_owned());
            rest = after.trim_start().trim_start_matches(',').trim_start();
        }
        let realm = fields.remove("realm")?;
        let (service, scope) = (fields.remove("service"), fields.remove("scope"));
        Some(Challenge::Bearer { realm, service, scope })
    }
}

/// The token in a token server's answer.
pub(super) fn token(bytes: &[u8]) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = json("the token server's answer", bytes)?;
    let token = answer.token.or(answer.access_token);
    token.ok_or_else(|| Error::bad("the token server's answer", "there is no `token` in it"))
}

/// Text for use in a query.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b'/' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Challenge, Credentials};

    /// Registries write this header in many ways; one misread means no image.
    #[test]
    fn challenges_are_read_however_they_are_written() {
        let full =
            "Bearer realm=\"https://a.b/token\",service=\"c\", scope=\"repository:x:pull,push\"";
        let expected = Challenge::Bearer {
            realm: "https://a.b/token".to_owned(),
            service: Some("c".to_owned()),
            scope: Some("repository:x:pull,push".to_owned()),
        };
        assert_eq!(Challenge::parse(full), Some(expected));
        assert_eq!(Challenge::parse("basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse("Bearer service=\"x\""), None);
        assert_eq!(Challenge::parse("Bearer realm=\"x"), None);
    }

    /// A password in a log is a password lost.
    #[test]
    fn credentials_are_found_and_never_shown() {
        let config = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6c2VjcmV0"}}}"#;
        let credentials = Credentials::from_docker_config(config).unwrap();
        assert_eq!(credentials.basic("docker.io").as_deref(), Some("Basic bWU6c2VjcmV0"));
        assert_eq!(credentials.basic("quay.io"), None);
        assert!(!format!("{credentials:?}").contains("bWU6c2VjcmV0"));
        let broken = br#"{"auths":{"quay.io":{"auth":"c2VjcmV0"}}}"#;
        let error = Credentials::from_docker_config(broken).unwrap_err().to_string();
        assert!(error.contains("quay.io") && !error.contains("c2VjcmV0"), "{error}");
    }
}
