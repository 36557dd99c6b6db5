//! Command lines, and what is said of those that cannot be done.

use super::ends;

/// Scripts tell a mistake of theirs from one of the cluster by the code.
#[test]
fn each_kind_of_failure_has_its_code() {
    let home = tempfile::tempdir().unwrap();
    let nobody = ["--server", "http://127.0.0.1:1"];
    for (words, code, said) in [
        (&["frobnicate"][..], 2, "frobnicate"),
        (&["get", "jobs"], 1, "mason dev"),
        (&[nobody[0], nobody[1], "get", "jobs"], 4, "127.0.0.1:1"),
        (&[nobody[0], nobody[1], "run", "--image", "x"], 125, "127.0.0.1:1"),
        (&["run", "--image", "x"], 125, "mason dev"),
        (&["--server", "https://x", "health"], 1, "TLS"),
        (&["--log", "a=b=c", "version"], 2, "--log"),
        (&["server"], 2, "--store"),
        (
            &["agent", "--store", "http://127.0.0.1:1", "--listen", "0.0.0.0:0", "--node", "n"],
            1,
            "token",
        ),
        (&["server", "--store", "http://127.0.0.1:1", "--listen", "0.0.0.0:0"], 1, "token"),
    ] {
        let (found, out, error) = ends(home.path(), words);
        assert_eq!((found, &*out), (code, ""), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error}");
    }
}

/// A message is one line, for logs and for eyes.
#[test]
fn a_failure_is_one_line() {
    let home = tempfile::tempdir().unwrap();
    let (_, _, error) = ends(home.path(), &["apply", "-f", "no\x1b[31msuch"]);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!error.contains('\x1b'), "{error:?}");
    let (code, out, _) = ends(home.path(), &["version"]);
    assert!(code == 0 && out.starts_with("mason "), "{out}");
}

/// A shell that completes nothing does not say why.
#[test]
fn shells_are_told_all_commands() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = ends(home.path(), &["completion", shell]);
        assert_eq!(code, 0);
        for word in ["rollout", "explain", "drain"] {
            assert!(out.contains(word), "{shell}: {word}");
        }
    }
}
