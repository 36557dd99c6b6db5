//! One run of `drystone-etcd inspect`.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::programs;
use crate::support::server::clean_command;

/// What it printed.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// What it printed as JSON.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) summary: Value,
    pub(crate) entries: Vec<Value>,
    pub(crate) end: Value,
}

/// Looks into `data`, for people.
pub(crate) fn look(data: &Path, words: &[&str]) -> Look {
    let mut command = clean_command(&programs::ours());
    command.arg("inspect").arg(data).args(words);
    let output = command.output().expect("the program can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    Look { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Looks into `data`, as a program would.
#[track_caller]
pub(crate) fn told(data: &Path, words: &[&str]) -> Told {
    let look = look(data, &[words, &["--json"]].concat());
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("each line is JSON");
    let mut lines: Vec<Value> = look.out.lines().map(parse).collect();
    assert!(lines.len() >= 2, "a summary and an end: {look:?}");
    let (summary, end) = (lines.remove(0), lines.pop().expect("there are two"));
    assert_eq!((&summary["type"], &end["type"]), (&"summary".into(), &"end".into()));
    assert!(lines.iter().all(|line| line["type"] == "entry"));
    assert_eq!(end["entries"], lines.len());
    assert_eq!(look.code, Some(i32::from(end["sound"] != true)), "{end} {}", look.err);
    assert_eq!(end["sound"] == true, end["damage"].as_array().is_some_and(Vec::is_empty));
    Told { code: look.code, summary, entries: lines, end }
}

impl Told {
    /// All puts, in order: the key, the value, and whether it is known to be committed.
    pub(crate) fn puts(&self) -> Vec<(String, String, bool)> {
        let puts = self.entries.iter().filter(|entry| entry["kind"] == "put");
        let put = |entry: &Value| {
            let field = |name: &str| text(&entry["request"][name]);
            (field("key"), field("value"), entry["committed"] == true)
        };
        puts.map(put).collect()
    }

    /// Asserts that entries come in order, and none is left out between two.
    #[track_caller]
    pub(crate) fn check_order(&self) {
        let index = |entry: &Value| entry["index"].as_u64().expect("an entry has an index");
        for pair in self.entries.windows(2) {
            assert_eq!(index(&pair[0]) + 1, index(&pair[1]), "{pair:?}");
            assert!(pair[0]["term"].as_u64() <= pair[1]["term"].as_u64(), "{pair:?}");
            assert!(pair[0]["committed"] == true || pair[1]["committed"] == false, "{pair:?}");
        }
    }

    /// What is damaged: the files, relative to `data`, and the places.
    pub(crate) fn damage(&self, data: &Path) -> Vec<(String, Option<u64>)> {
        let damage = self.end["damage"].as_array().expect("a list");
        let one = |damage: &Value| {
            let file = Path::new(damage["file"].as_str().expect("a file is named"));
            let file = file.strip_prefix(data).expect("it lies in the data directory");
            (file.display().to_string(), damage["offset"].as_u64())
        };
        damage.iter().map(one).collect()
    }
}

/// Bytes in base64 that are text.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    let bytes = STANDARD.decode(value.as_str().expect("bytes are a string"));
    String::from_utf8(bytes.expect("in base64")).expect("which is text here")
}
