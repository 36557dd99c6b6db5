//! `retryStrategy`.

use super::super::cursor::{COUNT_MAX, Field, Map};
use super::span;
use crate::record::Reason;
use crate::spec::{Backoff, Exits, Retry, RetryAction, RetryRule};

/// Without a limit there is none; without a backoff there is no delay.
pub(super) fn retry(map: &Map<'_>) -> Retry {
    let limit = map.get("limit").and_then(|field| number(&field));
    let on_error = map.get("retryPolicy").and_then(|field| {
        if field.scalar().is_some_and(|(word, _)| word == "OnTransientError") {
            field.unsupported("is not supported yet: OnTransientError");
            return None;
        }
        field.one_of(&[("Always", false), ("OnFailure", false), ("OnError", true)])
    });
    map.not_yet(&["expression", "affinity"]);
    let none = Backoff { initial: 0, factor: 1.0, max: 0, jitter: 0.0 };
    let backoff = map.get("backoff").and_then(|field| field.map(backoff));
    Retry {
        attempts: limit.map_or(COUNT_MAX, |limit| limit.saturating_add(1)),
        backoff: backoff.unwrap_or(none),
        rules: if on_error == Some(true) { task_failed() } else { Vec::new() },
        count_interruptions: false,
    }
}

/// Under `OnError` a task that failed by itself has failed.
fn task_failed() -> Vec<RetryRule> {
    let rule = |exits, reasons| RetryRule {
        exits,
        signals: Vec::new(),
        oom: None,
        reasons,
        action: RetryAction::Fail,
        memory_factor: None,
    };
    let ended = vec![Reason::Signalled, Reason::OutOfMemory, Reason::Timeout];
    vec![rule(vec![Exits { lo: 1, hi: 255 }], Vec::new()), rule(Vec::new(), ended)]
}

fn backoff(map: &Map<'_>) -> Backoff {
    let initial = map.get("duration").and_then(|field| span(&field)).unwrap_or(0);
    let factor = map.get("factor").and_then(|field| {
        let factor = number(&field)?;
        if !(1..=100).contains(&factor) {
            field.bad("must be a whole number from 1 to 100");
            return None;
        }
        Some(f64::from(factor))
    });
    let cap = map.get("cap").and_then(|field| span(&field));
    let longest = map.get("maxDuration").and_then(|field| {
        field.warn("bounds each delay here, not the whole of the attempts");
        span(&field)
    });
    let max = cap.or(longest).unwrap_or(crate::manifest::quantity::SPAN_MAX);
    Backoff { initial: initial.min(max), factor: factor.unwrap_or(1.0), max, jitter: 0.0 }
}

/// A whole number, in quotes or without.
fn number(field: &Field<'_>) -> Option<u32> {
    let word = field.word()?;
    let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.parse().ok().filter(|&number: &u32| plain && number < COUNT_MAX);
    if number.is_none() {
        field.bad(format!("must be a whole number from 0 to {}", COUNT_MAX - 1));
    }
    number
}
