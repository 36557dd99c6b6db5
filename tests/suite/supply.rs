//! What may enter the dependency tree, by the lists in `deny.toml`.
//!
//! `cargo deny` is the real judge and a step of `cargo xtask test`, but it must be installed. These
//! rules need nothing, so a banned crate is seen on any machine: every crate outside the workspace
//! comes from crates.io, is not on the list of bans, and offers a licence that is on the list.

use cargo_metadata::MetadataCommand;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// One crate of the tree, as much of it as the rules look at.
#[derive(Debug, Clone, Copy)]
struct Crate<'a> {
    name: &'a str,
    /// Where it comes from; none for a crate of the workspace.
    source: Option<&'a str>,
    /// An SPDX expression such as `MIT OR Apache-2.0`.
    license: Option<&'a str>,
}

/// What is wrong with one crate, by the lists of allowed licences and banned names.
fn complaints(it: Crate<'_>, licences: &[String], banned: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let name = it.name;
    if banned.iter().any(|banned| banned == name) {
        found.push(format!("{name}: banned by deny.toml"));
    }
    let Some(source) = it.source else { return found };
    if source != CRATES_IO {
        found.push(format!("{name}: comes from {source}, not from crates.io"));
    }
    match it.license {
        Some(license) if allowed(license, licences) => {}
        Some(license) => found.push(format!("{name}: no licence of `{license}` is in deny.toml")),
        None => found.push(format!("{name}: names no licence")),
    }
    found
}

/// Whether the SPDX expression can be met with the allowed licences.
///
/// `OR` binds loosest, then `AND`; the old spelling `MIT/Apache-2.0` means `OR`.
fn allowed(expression: &str, licences: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    either(&words, &mut at, licences) && at == words.len()
}

fn either(words: &[&str], at: &mut usize, licences: &[String]) -> bool {
    let mut fine = both(words, at, licences);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        fine |= both(words, at, licences);
    }
    fine
}

fn both(words: &[&str], at: &mut usize, licences: &[String]) -> bool {
    let mut fine = single(words, at, licences);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        fine &= single(words, at, licences);
    }
    fine
}

fn single(words: &[&str], at: &mut usize, licences: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let fine = either(words, at, licences);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return fine && closed;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    licences.contains(&name)
}

/// The quoted strings after each `key = ` inside the list `name = [ .. ]` of a TOML text; without a
/// key, every quoted string of it.
fn listed(toml: &str, name: &str, key: Option<&str>) -> Vec<String> {
    let opening = format!("\n{name} = [");
    let list = toml.split_once(&opening).and_then(|(_, rest)| rest.split_once("\n]"));
    let list = list.map(|(list, _)| list).unwrap_or_default();
    let entry = |line: &str| {
        let from = key.map_or(Some(line), |key| line.split_once(key).map(|(_, rest)| rest))?;
        from.split('"').nth(1).map(str::to_owned)
    };
    list.lines().filter_map(entry).collect()
}

fn deny_toml() -> (Vec<String>, Vec<String>) {
    let text = std::fs::read_to_string(crate::root().join("deny.toml")).expect("it is there");
    (listed(&text, "allow", None), listed(&text, "deny", Some("crate = ")))
}

/// A licence or an abandoned crate that slips in deep in the tree binds every user of ours.
#[test]
fn every_crate_is_welcome() {
    let (licences, banned) = deny_toml();
    assert!(licences.len() >= 5 && banned.len() >= 4, "the lists of deny.toml are read");
    let mut command = MetadataCommand::new();
    command.manifest_path(crate::root().join("Cargo.toml"));
    command.other_options(["--filter-platform".into(), "x86_64-unknown-linux-gnu".into()]);
    let metadata = command.exec().expect("cargo metadata reads this workspace");
    assert!(metadata.packages.len() > 20, "the whole tree is listed");
    let crates = metadata.packages.iter().map(|package| {
        let source = package.source.as_ref().map(|source| source.repr.as_str());
        complaints(
            Crate { name: &package.name, source, license: package.license.as_deref() },
            &licences,
            &banned,
        )
    });
    crate::expect_none("supply", &crates.flatten().collect::<Vec<_>>());
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Each of the three rules must be able to fail.
#[test]
fn unwelcome_crate_is_seen() {
    let (licences, banned) = (names(&["MIT"]), names(&["bincode"]));
    let good = Crate { name: "bytes", source: Some(CRATES_IO), license: Some("MIT") };
    let check = |it| complaints(it, &licences, &banned);
    assert!(check(good).is_empty());
    assert_eq!(check(Crate { name: "bincode", ..good }), ["bincode: banned by deny.toml"]);
    assert_eq!(check(Crate { source: Some("git+https://example.org"), ..good }).len(), 1);
    assert_eq!(check(Crate { license: Some("GPL-3.0"), ..good }).len(), 1);
    assert_eq!(check(Crate { license: None, ..good }), ["bytes: names no licence"]);
}

/// Licence expressions nest, and `AND` asks for both.
#[test]
fn licence_expression_is_understood() {
    let licences = names(&["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "Apache-2.0 WITH LLVM-exception",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "GPL-3.0 AND BSL-1.0 OR MIT",
    ] {
        assert!(allowed(good, &licences), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "Apache-2.0", "MIT MIT"] {
        assert!(!allowed(bad, &licences), "{bad}");
    }
}

/// The lists are read from the file that `cargo deny` reads, so the two cannot drift apart.
#[test]
fn lists_are_read_from_toml() {
    let text = "[a]\nallow = [\n    \"MIT\",\n    \"ISC\",\n]\n[b]\ndeny = [\n    \
                { crate = \"bincode\", reason = \"gone\" },\n]\n";
    assert_eq!(listed(text, "allow", None), ["MIT", "ISC"]);
    assert_eq!(listed(text, "deny", Some("crate = ")), ["bincode"]);
}
