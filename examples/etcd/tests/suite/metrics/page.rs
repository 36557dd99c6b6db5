//! Prometheus' text format, read strictly: whatever is not exactly right is a panic.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A page of metrics.
#[derive(Debug)]
pub(crate) struct Page(pub(crate) BTreeMap<String, Family>);

/// All numbers of one name.
#[derive(Debug)]
pub(crate) struct Family {
    /// counter, gauge or histogram.
    pub(crate) kind: String,
    samples: Vec<Sample>,
}

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

type Labels = BTreeMap<String, String>;

impl Page {
    /// Asks the server at `address`, as `host:port`.
    pub(crate) fn fetch(address: &str) -> Page {
        let (status, body) = get(address, "/metrics");
        assert_eq!(status, 200, "{body}");
        Page::parse(&body)
    }

    /// Reads a page.
    pub(crate) fn parse(text: &str) -> Page {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut families = BTreeMap::<String, Family>::new();
        let (mut help, mut current) = (None::<String>, None::<String>);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                help = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert_eq!(help.take().as_deref(), Some(name), "its help is before it");
                let known = ["counter", "gauge", "histogram", "summary"].contains(&kind);
                assert!(known, "{line}");
                let family = Family { kind: kind.to_owned(), samples: Vec::new() };
                let before = families.insert(name.to_owned(), family);
                assert!(before.is_none(), "{name} is there once");
                current = Some(name.to_owned());
            } else {
                let sample = Sample::parse(line);
                let name = current.as_ref().unwrap_or_else(|| panic!("no type: {line}"));
                let family = families.get_mut(name).expect("it was begun");
                let suffix = sample.name.strip_prefix(name.as_str());
                let suffixes: &[&str] = match family.kind.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(suffix.is_some_and(|suffix| suffixes.contains(&suffix)), "{line}");
                family.samples.push(sample);
            }
        }
        for (name, family) in &families {
            family.check(name);
        }
        Page(families)
    }

    /// The only number of a name that has these labels among others.
    pub(crate) fn number(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} with {labels:?}"))
    }

    /// The same, if there is one.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let part = |suffix: &str| name.strip_suffix(suffix).and_then(|name| self.0.get(name));
        let family = self
            .0
            .get(name)
            .or_else(|| ["_bucket", "_sum", "_count"].into_iter().find_map(part))?;
        let has = |sample: &&Sample| {
            let mut labels = labels.iter();
            sample.name == name
                && labels.all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
        };
        let found: Vec<&Sample> = family.samples.iter().filter(has).collect();
        assert!(found.len() <= 1, "{name} with {labels:?} is not one number: {found:?}");
        found.first().map(|sample| sample.value)
    }

    /// The sum of all numbers of a name.
    pub(crate) fn total(&self, name: &str) -> f64 {
        let samples = self.0.get(name).map_or(&[][..], |family| &family.samples);
        samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value).sum()
    }
}

impl Family {
    /// The names of its labels, without that of the buckets; `None` if there is no number.
    pub(crate) fn labels(&self) -> Option<Vec<&str>> {
        let names = |sample: &Sample| -> BTreeSet<String> {
            sample.labels.keys().filter(|name| *name != "le").cloned().collect()
        };
        let first = self.samples.first()?;
        assert!(
            self.samples.iter().all(|sample| names(sample) == names(first)),
            "one set of labels"
        );
        Some(first.labels.keys().map(String::as_str).filter(|name| *name != "le").collect())
    }

    fn check(&self, name: &str) {
        let mut seen = Vec::new();
        for sample in &self.samples {
            let key = (&sample.name, &sample.labels);
            assert!(!seen.contains(&key), "{key:?} is there once");
            seen.push(key);
            assert!(self.kind == "gauge" || sample.value >= 0.0, "{sample:?}");
        }
        if self.kind != "histogram" {
            return;
        }
        let mut series = BTreeMap::<Labels, Vec<&Sample>>::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let le = labels.remove("le");
            assert_eq!(le.is_some(), sample.name.ends_with("_bucket"), "{sample:?}");
            series.entry(labels).or_default().push(sample);
        }
        for (labels, samples) in series {
            let (buckets, rest) = samples.split_at(samples.len() - 2);
            let bound = |sample: &&Sample| -> f64 {
                sample.labels["le"].parse().unwrap_or_else(|_| panic!("a bound: {sample:?}"))
            };
            assert!(buckets.iter().map(bound).is_sorted_by(|a, b| a < b), "{name} {labels:?}");
            assert!(buckets.iter().map(|sample| sample.value).is_sorted(), "{name} {labels:?}");
            let last = buckets.last().unwrap_or_else(|| panic!("{name} has no bucket"));
            assert_eq!(last.labels["le"], "+Inf", "{name}");
            assert_eq!(rest[0].name, format!("{name}_sum"));
            assert_eq!(rest[1].name, format!("{name}_count"));
            assert_eq!(rest[1].value, last.value, "{name} {labels:?}");
        }
    }
}

impl Sample {
    fn parse(line: &str) -> Sample {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = line.find(|c| !is_name(c)).unwrap_or_else(|| panic!("no value: {line}"));
        let (name, mut rest) = line.split_at(end);
        assert!(!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        let mut labels = Labels::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(!label.is_empty() && label.chars().all(is_name), "{line}");
                let (text, after) = quoted(value, line);
                assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
                rest = after;
                match rest.strip_prefix(',') {
                    Some(next) => rest = next,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
        }
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
        Sample { name: name.to_owned(), labels, value }
    }
}

/// A label's value up to its closing quote, and what follows.
fn quoted<'t>(text: &'t str, line: &str) -> (String, &'t str) {
    let (mut out, mut chars) = (String::new(), text.char_indices());
    while let Some((at, character)) = chars.next() {
        match character {
            '"' => return (out, &text[at + 1..]),
            '\\' => out.push(match chars.next().map(|(_, c)| c) {
                Some('n') => '\n',
                Some(c @ ('\\' | '"')) => c,
                other => panic!("escape {other:?}: {line}"),
            }),
            other => out.push(other),
        }
    }
    panic!("no end of a value: {line}")
}

/// Status and body of a page at `address`.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server answers");
    let text = String::from_utf8(bytes).expect("a page is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a response has a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { joined(body) } else { body.to_owned() };
    (status.expect("a response has a status"), body)
}

/// A body that came in chunks.
fn joined(mut body: &str) -> String {
    let mut text = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").expect("a chunk has a length");
        let length = usize::from_str_radix(length, 16).expect("in hexadecimal");
        if length == 0 {
            return text;
        }
        text.push_str(&rest[..length]);
        body = rest[length..].strip_prefix("\r\n").expect("a chunk has an end");
    }
}

// A reader that lets everything pass proves nothing.
#[test]
fn what_prometheus_refuses_is_refused() {
    let refused = |text: &str| {
        let text = text.to_owned();
        std::panic::catch_unwind(move || Page::parse(&text)).is_err()
    };
    let head = "# HELP a b\n# TYPE a histogram\n";
    assert!(!refused(&format!("{head}a_bucket{{le=\"+Inf\"}} 1\na_sum 1\na_count 1\n")));
    assert!(refused(&format!("{head}a_bucket{{le=\"+Inf\"}} 1\na_sum 1\na_count 2\n")));
    assert!(refused(&format!("{head}a_bucket{{le=\"1\"}} 1\na_sum 1\na_count 1\n")));
    let shrinks = "a_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n";
    assert!(refused(&format!("{head}{shrinks}")));
    assert!(refused("a 1\n"), "no type");
    assert!(refused("# TYPE a gauge\na 1\n"), "no help");
    assert!(refused("# HELP a b\n# TYPE a gauge\na 1\na 1\n"), "twice");
    assert!(refused("# HELP a b\n# TYPE a gauge\na 1\n# HELP a b\n# TYPE a gauge\n"), "two heads");
    assert!(refused("# HELP a b\n# TYPE a gauge\na{b=\"c} 1\n"), "no quote");
    assert!(refused("# HELP a b\n# TYPE a gauge\na x\n"), "no number");
    assert!(refused("# HELP a b\n# TYPE a counter\na -1\n"), "a counter below zero");
}
