//! Users who show a certificate in place of a password.

use std::path::Path;

use super::clients::curl;
use super::papers::{Authority, Papers, Person};
use super::secured::{Secured, flag, papers, shown};
use crate::cluster::fleet::Said;
use crate::support::programs;

const DENIED: &str = "etcdserver: permission denied";
const NO_USER: &str = "etcdserver: user name is empty";
/// A put of the key `mine`, in JSON.
const PUT: &str = r#"{"key":"bWluZQ=="}"#;

/// A member, an authority, and the papers of some who come.
struct Stage {
    member: Secured,
    authority: Authority,
}

fn named(authority: &Authority, name: &str, serial: u64) -> Papers {
    authority.sign(
        if name.is_empty() { "nameless" } else { name },
        Person { common_name: name, serial, ..Person::CLIENT },
    )
}

impl Stage {
    fn ctl(&self, own: &Papers, words: &[&str]) -> Said {
        self.member.ctl(&self.authority.file(), Some(own), words)
    }

    #[track_caller]
    fn may(&self, own: &Papers, words: &[&str]) {
        let said = self.ctl(own, words);
        assert!(said.worked, "{words:?}: {said:?}\n{}", self.member.log());
    }

    #[track_caller]
    fn is_told(&self, own: &Papers, words: &[&str], why: &str) {
        let said = self.ctl(own, words);
        assert!(!said.worked && said.err.contains(why), "{words:?}: {said:?}");
    }

    /// What the gateway answers to whoever shows these papers, and how.
    fn gateway(&self, own: &Papers) -> Option<String> {
        let url = format!("https://127.0.0.1:{}/v3/kv/put", self.member.port);
        let path = |path: &Path| path.display().to_string();
        let (cert, key) = (path(&own.cert), path(&own.key));
        let form =
            ["--write-out", " %{http_code}", "--cert", &cert, "--key", &key, "-d", PUT, &url];
        curl(&self.authority.file(), &form)
    }
}

/// What kubeadm's clients rely on, and what would let a gateway's clients be the gateway: the name
/// in a verified certificate is the user's, a token counts more, and JSON has no certificate.
#[test]
fn certificate_is_a_user_where_certificates_are_asked_for() {
    if programs::real_or_skip("tls::names::certificate_is_a_user").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let mut flags = shown(&server);
    flags.push(flag("trusted-ca-file", &authority.file()));
    flags.push("--bcrypt-cost=4".to_owned());
    let [root, alice, ghost, nameless] = [("root", 21), ("alice", 22), ("ghost", 23), ("", 24)]
        .map(|(name, at)| named(&authority, name, at));
    let asking = [flags.clone(), vec!["--client-cert-auth".to_owned()]].concat();
    let mut stage = Stage { member: Secured::start(folder, &asking), authority };
    for words in [
        "user add root:of-root",
        "user add alice --no-password",
        "role add mine",
        "role grant-permission mine readwrite mine",
        "user grant-role alice mine",
        "user grant-role root root",
        "auth enable",
    ] {
        stage.may(&nameless, &words.split(' ').collect::<Vec<_>>());
    }
    stage.may(&alice, &["put", "mine", "1"]);
    stage.is_told(&alice, &["put", "other", "1"], DENIED);
    stage.may(&alice, &["--user=root:of-root", "put", "other", "1"]);
    stage.may(&root, &["user", "list"]);
    stage.is_told(&alice, &["user", "list"], DENIED);
    stage.is_told(&ghost, &["put", "mine", "1"], DENIED);
    stage.is_told(&nameless, &["put", "mine", "1"], NO_USER);
    stage.may(&nameless, &["--user=root:of-root", "put", "mine", "1"]);
    if let Some(said) = stage.gateway(&root) {
        assert!(said.contains(NO_USER) && said.ends_with(" 400"), "{said}");
    }
    // Certificates are looked at here, too, but nobody has said that they name users.
    let (folder, _) = stage.member.stop();
    stage.member = Secured::start(folder, &flags);
    stage.is_told(&alice, &["put", "mine", "1"], NO_USER);
    stage.is_told(&root, &["user", "list"], NO_USER);
    stage.may(&alice, &["--user=root:of-root", "put", "mine", "1"]);
}
