//! What people read: sections with aligned lines, then an entry a line.

use std::io::{self, Write};

use drystone_kv::runtime::inspect::{Logged, Trouble};

use super::holder::Holder;
use super::options::{Options, Section};
use super::phrase::{self, ids};
use super::report::{Engine, Files, Format, Log, Members, Report, Snapshot, Who};
use super::request::kind;

type Out<'o> = &'o mut dyn Write;

/// Everything but the entries.
pub(crate) fn summary(report: &Report, options: &Options, out: Out<'_>) -> io::Result<()> {
    let holder = match report.holder {
        Holder::Nobody => "no process has it open".to_owned(),
        Holder::Process { pid } => format!("process {pid} has it open, and may be writing"),
        Holder::Unknown => "nobody can tell whether a process has it open".to_owned(),
    };
    writeln!(out, "data directory {}: {holder}", report.data_dir)?;
    if let Some(who) = &report.identity {
        identity(who, out)?;
    }
    if let Some(found) = &report.formats {
        formats(found, out)?;
    }
    if let Some(found) = &report.cluster {
        members(found, out)?;
    }
    match &report.log {
        Some(found) => log(found, out)?,
        None if options.shows(Section::Log) => writeln!(out, "\nlog: none that can be read")?,
        None => {}
    }
    if let Some(found) = &report.snapshots {
        snapshots(found, out)?;
    }
    match &report.engine {
        Some(found) => engine(found, out)?,
        None if options.shows(Section::Engine) => {
            writeln!(out, "\nengine: nothing is saved, or nothing can be read")?;
        }
        None => {}
    }
    Ok(())
}

fn field(name: &str, value: impl std::fmt::Display, out: Out<'_>) -> io::Result<()> {
    writeln!(out, "  {name:<20}{value}")
}

fn identity(who: &Who, out: Out<'_>) -> io::Result<()> {
    let id = |id: Option<u64>| id.map_or_else(|| "not known".to_owned(), |id| format!("{id:x}"));
    writeln!(out, "\nidentity")?;
    field("cluster id", id(who.cluster_id), out)?;
    field("member id", id(who.member_id), out)?;
    field("name", if who.name.is_empty() { "not known" } else { &who.name }, out)?;
    field("storage engine", who.storage_engine.unwrap_or("not known"), out)
}

/// Which versions wrote the files.
fn formats(found: &[Format], out: Out<'_>) -> io::Result<()> {
    writeln!(out, "\nformat versions")?;
    for Format { what, file, versions } in found {
        let versions: Vec<String> = versions.iter().map(u32::to_string).collect();
        let versions = versions.join(" and ");
        let told = if versions.is_empty() { "not known" } else { &versions };
        field(what, format_args!("{told}, in {file}"), out)?;
    }
    Ok(())
}

/// Rows of cells, each column as wide as its widest cell.
fn table(rows: &[Vec<String>], out: Out<'_>) -> io::Result<()> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn members(found: &Members, out: Out<'_>) -> io::Result<()> {
    writeln!(out, "\nmembers, as of entry {}", found.as_of)?;
    let mut rows =
        vec![["ID", "NAME", "ROLE", "PEER URLS", "CLIENT URLS"].map(str::to_owned).to_vec()];
    for member in &found.members {
        let role = if member.isLearner { "learner" } else { "voter" };
        let (peers, clients) = (member.peerURLs.join(","), member.clientURLs.join(","));
        let name = member.name.escape_debug().to_string();
        rows.push(vec![format!("{:x}", member.ID), name, role.to_owned(), peers, clients]);
    }
    table(&rows, out)?;
    if !found.removed.is_empty() {
        writeln!(out, "  removed for ever: {}", ids(&found.removed))?;
    }
    if let Some(voting) = &found.voting {
        writeln!(out, "  consensus, as of entry {}: {}", voting.index, phrase::voting(voting))?;
    }
    Ok(())
}

fn log(log: &Log, out: Out<'_>) -> io::Result<()> {
    writeln!(out, "\nlog {}", log.dir)?;
    field("term", log.term, out)?;
    let vote = log.vote.map_or_else(|| "for nobody".to_owned(), |id| format!("for {id:x}"));
    let lost = if log.vote_lost { ", lost and perhaps given away" } else { "" };
    field("vote", format_args!("{vote}{lost}"), out)?;
    field("committed", format_args!("up to {}, as far as is known here", log.committed), out)?;
    let (first, last) = (log.compacted + 1, log.last);
    if log.entries == 0 {
        field("entries", format_args!("none behind {} of term {}", log.last, log.last_term), out)?;
    } else {
        let span = format!("{} from {first} to {last} of term {}", log.entries, log.last_term);
        field("entries", span, out)?;
    }
    for (first, last) in &log.missing {
        field("missing", format_args!("{first} to {last}"), out)?;
    }
    field("files", format_args!("{} of {} bytes in all", log.segments, log.bytes), out)?;
    if log.generation > 0 {
        field("recovered by force", format_args!("{} times", log.generation), out)?;
    }
    if log.end_lost {
        field("end", "lost: more was promised than is here", out)?;
    }
    if let Some(torn) = &log.torn {
        let text = format!("{} bytes at {} of {}", torn.bytes, torn.offset, torn.file);
        field("unfinished write", text, out)?;
    }
    Ok(())
}

fn snapshots(found: &[Snapshot], out: Out<'_>) -> io::Result<()> {
    if found.is_empty() {
        return writeln!(out, "\nsnapshots: none");
    }
    writeln!(out, "\nsnapshots")?;
    let mut rows = vec![["INDEX", "TERM", "BYTES", "STATE", "FILE"].map(str::to_owned).to_vec()];
    for snapshot in found {
        let numbers = [snapshot.index, snapshot.term, snapshot.bytes].map(|n| n.to_string());
        let texts = [snapshot.state.to_owned(), snapshot.file.clone()];
        rows.push(numbers.into_iter().chain(texts).collect());
    }
    table(&rows, out)
}

fn engine(engine: &Engine, out: Out<'_>) -> io::Result<()> {
    writeln!(out, "\nengine {}, as it was last saved in {}", engine.kind, engine.dir)?;
    if engine.loading {
        field("loading", "a state that another member sends; this is half of it", out)?;
    }
    let some = |number: Option<u64>, none: &str| {
        number.map_or_else(|| none.to_owned(), |number| number.to_string())
    };
    field("applied", format_args!("up to entry {}", engine.applied), out)?;
    field("revision", engine.revision, out)?;
    field("compacted", some(engine.compacted_revision, "never"), out)?;
    if engine.swept_revision != engine.compacted_revision {
        field("removed up to", some(engine.swept_revision, "nothing yet"), out)?;
    }
    field("keys", some(engine.keys, "not counted"), out)?;
    let (puts, tombstones) = (some(engine.puts, "?"), some(engine.tombstones, "?"));
    let records = format!("{}: {puts} puts, {tombstones} deletes", engine.records);
    field("records", records, out)?;
    field("leases", engine.leases, out)?;
    for alarm in &engine.alarms {
        field("alarm", format_args!("{} of {:x}", alarm.alarm, alarm.member_id), out)?;
    }
    if engine.auth_revision > 1 {
        let state = if engine.auth_enabled { "on" } else { "off" };
        let (users, roles) = (engine.users, engine.roles);
        let text =
            format!("{state}, revision {}: {users} users, {roles} roles", engine.auth_revision);
        field("authentication", text, out)?;
    }
    let (bytes, used) = (engine.bytes, engine.bytes_in_use);
    field("bytes", format_args!("{bytes}, {used} of them in use"), out)?;
    match &engine.files {
        Files::Memory { file, file_bytes } => {
            field("file", format_args!("{file}, {file_bytes} bytes"), out)
        }
        Files::Btree { file, transaction, page_bytes, pages, pages_free } => {
            field("file", format_args!("{file}, transaction {transaction}"), out)?;
            let text = format!("{pages} of {page_bytes} bytes, {pages_free} of them free");
            field("pages", text, out)
        }
        Files::Lsm { tables, keyspaces } => {
            field("tables", tables, out)?;
            for space in keyspaces {
                for level in &space.levels {
                    let name = format!("{} level {}", space.name, level.level);
                    let (tables, bytes, entries) = (level.tables, level.bytes, level.entries);
                    let text = format!("{tables} tables, {bytes} bytes, {entries} entries");
                    field(&name, text, out)?;
                }
            }
            Ok(())
        }
    }
}

/// What comes before the entries.
pub(crate) fn entries_head(out: Out<'_>) -> io::Result<()> {
    writeln!(out, "\nentries (?: not known to be committed)")?;
    writeln!(out, "  {:>9} {:>5}  {:<14}  REQUEST", "INDEX", "TERM", "KIND")
}

/// One entry.
pub(crate) fn entry(entry: &Logged, options: &Options, out: Out<'_>) -> io::Result<()> {
    let (mark, Logged { index, term, .. }) = (if entry.committed { ' ' } else { '?' }, entry);
    let (kind, text) = (kind(entry), phrase::entry(entry, options.value_bytes));
    writeln!(out, "{mark} {index:>9} {term:>5}  {kind:<14}  {text}")
}

/// What comes behind them.
pub(crate) fn end(
    printed: u64,
    troubles: &[Trouble],
    options: &Options,
    out: Out<'_>,
) -> io::Result<()> {
    if options.shows(Section::Entries) {
        writeln!(out, "  {printed} printed")?;
    }
    if troubles.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nDAMAGE")?;
    for Trouble { file, offset, what } in troubles {
        let place = offset.map_or_else(String::new, |offset| format!(": at byte {offset}"));
        writeln!(out, "  {}{place}: {what}", file.display())?;
    }
    Ok(())
}
