//! What follows a failed attempt, as mason's own dialect has it.

use super::super::cursor::{COUNT_MAX, Field, Map};
use super::super::problem::shown;
use super::super::rules;
use super::span;
use crate::record::Reason;
use crate::spec::{Backoff, Exits, Retry, RetryAction, RetryRule};

/// All reasons, by the names that users write.
pub(in super::super) const REASONS: [(&str, Reason); 15] = [
    ("exited", Reason::Exited),
    ("signalled", Reason::Signalled),
    ("out-of-memory", Reason::OutOfMemory),
    ("timeout", Reason::Timeout),
    ("image-pull", Reason::ImagePull),
    ("config", Reason::Config),
    ("start", Reason::Start),
    ("unhealthy", Reason::Unhealthy),
    ("stopped", Reason::Stopped),
    ("replaced", Reason::Replaced),
    ("drained", Reason::Drained),
    ("interrupted", Reason::Interrupted),
    ("fenced", Reason::Fenced),
    ("unknown", Reason::Unknown),
    ("lost", Reason::Lost),
];

/// All actions, by the names that users write.
pub(in super::super) const ACTIONS: [(&str, RetryAction); 4] = [
    ("retry", RetryAction::Retry),
    ("ignore", RetryAction::Ignore),
    ("fail", RetryAction::Fail),
    ("failJob", RetryAction::FailJob),
];

/// The `retry` of a job: a number of attempts, or a map.
pub(super) fn retry(field: &Field<'_>) -> Retry {
    if !field.is_map() {
        let attempts = field.u32_in(1, COUNT_MAX).unwrap_or(1);
        return Retry { attempts, ..Retry::default() };
    }
    field
        .map(|map| {
            let attempts = map.need("attempts").and_then(|field| field.u32_in(1, COUNT_MAX));
            let count = map.get("countInterruptions").and_then(|field| field.bool());
            Retry {
                attempts: attempts.unwrap_or(1),
                backoff: backoff(map),
                rules: rules_of(map),
                count_interruptions: count.unwrap_or(false),
            }
        })
        .unwrap_or_default()
}

/// The `restart` of a service: it has no attempts to count.
pub(super) fn restart(field: &Field<'_>) -> Retry {
    let read =
        |map: &Map<'_>| Retry { backoff: backoff(map), rules: rules_of(map), ..Retry::default() };
    field.map(read).unwrap_or_default()
}

fn backoff(map: &Map<'_>) -> Backoff {
    let usual = Backoff::default();
    let Some(field) = map.get("backoff") else { return usual };
    let read = |map: &Map<'_>| {
        let (first, max) = (map.get("initial"), map.get("max"));
        let initial = first.as_ref().and_then(span).unwrap_or(usual.initial);
        let backoff = Backoff {
            initial,
            factor: map
                .get("factor")
                .and_then(|field| field.float(1.0, 100.0))
                .unwrap_or(usual.factor),
            max: max.as_ref().and_then(span).unwrap_or(usual.max.max(initial)),
            jitter: map
                .get("jitter")
                .and_then(|field| field.float(0.0, 1.0))
                .unwrap_or(usual.jitter),
        };
        if let Some(field) = max.or(first)
            && backoff.max < backoff.initial
        {
            field.bad("the longest delay must not be shorter than the first");
        }
        backoff
    };
    field.map(read).unwrap_or_default()
}

fn rules_of(map: &Map<'_>) -> Vec<RetryRule> {
    let Some(field) = map.get("rules") else { return Vec::new() };
    field.list().iter().filter_map(|field| field.map(|map| rule(map))).collect()
}

fn rule(map: &Map<'_>) -> RetryRule {
    let several =
        |key| map.get(key).map(|field: Field<'_>| field.one_or_more()).unwrap_or_default();
    let exits = several("exit").iter().filter_map(exits).collect();
    let signals = several("signal").iter().filter_map(rules::signal).collect();
    let mut reasons: Vec<Reason> = several("reason").iter().flat_map(reason).collect();
    reasons.sort();
    reasons.dedup();
    let factor = map.get("resources").and_then(|field| {
        field.map(|map| map.get("memory").and_then(|field| memory_factor(&field))).flatten()
    });
    RetryRule {
        exits,
        signals,
        oom: map.get("oom").and_then(|field| field.bool()),
        reasons,
        action: map
            .need("do")
            .and_then(|field| field.one_of(&ACTIONS))
            .unwrap_or(RetryAction::Retry),
        memory_factor: factor,
    }
}

/// `137` or `"64-78"`.
fn exits(field: &Field<'_>) -> Option<Exits> {
    let word = field.word()?;
    let code = |text: &str| text.trim().parse().ok().filter(|code| (0..=255).contains(code));
    let (lo, hi) = word.split_once('-').unwrap_or((&word, &word));
    match (code(lo), code(hi)) {
        (Some(lo), Some(hi)) if lo <= hi => Some(Exits { lo, hi }),
        _ => {
            field.bad(format!(
                "must be exit codes of 0 to 255, as 2 or \"64-78\", not {}",
                shown(&word)
            ));
            None
        }
    }
}

/// A reason, or several by a `*`.
fn reason(field: &Field<'_>) -> Vec<Reason> {
    let Some(glob) = field.text() else { return Vec::new() };
    let found: Vec<Reason> =
        REASONS.iter().filter(|(name, _)| fits(name, &glob)).map(|(_, reason)| *reason).collect();
    if found.is_empty() {
        let names: Vec<&str> = REASONS.iter().map(|(name, _)| *name).collect();
        let guess = super::guess(&glob, names.iter().copied());
        field.bad(format!("must be one of {}, not {}{guess}", names.join(", "), shown(&glob)));
    }
    found
}

/// Whether a name fits a pattern in which `*` is any text. Taking each part at its first place is
/// enough, so a pattern of a thousand stars costs no more than its length.
fn fits(name: &str, glob: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return name == glob };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(tail)
}

/// `x1.5`.
fn memory_factor(field: &Field<'_>) -> Option<f64> {
    let word = field.word()?;
    let factor = word.strip_prefix('x').and_then(|rest| rest.parse::<f64>().ok());
    let factor = factor.filter(|factor| (1.0..=100.0).contains(factor));
    if factor.is_none() {
        field.bad(format!("must be a factor of x1 to x100, as x1.5, not {}", shown(&word)));
    }
    factor
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern that fits too much retries what must not be, and one that fits too little does not
    /// retry at all.
    #[test]
    fn globs_fit_whole_names() {
        for (name, glob) in
            [("image-pull", "image*"), ("lost", "lost"), ("lost", "*"), ("start", "s*t")]
        {
            assert!(fits(name, glob), "{name} {glob}");
        }
        for (name, glob) in
            [("image-pull", "image"), ("lost", ""), ("start", "s*x"), ("lost", "*x*")]
        {
            assert!(!fits(name, glob), "{name} {glob}");
        }
        assert!(!fits("lost", "lo*ost"), "no letter counts twice");
        assert!(!fits("image-pull", &format!("{}x", "*".repeat(100_000))));
    }

    /// The table must follow the type: a reason without a name could not be written.
    #[test]
    fn every_reason_is_written_as_the_store_writes_it() {
        for (name, reason) in REASONS {
            assert_eq!(serde_json::to_value(reason).unwrap(), name);
        }
    }
}
