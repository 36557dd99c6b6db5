//! From YAML text to trees, document by document, with a bound on everything.
//!
//! The parser and its budget are serde-saphyr's; what is done here is what serde's data model has
//! no room for: lines, the letters of scalars, and keys that come twice. A text of a megabyte may
//! ask for much more than a megabyte by aliases of aliases, so each alias is paid for by the nodes,
//! bytes and levels of what it stands for.

use std::collections::{HashMap, HashSet};

use serde_saphyr::budget::{BudgetBreach, EnforcingPolicy, check_yaml_budget};
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};

use super::problem::{Path, Report};
use super::tree::{Node, Scalar, Value, classify};
use super::{DEPTH_MAX, DOCUMENTS_MAX, NODES_MAX, TEXT_BYTES_MAX};

/// Aliases, anchors and merges, of each so many: no manifest that a person writes has a tenth.
const ALIASES_MAX: usize = 1000;

/// The documents of a text, by number; empty ones are left out. What is wrong is reported, and
/// what came before it is still there.
pub(super) fn documents(text: &str, report: &Report) -> Vec<(usize, Node)> {
    let budget = serde_saphyr::budget! {
        max_reader_input_bytes: None,
        simple_key_max_lookahead: 1024,
        flow_nesting_limit: DEPTH_MAX,
        max_events: 4 * NODES_MAX,
        max_aliases: ALIASES_MAX,
        max_anchors: ALIASES_MAX,
        max_depth: DEPTH_MAX,
        max_documents: DOCUMENTS_MAX,
        max_nodes: NODES_MAX,
        max_total_scalar_bytes: 2 * TEXT_BYTES_MAX,
        max_merge_keys: ALIASES_MAX,
        enforce_alias_anchor_ratio: false,
    }
    .expect("the macro makes a budget");
    // A syntax error is reported below, where its document is known.
    if let Ok(spent) = check_yaml_budget(text, budget, EnforcingPolicy::AllContent)
        && let Some(breach) = &spent.breached
    {
        report.enter(spent.documents.max(1));
        report.bad(0, &Path::default(), said(breach));
        return Vec::new();
    }
    let options = serde_saphyr::granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX + 1,
    };
    Composer::new(text, options, report).documents()
}

fn said(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Depth { .. } => format!("is nested deeper than {DEPTH_MAX} levels"),
        BudgetBreach::Documents { .. } => format!("is one document more than {DOCUMENTS_MAX}"),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("has more than {NODES_MAX} values")
        }
        BudgetBreach::Aliases { .. } => format!("has more than {ALIASES_MAX} aliases"),
        BudgetBreach::Anchors { .. } => format!("has more than {ALIASES_MAX} anchors"),
        BudgetBreach::MergeKeys { .. } => format!("has more than {ALIASES_MAX} merge keys"),
        other => format!("asks for more than a manifest may: {other:?}"),
    }
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    report: &'a Report,
    anchors: HashMap<usize, Node>,
    /// Nodes and bytes that aliases made.
    copied: (usize, usize),
    /// Nodes and bytes that are kept for aliases: anchors in anchors keep the same ones again.
    kept: (usize, usize),
    document: usize,
}

/// No more documents can be read; why has been reported.
struct Stop;

type Read<T> = Result<T, Stop>;

/// The entries of a map, in order.
type Entries = Vec<(Box<str>, Node)>;

impl<'a> Composer<'a> {
    fn new(text: &'a str, options: Options, report: &'a Report) -> Composer<'a> {
        let parser = Parser::with_options(StrInput::new(text), options);
        Composer {
            parser,
            report,
            anchors: HashMap::new(),
            copied: (0, 0),
            kept: (0, 0),
            document: 0,
        }
    }

    fn documents(mut self) -> Vec<(usize, Node)> {
        let mut found = Vec::new();
        while let Ok(Some((event, span))) = self.next() {
            match event {
                Event::DocumentStart(..) => {
                    self.document += 1;
                    self.report.enter(self.document);
                    self.anchors.clear();
                }
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                event => match self.node(event, span, 0, &Path::default()) {
                    Ok(node) if node.is_null() => {}
                    Ok(node) => found.push((self.document, node)),
                    Err(Stop) => break,
                },
            }
        }
        found
    }

    /// The next event that matters.
    fn next(&mut self) -> Read<Option<(Event<'a>, Span)>> {
        loop {
            match self.parser.next() {
                None => return Ok(None),
                Some(Ok((Event::Anchor(..), _))) => {}
                Some(Ok(event)) => return Ok(Some(event)),
                Some(Err(error)) => {
                    self.report.enter(self.document.max(1));
                    let line = line_of(error.marker().line());
                    let message = format!("is no YAML: {}", error.info());
                    self.report.bad(line, &Path::default(), message);
                    return Err(Stop);
                }
            }
        }
    }

    fn must(&mut self) -> Read<(Event<'a>, Span)> {
        self.next()?.ok_or(Stop)
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize, path: &Path) -> Read<Node> {
        let line = line_of(span.start.line());
        if depth > DEPTH_MAX {
            self.report.bad(line, path, format!("is nested deeper than {DEPTH_MAX} levels"));
            return Err(Stop);
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let plain = self.tagged(line, path, &text, plain, tag.as_deref());
                (anchor, Node { line, value: Value::Scalar { text: text.into(), plain } })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag_is(line, path, tag.as_deref(), "seq");
                (anchor, Node { line, value: Value::List(self.items(depth, path)?) })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag_is(line, path, tag.as_deref(), "map");
                (anchor, Node { line, value: Value::Map(self.entries(depth, path)?) })
            }
            Event::Alias(anchor) => return self.alias(anchor, line, depth, path),
            _ => {
                self.report.bad(line, path, "is no YAML: a value is missing");
                return Err(Stop);
            }
        };
        if anchor != 0 {
            self.kept.0 += node.count();
            self.kept.1 += node.bytes();
            if self.kept.0 > NODES_MAX || self.kept.1 > TEXT_BYTES_MAX {
                let message = "has an anchor too many: they stand for too much text";
                self.report.bad(line, path, message);
                return Err(Stop);
            }
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize, path: &Path) -> Read<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.must()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => {
                    let path = path.index(items.len());
                    items.push(self.node(event, span, depth + 1, &path)?);
                }
            }
        }
    }

    fn entries(&mut self, depth: usize, path: &Path) -> Read<Vec<(Box<str>, Node)>> {
        let (mut entries, mut merged) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.must()?;
            if event == Event::MappingEnd {
                break;
            }
            let line = line_of(span.start.line());
            let merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, span, depth + 1, path)?;
            let Value::Scalar { text, .. } = key.value else {
                self.report.bad(line, path, "has a key that is no text");
                return Err(Stop);
            };
            let (event, span) = self.must()?;
            let node = self.node(event, span, depth + 1, &path.key(&text))?;
            match merge {
                true => merged.push(node),
                false => entries.push((text, node)),
            }
        }
        if !merged.is_empty() {
            let mut known = entries.iter().map(|(key, _)| key.clone()).collect();
            for node in merged {
                self.merge(&mut entries, &mut known, node, path);
            }
        }
        Ok(entries)
    }

    /// `<<`: the entries of another map, or of several, unless they are there.
    /// `known` are their keys: collected once, since a text can merge tens of thousands of maps
    /// into one as large.
    fn merge(&self, entries: &mut Entries, known: &mut HashSet<Box<str>>, node: Node, path: &Path) {
        match node.value {
            Value::Map(mut others) => {
                others.retain(|(key, _)| !known.contains(key));
                known.extend(others.iter().map(|(key, _)| key.clone()));
                entries.extend(others);
            }
            Value::List(maps) if maps.iter().all(|map| matches!(map.value, Value::Map(_))) => {
                maps.into_iter().for_each(|map| self.merge(entries, known, map, path));
            }
            _ => self.report.bad(node.line, &path.key("<<"), "must be a map, or a list of maps"),
        }
    }

    /// A copy of what an anchor stands on, paid for.
    fn alias(&mut self, anchor: usize, line: u32, depth: usize, path: &Path) -> Read<Node> {
        let Some(node) = self.anchors.get(&anchor) else {
            self.report.bad(line, path, "is an alias of itself");
            return Err(Stop);
        };
        self.copied.0 += node.count();
        self.copied.1 += node.bytes();
        if self.copied.0 > NODES_MAX || self.copied.1 > TEXT_BYTES_MAX {
            self.report.bad(line, path, "is an alias too many: they stand for too much text");
            return Err(Stop);
        }
        if depth + node.height() > DEPTH_MAX {
            self.report.bad(line, path, format!("is nested deeper than {DEPTH_MAX} levels"));
            return Err(Stop);
        }
        Ok(Node { line, ..node.clone() })
    }

    /// Whether a scalar still counts as written without quotes, under its tag.
    fn tagged(&self, line: u32, path: &Path, text: &str, plain: bool, tag: Option<&Tag>) -> bool {
        let Some(tag) = tag else { return plain };
        let fits = match (tag.core_suffix(), classify(text)) {
            (Some("str"), _) => return false,
            (Some("null"), Scalar::Null) | (Some("bool"), Scalar::Bool(_)) => plain,
            (Some("int" | "float"), Scalar::Number) => plain,
            _ => false,
        };
        if !fits {
            self.bad_tag(line, path);
        }
        plain
    }

    fn tag_is(&self, line: u32, path: &Path, tag: Option<&Tag>, right: &str) {
        if tag.is_some_and(|tag| tag.core_suffix() != Some(right)) {
            self.bad_tag(line, path);
        }
    }

    /// The tag is not repeated: a password that begins with `!` is one, too.
    fn bad_tag(&self, line: u32, path: &Path) {
        let message = "has a tag that is not supported here; text that begins with ! needs quotes";
        self.report.bad(line, path, message);
    }
}

fn line_of(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}
