//! The name of an image, in full: `busybox` and `docker.io/library/busybox:latest` are one.
//!
//! Nodes tell which images they have, and tasks say which they want. Placement compares the two as
//! text, so both must be written in the same way: [`full_name`], and nothing else, says how.
//!
//! ```text
//!   [registry '/'] repository [':' tag] ['@' digest]
//!
//!   registry    the part before the first '/', if it has a '.' or a ':' or is `localhost`;
//!               docker.io else, and one plain word there means library/<word>
//!   tag         `latest` if there is neither tag nor digest
//! ```
//!
//! What is no name of an image at all is for whoever fetches it to say.

use std::fmt;

/// The registry meant when none is named.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// The parts of a name, with what is left out filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Host, with a port if it has one.
    pub registry: &'a str,
    /// One plain word at the usual registry: it lies in `library/`.
    pub in_library: bool,
    /// Path at the registry, without `library/`.
    pub repository: &'a str,
    /// Which one there.
    pub tag: Option<&'a str>,
    /// Exactly which one.
    pub digest: Option<&'a str>,
}

impl<'a> Name<'a> {
    /// Takes a name apart. Whether the parts are good ones is not looked at.
    pub fn split(text: &'a str) -> Name<'a> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest)
            }
            _ => (DEFAULT_REGISTRY, name),
        };
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let in_library = registry == DEFAULT_REGISTRY && !repository.contains('/');
        let tag = if digest.is_none() { tag.or(Some("latest")) } else { tag };
        Name { registry, in_library, repository, tag, digest }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let library = if self.in_library { "library/" } else { "" };
        write!(f, "{}/{library}{}", self.registry, self.repository)?;
        if let Some(tag) = self.tag {
            write!(f, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A name, written in full.
pub fn full_name(text: &str) -> String {
    Name::split(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that has the image counts for nothing if it is called otherwise there.
    #[test]
    fn names_that_mean_one_image_are_one() {
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("docker.io/busybox:latest", "docker.io/library/busybox:latest"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("localhost/x", "localhost/x:latest"),
            ("h:5000/a/b@sha256:12", "h:5000/a/b@sha256:12"),
            ("busybox:1@sha256:12", "docker.io/library/busybox:1@sha256:12"),
            ("", "docker.io/library/:latest"),
        ] {
            assert_eq!(full_name(text), full, "{text}");
            assert_eq!(full_name(full), full, "{text}: a full name stays as it is");
        }
    }
}
