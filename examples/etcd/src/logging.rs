//! The log: one JSON object a line on standard error, in the shape that etcd's has.
//!
//! ```text
//!   {"level":"info","ts":"2026-11-20T11:02:03Z","caller":"src/server.rs:77","msg":"…","name":"m1"}
//!   2026-11-20T11:02:03Z  info  src/server.rs:77  …  {"name":"m1"}     --log-format console
//! ```
//!
//! Tools wait for the words of a message (`ready to serve client requests`) and parse the four
//! first fields; everything after them is for people. Nothing is logged for a request that went
//! well.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as UtcTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogConfig;

mod rotation;

pub(crate) use rotation::Rotation;

use rotation::Rotating;

/// Sends every later log event where `config` says.
///
/// # Errors
///
/// If a log file cannot be opened.
pub(crate) fn start(config: &LogConfig) -> io::Result<()> {
    let outputs: io::Result<Vec<Output>> =
        config.outputs.iter().map(|output| Output::open(output, config)).collect();
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Format { json: config.json })
        .with_writer(Outputs(Arc::new(outputs?)));
    // The libraries underneath speak of every frame; only their complaints are of interest.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("drystone", level(&config.level))
        .with_default(level(&config.level).min(Level::WARN));
    tracing_subscriber::registry().with(layer).with(filter).init();
    Ok(())
}

/// zap's names; above error there is nothing that would be hidden.
fn level(name: &str) -> Level {
    match name {
        "debug" => Level::DEBUG,
        "info" => Level::INFO,
        "warn" => Level::WARN,
        _ => Level::ERROR,
    }
}

struct Format {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut ts = String::new();
        UtcTime.format_time(&mut Writer::new(&mut ts))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line { ts: &ts, metadata: event.metadata(), fields: &fields };
        if self.json { line.write_json(&mut writer) } else { line.write_console(&mut writer) }
    }
}

struct Line<'a> {
    ts: &'a str,
    metadata: &'static Metadata<'static>,
    fields: &'a Fields,
}

impl Line<'_> {
    fn level(&self) -> &'static str {
        match *self.metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        }
    }

    /// The last folder, the file and the line, as zap shortens them.
    fn caller(&self) -> String {
        let file = self.metadata.file().unwrap_or("unknown");
        let start = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
        format!("{}:{}", &file[start..], self.metadata.line().unwrap_or(0))
    }

    fn write_json(&self, out: &mut Writer<'_>) -> fmt::Result {
        write!(out, r#"{{"level":"{}","ts":"{}","caller":"#, self.level(), self.ts)?;
        write_json_string(out, &self.caller())?;
        out.write_str(r#","msg":"#)?;
        write_json_string(out, &self.fields.message)?;
        if !self.fields.rest.is_empty() {
            write!(out, ",{}", self.fields.rest)?;
        }
        out.write_str("}\n")
    }

    fn write_console(&self, out: &mut Writer<'_>) -> fmt::Result {
        let Line { ts, .. } = self;
        write!(out, "{ts}\t{}\t{}\t{}", self.level(), self.caller(), self.fields.message)?;
        match self.fields.rest.is_empty() {
            true => out.write_char('\n'),
            false => writeln!(out, "\t{{{}}}", self.fields.rest),
        }
    }
}

/// The fields of an event: the message, and the others as the inside of a JSON object.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl FnOnce(&mut String)) {
        if !self.rest.is_empty() {
            self.rest.push(',');
        }
        push_json_string(&mut self.rest, &field.name().replace('_', "-"));
        self.rest.push(':');
        value(&mut self.rest);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.add(field, |out| push_json_string(out, &text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.add(field, |out| push_json_string(out, value)),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, |out| out.push_str(&value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, |out| out.push_str(&value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, |out| out.push_str(&value.to_string()));
    }
}

fn write_json_string(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    let mut quoted = String::with_capacity(text.len() + 2);
    push_json_string(&mut quoted, text);
    out.write_str(&quoted)
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

enum Output {
    Stderr,
    Stdout,
    File(File),
    Rotating(Rotating),
}

impl Output {
    fn open(name: &str, config: &LogConfig) -> io::Result<Output> {
        match name {
            "default" | "stderr" => Ok(Output::Stderr),
            "stdout" => Ok(Output::Stdout),
            "/dev/null" => Ok(Output::File(OpenOptions::new().write(true).open(name)?)),
            path => match &config.rotation {
                Some(rotation) => {
                    Rotating::open(path.as_ref(), rotation.clone()).map(Output::Rotating)
                }
                None => OpenOptions::new().append(true).create(true).open(path).map(Output::File),
            },
        }
    }
}

#[derive(Clone)]
struct Outputs(Arc<Vec<Output>>);

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = OutputsWriter<'a>;

    fn make_writer(&'a self) -> OutputsWriter<'a> {
        OutputsWriter(&self.0)
    }
}

struct OutputsWriter<'a>(&'a [Output]);

impl Write for OutputsWriter<'_> {
    /// One call per line: the lines of threads do not mix.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for output in self.0 {
            match output {
                Output::Stderr => io::stderr().write_all(line)?,
                Output::Stdout => io::stdout().write_all(line)?,
                Output::File(file) => (&*file).write_all(line)?,
                Output::Rotating(file) => file.write(line)?,
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seconds since 1970, as metrics give the time of the start.
pub(crate) fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A line that a JSON parser refuses hides the very error it was to report.
    #[test]
    fn strings_are_valid_json() {
        let nasty = "a\"b\\c\nd\te\u{1}f µ";
        let mut quoted = String::new();
        push_json_string(&mut quoted, nasty);
        let back: String = serde_json::from_str(&quoted).unwrap();
        assert_eq!(back, nasty);
    }
}
