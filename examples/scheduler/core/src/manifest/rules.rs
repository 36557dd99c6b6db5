//! Fields with rules of their own: names, labels, paths, images, signals, schedules.
//!
//! Much of what they hold becomes a part of something else: a key in the store, a host name, a line
//! of an environment, a path in somebody's file system. What could leave its place there is refused
//! here, where the user can still be told which field it was.

use std::collections::BTreeMap;

use super::cursor::{Field, Map};
use super::problem::shown;
use super::{GENERATED_BYTES, expr};
use crate::types::{Ms, NAME_BYTES_MAX, check_name};

/// The name of an object.
pub(super) fn name(field: &Field<'_>) -> Option<String> {
    let name = field.text()?;
    match check_name(&name) {
        Ok(()) => Some(name),
        Err(error) => {
            field.bad(format!("{} is no name: {}", shown(&name), error.rule));
            None
        }
    }
}

/// What a name begins with.
pub(super) fn prefix(field: &Field<'_>) -> Option<String> {
    let prefix = field.text()?;
    let max = NAME_BYTES_MAX - GENERATED_BYTES;
    if prefix.len() > max {
        field.bad(format!("must be at most {max} bytes, so that letters can follow"));
        return None;
    }
    // With a letter behind it, it must be a name.
    match check_name(&format!("{prefix}x")) {
        Ok(()) if !prefix.is_empty() => Some(prefix),
        Ok(()) => {
            field.bad("must not be empty");
            None
        }
        Err(error) => {
            field.bad(format!("{} begins no name: {}", shown(&prefix), error.rule));
            None
        }
    }
}

/// A map of labels.
pub(super) fn labels(field: &Field<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, field) in field.pairs() {
        if let Err(why) = expr::check_key(&key) {
            field.bad(why);
        }
        let Some(value) = field.text() else { continue };
        if let Err(why) = expr::check_value(&value) {
            field.bad(why);
        }
        labels.insert(key, value);
    }
    labels
}

/// The key of a label.
pub(super) fn label(field: &Field<'_>) -> Option<String> {
    let key = field.text()?;
    match expr::check_key(&key) {
        Ok(()) => Some(key),
        Err(why) => {
            field.bad(why);
            None
        }
    }
}

/// The key of a config map or secret. It may become a variable or the name of a file.
pub(super) fn data_key(key: &str, field: &Field<'_>) {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let fits = !key.is_empty() && key.len() <= 253 && key.chars().all(plain);
    if !fits || key.starts_with("..") || key == "." {
        field
            .bad("is no key: at most 253 of a-z, A-Z, 0-9, -, _ and ., and does not begin with ..");
    }
}

/// The name of a variable.
pub(super) fn variable(name: &str, field: &Field<'_>) {
    let first = |letter: char| letter.is_ascii_alphabetic() || "-_.".contains(letter);
    let plain = |letter: char| first(letter) || letter.is_ascii_digit();
    if !name.starts_with(first) || !name.chars().all(plain) || name.len() > 253 {
        field.bad(format!(
            "{} is no name of a variable: a-z, A-Z, 0-9, -, _ and ., and no digit first",
            shown(name)
        ));
    }
}

/// An absolute path of which no part leads up.
pub(super) fn absolute(field: &Field<'_>) -> Option<String> {
    let path = field.text()?;
    if !path.starts_with('/') {
        field.bad(format!("must be an absolute path, not {}", shown(&path)));
        return None;
    }
    if path.split('/').any(|part| part == "..") {
        field.bad(format!("must not have .. in it, as {} has", shown(&path)));
        return None;
    }
    Some(path)
}

/// Where something is mounted.
pub(super) fn mount_at(field: &Field<'_>) -> Option<String> {
    let path = absolute(field)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() {
        field.bad("must not be the root of the container");
        return None;
    }
    if path.contains(':') {
        field.bad("must not have : in it");
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}

/// A path within a mount.
pub(super) fn relative(field: &Field<'_>) -> Option<String> {
    let path = field.filled()?;
    if path.starts_with('/') || path.split('/').any(|part| matches!(part, ".." | "." | "")) {
        field.bad(format!("must be a path within the mount, without .., not {}", shown(&path)));
        return None;
    }
    Some(path)
}

/// The name of an image.
pub(super) fn image(field: &Field<'_>) -> Option<String> {
    let image = field.filled()?;
    // In a workflow it may be filled in later.
    let fits = |letter: char| letter.is_ascii_graphic();
    if !image.contains("{{") && (image.len() > 512 || !image.chars().all(fits)) {
        field.bad(format!("{} is no name of an image, as alpine:3.18", shown(&image)));
        return None;
    }
    Some(image)
}

const SIGNALS: [(&str, i32); 27] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGWINCH", 28),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// A signal, by name or by number.
pub(super) fn signal(field: &Field<'_>) -> Option<i32> {
    let word = field.word()?;
    let upper = word.to_uppercase();
    let named = SIGNALS.iter().find(|(name, _)| *name == upper || name[3..] == upper);
    let number = named.map(|(_, number)| *number).or_else(|| word.parse().ok());
    let number = number.filter(|number| (1..=64).contains(number));
    if number.is_none() {
        field.bad(format!("must be a signal, as SIGTERM or 15, not {}", shown(&word)));
    }
    number
}

/// As [`signal`] reads it.
pub(super) fn signal_name(number: i32) -> String {
    let named = SIGNALS.iter().find(|(_, known)| *known == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// When a cron ticks: five fields. Only the shape is looked at; what days it names is found out by
/// whoever counts them.
pub(super) fn schedule(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let text = text.trim();
    let named = [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ];
    if let Some((_, fields)) = named.iter().find(|(name, _)| *name == text) {
        return Some((*fields).to_owned());
    }
    if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        field.bad("must not name a time zone; there is a field of its own for that");
        return None;
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 || text.len() > 200 {
        field.bad(format!(
            "must have five fields (minute hour day month weekday), as \"0 3 * * *\", not {}",
            shown(text)
        ));
        return None;
    }
    let rules = [
        ("minute", 0, 59, ""),
        ("hour", 0, 23, ""),
        ("day", 1, 31, "LW?"),
        ("month", 1, 12, ""),
        ("weekday", 0, 7, "L#?"),
    ];
    for (part, (what, lo, hi, extra)) in fields.iter().zip(rules) {
        let names = matches!(what, "month" | "weekday");
        let letter = |letter: char| {
            letter.is_ascii_digit()
                || "*,-/".contains(letter)
                || extra.contains(letter)
                || (names && letter.is_ascii_alphabetic())
        };
        let steps = part.split(',').all(|one| one.split('/').count() <= 2 && !one.is_empty());
        let within = part
            .split(',')
            .filter_map(|one| one.split('/').next())
            .flat_map(|range| range.split(|letter: char| !letter.is_ascii_digit()))
            .filter(|digits| !digits.is_empty())
            .all(|digits| digits.parse().is_ok_and(|number: u32| (lo..=hi).contains(&number)));
        if !part.chars().all(letter) || !steps || !within {
            field.bad(format!("{} is no {what} of {lo} to {hi} in a schedule", shown(part)));
            return None;
        }
    }
    Some(fields.join(" "))
}

/// The name of a time zone: its shape.
pub(super) fn timezone(field: &Field<'_>) -> Option<String> {
    let zone = field.filled()?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+/".contains(letter);
    if !zone.chars().all(plain) || zone.len() > 64 {
        field.bad(format!(
            "must be the name of a time zone, as Europe/Berlin, not {}",
            shown(&zone)
        ));
        return None;
    }
    Some(zone)
}

/// A span in whole seconds.
pub(super) fn seconds(field: &Field<'_>) -> Option<Ms> {
    const MAX: i64 = 100 * 365 * 24 * 60 * 60;
    let seconds = field.int(0, MAX)?;
    u64::try_from(seconds).ok().map(|seconds| seconds * 1000)
}

/// A span in whole seconds, of which there is at least one.
pub(super) fn some_seconds(field: &Field<'_>) -> Option<Ms> {
    let span = seconds(field)?;
    if span == 0 {
        field.bad("must be at least 1");
        return None;
    }
    Some(span)
}

/// A port, by number.
pub(super) fn port(field: &Field<'_>) -> Option<u16> {
    field.int(1, i64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}

/// A port, by number or by one of these names.
pub(super) fn port_or_name(field: &Field<'_>, ports: &BTreeMap<String, u16>) -> Option<u16> {
    match field.scalar() {
        Some((text, false)) if text.bytes().all(|byte| byte.is_ascii_digit()) => port(field),
        _ => {
            let name = field.text()?;
            let found =
                ports.get(&name).copied().or_else(|| name.parse().ok().filter(|&port| port > 0));
            if found.is_none() {
                field.bad(format!(
                    "must be a port or the name of one, and there is no {}",
                    shown(&name)
                ));
            }
            found
        }
    }
}

/// What may be given for a number of replicas: a number, or a share of them.
pub(super) fn share(field: &Field<'_>, of: u32, round_up: bool) -> Option<u32> {
    let Some((text, _)) = field.scalar().filter(|(text, _)| text.ends_with('%')) else {
        return field.u32();
    };
    let digits = text.trim_end_matches('%');
    let percent: Option<u64> = digits.parse().ok().filter(|&percent| percent <= 1000);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && text.len() == digits.len() + 1;
    let Some(percent) = percent.filter(|_| plain) else {
        field.bad("must be a number or a share as 25%");
        return None;
    };
    let all = u64::from(of) * percent;
    u32::try_from(if round_up { all.div_ceil(100) } else { all / 100 }).ok()
}

/// Key to path of a mounted config map or secret, as a map.
pub(super) fn items(map: &Map<'_>) -> BTreeMap<String, String> {
    let Some(field) = map.get("items") else { return BTreeMap::new() };
    let mut items = BTreeMap::new();
    for (key, field) in field.pairs() {
        data_key(&key, &field);
        if let Some(path) = relative(&field) {
            items.insert(key, path);
        }
    }
    items
}
