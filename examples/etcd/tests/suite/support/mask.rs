//! What two honest servers may answer differently. This is the only place that says so.
//!
//! Three kinds of things are hidden, each behind a word in angle brackets:
//!
//! * **Names of this run**: ids and addresses that follow from the ports, and leases whose id the
//!   server chose. They are hidden by *value*, so a header that names another member than the one
//!   that Status named still shows as a difference.
//! * **Measures**: times taken, bytes on disk, raft positions. They are hidden by *field*; that the
//!   field is there, and is of the same type, is still compared.
//!   How often a lease was renewed in the background is a measure too.
//! * **Noise of the client**: the warnings of `etcdctl` carry a time, a source line and a random
//!   target; only the error in them is kept.

use serde_json::Value;

use super::server::Server;

/// Fields that measure, as they are called in JSON, in the `fields` format of `etcdctl`, and in raw
/// messages, and why each may differ.
const MEASURES: [(&str, &str); 18] = [
    ("raft_term", "elections before this one"),
    ("raftTerm", "elections before this one"),
    ("RaftTerm", "elections before this one"),
    ("raftIndex", "entries that are not writes, such as the leader's first, are counted too"),
    ("RaftIndex", "as raftIndex"),
    ("raftAppliedIndex", "as raftIndex"),
    ("RaftAppliedIndex", "as raftIndex"),
    ("raft_index", "as raftIndex"),
    ("raft_applied_index", "as raftIndex"),
    ("db_size", "another storage engine"),
    ("db_size_in_use", "another storage engine"),
    ("dbSize", "another storage engine"),
    ("DBSize", "another storage engine"),
    ("dbSizeInUse", "another storage engine"),
    ("hash", "a digest of the storage engine's own bytes"),
    ("Hash", "a digest of the storage engine's own bytes"),
    ("took", "a time"),
    ("Took", "a time"),
];

/// Fields that measure when they hold text. A key has a `version` too, and that one is a number.
const TEXT_MEASURES: [(&str, &str); 2] =
    [("version", "the release of the server"), ("Version", "the release of the server")];

/// Seconds until a lease ends, in JSON and in the `fields` format; a lease that is gone has -1.
/// What was granted, and what a keep-alive renewed to, stays visible.
const SECONDS_LEFT: [&str; 2] = ["ttl", "TTL"];

/// Fields that hold bytes as base64 and are shown as what they say, for the reader.
const BYTES: [&str; 4] = ["key", "value", "range_end", "blob"];

/// The names of one run and the words to show for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mask {
    /// Texts hidden wherever they appear.
    texts: Vec<(String, String)>,
    /// Numbers hidden wherever they appear as a whole JSON number.
    numbers: Vec<(u64, String)>,
}

impl Mask {
    /// A mask over the ids and addresses of `server`.
    pub(crate) fn new(server: &Server) -> Mask {
        let ids = server.ids();
        let mut mask = Mask::default();
        mask.hide_text(server.client_url(), "<client-url>");
        mask.hide_text(server.peer_url(), "<peer-url>");
        mask.hide_text(server.client_address(), "<client>");
        mask.hide_id(ids.cluster, "<cluster>");
        mask.hide_id(ids.member, "<member>");
        mask
    }

    /// Hides one more address of the server.
    pub(crate) fn hide_address(&mut self, address: &str) {
        self.hide_text(format!("http://{address}"), "<client-url>");
        self.hide_text(address.to_owned(), "<client>");
    }

    /// Hides an id in decimal and in hexadecimal.
    pub(crate) fn hide_id(&mut self, id: u64, word: &str) {
        self.hide_text(format!("{id:016x}"), word);
        self.hide_text(format!("{id:x}"), word);
        self.hide_text(format!("{id}"), word);
        self.numbers.push((id, word.to_owned()));
    }

    fn hide_text(&mut self, text: String, word: &str) {
        // A short text would hide what it should not.
        if text.len() >= 8 {
            self.texts.push((text, word.to_owned()));
        }
    }

    /// A text with every name of the run hidden.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, word) in &self.texts {
            text = text.replace(name, word);
        }
        text
    }

    /// One line of output of `etcdctl`. JSON is put in order and laid out for reading.
    pub(crate) fn line(&self, line: &str) -> String {
        if line.starts_with(['{', '['])
            && let Ok(mut value) = serde_json::from_str::<Value>(line)
        {
            if let Some(warning) = warning(&value) {
                return self.text(&warning);
            }
            self.json(&mut value);
            return lay_out(&value, 0);
        }
        let line = hide_after(line, "took = ", "<time>");
        let line = hide_after(&line, "remaining(", "<n>s)");
        let line = sorted_between(&line, "attached keys([", "])");
        let line = self.text(&line);
        // The `fields` format: "Name" : value.
        if let Some((name, value)) = line.split_once(" : ") {
            let bare = name.trim_matches('"');
            let quoted = value.starts_with('"');
            let masked = MEASURES.iter().any(|(field, _)| *field == bare)
                || bare == SECONDS_LEFT[1] && value != "-1"
                || quoted && TEXT_MEASURES.iter().any(|(field, _)| *field == bare);
            if masked && name.starts_with('"') {
                return format!("{name} : <{bare}>");
            }
        }
        line
    }

    /// A message in the `{:#?}` form of Rust, one line a field.
    pub(crate) fn message(&self, message: &str) -> Vec<String> {
        message.lines().map(|line| self.message_line(line)).collect()
    }

    fn message_line(&self, line: &str) -> String {
        let Some((name, value)) = line.split_once(": ") else { return self.text(line) };
        let (bare, quoted) = (name.trim_start(), value.starts_with('"'));
        let masked = MEASURES.iter().any(|(field, _)| *field == bare)
            || quoted && TEXT_MEASURES.iter().any(|(field, _)| *field == bare);
        if masked {
            return format!("{name}: {}", if quoted { "<text>" } else { "<number>" });
        }
        match value.char_indices().nth(200) {
            Some((cut, _)) => format!("{name}: {}.. ({} characters)", &value[..cut], value.len()),
            None => self.text(line),
        }
    }

    /// Hides what is to be hidden in a JSON value, at any depth.
    pub(crate) fn json(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    self.field(name, field);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::String(text) => *text = self.text(text),
            Value::Number(number) => {
                let id = number.as_u64().and_then(|n| self.numbers.iter().find(|(id, _)| *id == n));
                if let Some((_, word)) = id {
                    *value = Value::String(word.clone());
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn field(&self, name: &str, value: &mut Value) {
        let measure = MEASURES.iter().any(|(field, _)| *field == name)
            || value.is_string() && TEXT_MEASURES.iter().any(|(field, _)| *field == name)
            || value.as_i64().is_some_and(|left| left > 0) && name == SECONDS_LEFT[0];
        if measure {
            let kind = if value.is_number() { "<number>" } else { "<text>" };
            *value = Value::String(kind.to_owned());
        } else if let (true, Some(text)) = (BYTES.contains(&name), value.as_str()) {
            *value = Value::String(self.text(&readable(text)));
        } else if let ("keys", Some(keys)) = (name, value.as_array()) {
            // The keys of a lease come in no particular order.
            let mut keys: Vec<String> =
                keys.iter().map(|key| readable(key.as_str().unwrap_or_default())).collect();
            keys.sort_unstable();
            *value = Value::from(keys);
        } else {
            self.json(value);
        }
    }
}

/// The error in a log line of `etcdctl`, or what the line says if it holds none.
fn warning(value: &Value) -> Option<String> {
    let level = value.get("level")?.as_str()?;
    let said = value.get("error").or_else(|| value.get("msg"))?.as_str()?;
    Some(format!("{level}: {said}"))
}

/// `line` with the word after `marker` replaced.
fn hide_after(line: &str, marker: &str, word: &str) -> String {
    let Some((before, after)) = line.split_once(marker) else { return line.to_owned() };
    let rest = after.split_once([' ', ',']).map_or("", |(word, _)| &after[word.len()..]);
    format!("{before}{marker}{word}{rest}")
}

/// `line` with the words between two markers in order.
fn sorted_between(line: &str, open: &str, close: &str) -> String {
    let parts = line.split_once(open).and_then(|(before, rest)| {
        rest.split_once(close).map(|(list, after)| (before, list, after))
    });
    let Some((before, list, after)) = parts else { return line.to_owned() };
    let mut words: Vec<&str> = list.split(' ').collect();
    words.sort_unstable();
    format!("{before}{open}{}{close}{after}", words.join(" "))
}

/// What base64 says if it says printable ASCII, long runs shortened; otherwise the base64 itself.
fn readable(base64: &str) -> String {
    let Some(bytes) = decode(base64) else { return base64.to_owned() };
    let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    match String::from_utf8(bytes) {
        Ok(text) if printable => text,
        _ => format!("base64 {base64}"),
    }
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in base64.trim_end_matches('=').bytes() {
        let digit = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("one byte is left"));
        }
    }
    Some(bytes)
}

/// JSON on one line where it fits, and one field a line where it does not.
pub(crate) fn lay_out(value: &Value, indent: usize) -> String {
    let line = value.to_string();
    if line.len() + indent <= 96 {
        return line;
    }
    let pad = " ".repeat(indent + 2);
    let inner: Vec<String> = match value {
        Value::Object(fields) => {
            let shown = fields.iter();
            shown
                .map(|(name, field)| format!("{pad}\"{name}\":{}", lay_out(field, indent + 2)))
                .collect()
        }
        Value::Array(items) => {
            items.iter().map(|item| format!("{pad}{}", lay_out(item, indent + 2))).collect()
        }
        _ => return line,
    };
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    format!("{open}\n{}\n{}{close}", inner.join(",\n"), " ".repeat(indent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        let mut mask = Mask::default();
        mask.hide_id(0x69b3_8ac7_138d_e88d, "<member>");
        mask
    }

    /// A mask that hid revisions or values would make every comparison pass.
    #[test]
    fn answers_stay_visible() {
        let header = r#"{"member_id":7616583982444832909,"revision":3,"raft_term":2}"#;
        let kv = r#"{"key":"YQ==","version":2,"value":"Mg=="}"#;
        let line = format!(r#"{{"header":{header},"kvs":[{kv}]}}"#);
        let shown = mask().line(&line);
        for fact in [r#""revision":3"#, r#""key":"a""#, r#""value":"2""#, r#""version":2"#] {
            assert!(shown.contains(fact), "{fact} is hidden in {shown}");
        }
        assert!(shown.contains(r#""member_id":"<member>""#), "{shown}");
        assert!(shown.contains(r#""raft_term":"<number>""#), "{shown}");
    }

    /// Another member's id is a difference, not a name of this run.
    #[test]
    fn other_ids_stay_visible() {
        assert!(
            mask().line(r#"{"member_id":7616583982444832910}"#).contains("7616583982444832910")
        );
        assert_eq!(mask().line("69b38ac7138de88d, started"), "<member>, started");
    }

    /// Times differ from run to run; what is said around them must not.
    #[test]
    fn measures_in_text_are_hidden() {
        let healthy = "x is healthy: successfully committed proposal: took = 1.05ms";
        let shown = "x is healthy: successfully committed proposal: took = <time>";
        assert_eq!(mask().line(healthy), shown);
        let lease = "lease 1 granted with TTL(100s), remaining(99s), attached keys([b a])";
        let shown = "lease 1 granted with TTL(100s), remaining(<n>s), attached keys([a b])";
        assert_eq!(mask().line(lease), shown);
        assert_eq!(mask().line("\"RaftTerm\" : 2"), "\"RaftTerm\" : <RaftTerm>");
        assert_eq!(mask().line("\"Version\" : 2"), "\"Version\" : 2");
    }

    /// Raw messages are masked by the same list.
    #[test]
    fn raw_message_is_masked() {
        let shown = mask().message("member_id: 7616583982444832909,\nraft_term: 2,\nrevision: 3,");
        assert_eq!(shown, ["member_id: <member>,", "raft_term: <number>", "revision: 3,"]);
        assert_eq!(
            mask().message("version: \"3.4.23\",\nversion: 2,"),
            ["version: <text>", "version: 2,"]
        );
    }

    /// The client's own log lines are cut down to the error they carry.
    #[test]
    fn warning_keeps_its_error() {
        let line = r#"{"level":"warn","ts":"now","msg":"retrying","error":"rpc error: x"}"#;
        assert_eq!(mask().line(line), "warn: rpc error: x");
    }
}
