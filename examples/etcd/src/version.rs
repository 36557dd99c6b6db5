//! Which etcd this server speaks like.
//!
//! Clients turn features on by the version that a server reports: kube-apiserver asks for progress
//! on watches from 3.5.13 on, and tools choose their flags by the first line of `--version`. The
//! behaviour here is that of the release named below, so that is the version to report.

/// The etcd release whose behaviour this server has.
pub(crate) const SERVER: &str = "3.6.14";
/// The version that all members of a cluster agree on: the minor release.
pub(crate) const CLUSTER: &str = "3.6.0";
/// The same as the log names it.
pub(crate) const MINOR: &str = "3.6";
/// The version of the data that etcd reports beside it.
pub(crate) const STORAGE: &str = "3.6.0";
/// Our own.
pub(crate) const OWN: &str = env!("CARGO_PKG_VERSION");

/// The four lines of `--version`. Tools parse the first; the others keep etcd's shape.
pub(crate) fn banner() -> String {
    let (os, arch) = (std::env::consts::OS, go_arch());
    format!(
        "etcd Version: {SERVER}\nGit SHA: drystone-etcd-{OWN}\n\
         Go Version: none (Rust)\nGo OS/Arch: {os}/{arch}\n"
    )
}

/// What `/version` answers.
pub(crate) fn json() -> String {
    format!(r#"{{"etcdserver":"{SERVER}","etcdcluster":"{CLUSTER}","storage":"{STORAGE}"}}"#)
}

/// Go's name for this processor, which is what the fourth line has in etcd.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tools split the banner by lines and take the last word of the first one as a version.
    #[test]
    fn banner_has_four_lines_and_names_the_version_first() {
        let banner = banner();
        assert_eq!(banner.lines().count(), 4);
        assert_eq!(banner.lines().next(), Some("etcd Version: 3.6.14"));
    }
}
