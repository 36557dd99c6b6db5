//! From a user's text to what mason runs: three dialects in, one kind of object out.
//!
//! # Problem
//! People have manifests already: of Kubernetes, of Argo, and what they type by hand. A reader that
//! is too kind runs something else than what is written, and says nothing; one that is too strict,
//! or stops at the first mistake, is fought instead of used. And the text may come from anybody: a
//! kilobyte of aliases can stand for a gigabyte.
//!
//! # Idea
//! ```text
//!            yaml, json              cursor                    native ─┐
//!   text ───────────────► tree ──────────────────► dialects ── kube ───┼─► Object, warnings
//!          bounds on all         path, line, seen              argo ───┘      │
//!                                     │                          ▲            │
//!                                     ▼                          └── show ◄───┘
//!                                 Problems: every one, by path
//! ```
//! The text becomes a tree that keeps lines, the letters of scalars and even keys that come twice
//! (`tree`). Every reader walks it with a cursor that knows its path and what it has seen
//! (`cursor`): a key that no reader asked for is reported by the cursor itself, so no dialect can
//! forget one. A mistake is noted and reading goes on (`problem`).
//!
//! ```
//! use mason_core::manifest::{Options, read, show};
//!
//! let text = "{kind: Job, name: hi, image: busybox, command: [echo, hi]}";
//! let objects = read(text, &Options::default())?;
//! assert_eq!(read(&show(&objects[0]), &Options::default())?, objects);
//!
//! let problems = read(&text.replace("image", "imgae"), &Options::default()).unwrap_err();
//! assert_eq!(problems.list.len(), 2, "one is missing, and one is not known");
//! assert!(problems.to_string().contains("imgae: is no field that is known here; did you mean"));
//! # Ok::<(), mason_core::manifest::Problems>(())
//! ```
//!
//! # Promises
//! - Nothing of a manifest is dropped in silence, but for comments and descriptions: it is in the
//!   object, or in [`Problems`], or in [`Object::warnings`].
//! - Text without `apiVersion` is mason's own dialect; Kubernetes' and Argo's are known by theirs,
//!   and their defaults are those that their users know; their modules say where they are not.
//! - [`read()`] of what [`show()`] prints is the same work.
//! - Time and memory are bounded by [`TEXT_BYTES_MAX`] and the limits beside it.
//! - No message holds the value of a secret, nor any line of the text as it is.
//!
//! # Not here
//! Whether a name is free, a config map is there, a time zone is known or an image exists: that is
//! asked by those who hold the state.

mod argo;
mod cursor;
mod expr;
mod flow;
mod json;
mod kube;
mod native;
mod problem;
pub mod quantity;
mod rules;
mod secret;
mod show;
mod tree;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use expr::{BadExpr, format as format_constraint, parse as parse_constraint};
pub use expr::{check_key as check_label, check_value as check_label_value};
pub use problem::{PROBLEMS_MAX, Problem, Problems};
pub use secret::SecretBytes;
pub use show::show;

use crate::record::{ConfigRecord, VALUE_BYTES_MAX, encode};
use crate::spec::Work;
use cursor::{Field, Map};
use problem::{Path, Report};

/// Longest text, bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Documents of a text at most.
pub const DOCUMENTS_MAX: usize = 1000;
/// Levels of lists and maps in a document at most.
pub const DEPTH_MAX: usize = 64;
/// Values in a text at most, those that aliases stand for counted again.
pub const NODES_MAX: usize = 250_000;

/// How a text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Fields that are not supported become warnings, and are ignored. What is malformed stays an
    /// error.
    pub lenient: bool,
}

/// One thing that a user wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Where; the caller's own namespace if none.
    pub namespace: Option<String>,
    /// What it is called.
    pub name: Name,
    /// For people and selectors.
    pub labels: BTreeMap<String, String>,
    /// What it is.
    pub body: Body,
    /// What its user may not expect, each with its path.
    pub warnings: Vec<String>,
}

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// This.
    Given(String),
    /// This, and some letters that make it unique; [`GENERATED_BYTES`] at most.
    Generate(String),
}

/// Letters behind a [`Name::Generate`] at most: prefix and letters together are a name.
pub const GENERATED_BYTES: usize = 10;

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Given(name) => f.write_str(name),
            Name::Generate(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// What an object is.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// Something that is scheduled.
    Work(Box<Work>),
    /// A config map.
    Config(ConfigRecord),
    /// A secret, not sealed yet.
    Secret {
        /// `Opaque`, or a type of Kubernetes'.
        kind: String,
        /// Key to bytes.
        data: BTreeMap<String, SecretBytes>,
    },
    /// A namespace.
    Namespace,
}

impl Body {
    /// As a word for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Work(work) => work.kind(),
            Body::Config(_) => "config",
            Body::Secret { .. } => "secret",
            Body::Namespace => "namespace",
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Work(work) => work.fmt(f),
            Body::Config(config) => config.fmt(f),
            Body::Secret { kind, data } => {
                let keys: Vec<&String> = data.keys().collect();
                f.debug_struct("Secret").field("kind", kind).field("keys", &keys).finish()
            }
            Body::Namespace => f.write_str("Namespace"),
        }
    }
}

/// Reads a text of YAML or JSON, of one or several documents.
///
/// # Errors
/// Lists everything that is wrong with any of them. Then nothing of the text should be applied.
pub fn read(text: &str, options: &Options) -> Result<Vec<Object>, Problems> {
    let report = Report::new(options.lenient);
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("is {} bytes, more than {TEXT_BYTES_MAX}", text.len());
        report.bad(0, &Path::default(), message);
        report.finish()?;
        return Ok(Vec::new());
    }
    let mut objects = Objects::default();
    for (document, node) in trees(text, &report) {
        report.enter(document);
        object(&Field { node: &node, path: Path::default(), report: &report }, &mut objects);
    }
    report.finish().map(|()| objects.list)
}

fn trees(text: &str, report: &Report) -> Vec<(usize, tree::Node)> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if !start.starts_with(['{', '[']) {
        return yaml::documents(text, report);
    }
    let error = match json::documents(start) {
        Ok(found) => return found,
        Err(error) => error,
    };
    // YAML has brackets, too, and no bounds on its numbers: there a field can be named that has one
    // too large. If it is neither, `{"` begins JSON and nothing that people write as YAML.
    let scratch = Report::new(false);
    let found = yaml::documents(text, &scratch);
    if scratch.count() == 0 {
        return found;
    }
    if !start[1..].trim_start().starts_with('"') || start.contains("\n---") {
        return yaml::documents(text, report);
    }
    let above = text[..text.len() - start.len()].matches('\n').count();
    let line = u32::try_from(above + error.line()).unwrap_or(0);
    report.bad(line, &Path::default(), format!("is no JSON: {error}"));
    Vec::new()
}

/// What was read so far.
#[derive(Default)]
struct Objects {
    list: Vec<Object>,
    /// The kind of each, by what names it.
    names: BTreeMap<(&'static str, Option<String>, String), &'static str>,
}

/// Reads one document, which is one object, or many in a `List`.
fn object(field: &Field<'_>, objects: &mut Objects) {
    if !field.is_map() {
        field.bad(format!("must be a map with a `kind`, not {}", field.found()));
        return;
    }
    let known = objects.list.len();
    field.map(|map| {
        let before = field.report.count();
        let version = map.get("apiVersion").map(|version| version.text().unwrap_or_default());
        let Some(kind) = map.need("kind").and_then(|kind| kind.text()) else {
            map.all();
            return;
        };
        if kind == "List" && version.as_deref() == Some("v1") {
            map.no_effect(&["metadata"], "a list has none of its own");
            for item in map.get("items").map(|items| items.list()).unwrap_or_default() {
                object(&item, objects);
            }
            return;
        }
        let read = match version.as_deref() {
            None => native::object(map, &kind),
            Some("argoproj.io/v1alpha1") => argo::object(map, &kind),
            Some(version) => kube::object(map, version, &kind),
        };
        let Some((header, body)) = read else { return };
        let Header { namespace, name: Some(name), labels } = header else { return };
        let object = Object { namespace, name, labels, body, warnings: Vec::new() };
        if before == field.report.count() {
            check(map, &object, objects);
        }
        objects.list.push(object);
    });
    // Only now the cursor has said what nobody asked for.
    if objects.list.len() > known
        && let Some(object) = objects.list.last_mut()
    {
        object.warnings.extend(field.report.take_warnings());
    }
}

/// What can be said of an object as a whole only.
fn check(map: &Map<'_>, object: &Object, objects: &mut Objects) {
    let kind = object.body.kind();
    if let Name::Given(name) = &object.name {
        let family = if matches!(object.body, Body::Work(_)) { "work" } else { kind };
        let key = (family, object.namespace.clone(), name.clone());
        if let Some(twin) = objects.names.insert(key, kind) {
            map.field().bad(format!("is called {name} as a {twin} before it; rename one"));
        }
    }
    let bytes = match &object.body {
        Body::Work(work) => encode(work).len(),
        Body::Config(config) => encode(config).len(),
        // It is sealed as base64 of base64.
        Body::Secret { data, .. } => {
            data.iter().map(|(key, value)| key.len() + value.len() * 2 + 16).sum()
        }
        Body::Namespace => 0,
    };
    // The record around it, with labels and the like, has its share too.
    const REST: usize = 4096;
    if bytes + REST > VALUE_BYTES_MAX {
        let max = VALUE_BYTES_MAX - REST;
        map.field().bad(format!("is {bytes} bytes, and {max} is all that one object may have"));
    }
}

/// What every object has.
struct Header {
    namespace: Option<String>,
    /// None if it is wrong, which has been reported.
    name: Option<Name>,
    labels: BTreeMap<String, String>,
}

impl Header {
    /// From these keys, which lie at the top in one dialect and in `metadata` in the others.
    fn read(map: &Map<'_>) -> Header {
        let namespace = map.get("namespace").and_then(|field| rules::name(&field));
        let labels = map.get("labels").map(|field| rules::labels(&field)).unwrap_or_default();
        let given = map.get("name");
        let prefix = map.get("generateName");
        let name = match (given, prefix) {
            (Some(given), prefix) => {
                if let Some(prefix) = prefix {
                    prefix.warn("has no effect beside a name");
                }
                rules::name(&given).map(Name::Given)
            }
            (None, Some(prefix)) => rules::prefix(&prefix).map(Name::Generate),
            (None, None) => {
                map.bad_at("name", "is missing");
                None
            }
        };
        Header { namespace, name, labels }
    }
}

/// Names that are there twice among siblings, reported where the second is.
fn twice<'a>(named: impl IntoIterator<Item = (String, Field<'a>)>) {
    let mut seen = BTreeSet::new();
    for (name, field) in named {
        if !seen.insert(name.clone()) {
            field.bad(format!(
                "{} is there twice; each name must be one of a kind",
                problem::shown(&name)
            ));
        }
    }
}
