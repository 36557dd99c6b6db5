//! What follows an attempt.

use std::collections::BTreeMap;

use super::*;
use crate::spec::Exits;

const NOW: UnixMs = 1_000_000;

fn exit(reason: Reason, code: Option<i32>, signal: Option<i32>) -> Exit {
    Exit {
        reason,
        code,
        signal,
        message: String::new(),
        started_at: None,
        finished_at: NOW,
        outputs: BTreeMap::new(),
    }
}

fn code(code: i32) -> Exit {
    exit(Reason::Exited, Some(code), None)
}

fn retry(attempts: u32, rules: Vec<RetryRule>) -> Retry {
    let backoff = Backoff { initial: 1_000, factor: 2.0, max: 60_000, jitter: 0.0 };
    Retry { attempts, backoff, rules, count_interruptions: false }
}

fn rule(action: RetryAction) -> RetryRule {
    let (exits, signals, reasons) = (Vec::new(), Vec::new(), Vec::new());
    RetryRule { exits, signals, oom: None, reasons, action, memory_factor: None }
}

fn again(after: u64, counted: u32) -> Verdict {
    Verdict::Again { not_before: NOW + after, counted, memory_factor: None }
}

fn check(retry: &Retry, number: u32, counted: u32, exit: &Exit, expected: &Verdict) {
    let found = verdict(retry, Attempt { number, counted }, exit, NOW, 7);
    assert_eq!(found, *expected, "{exit:?}");
    assert_eq!(verdict(retry, Attempt { number, counted }, exit, NOW, 7), found, "asked twice");
}

/// The budget is of attempts in all, not of those after the first.
#[test]
fn a_task_is_tried_as_often_as_its_spec_says() {
    let three = retry(3, Vec::new());
    check(&three, 1, 0, &code(1), &again(1_000, 1));
    check(&three, 2, 1, &code(1), &again(2_000, 2));
    check(&three, 3, 2, &code(1), &Verdict::Failed);
    check(&three, 3, 2, &code(0), &Verdict::Succeeded);
    check(&Retry::default(), 1, 0, &code(1), &Verdict::Failed);
    check(&retry(0, Vec::new()), 1, 0, &code(1), &Verdict::Failed);
    check(&retry(u32::MAX, Vec::new()), u32::MAX, u32::MAX, &code(1), &again(60_000, u32::MAX));
}

/// A node that is lost a hundred times must not use up the retries of a task that is well.
#[test]
fn what_is_no_fault_of_the_task_is_free() {
    let two = retry(2, Vec::new());
    for reason in
        [Reason::Lost, Reason::Drained, Reason::Interrupted, Reason::Fenced, Reason::Stopped]
    {
        check(&two, 100, 1, &exit(reason, None, None), &again(0, 1));
    }
    check(&two, 100, 1, &exit(Reason::Unknown, None, None), &Verdict::Failed);
    let strict = Retry { count_interruptions: true, ..two };
    check(&strict, 100, 1, &exit(Reason::Lost, None, None), &Verdict::Failed);
    check(&strict, 1, 0, &exit(Reason::Lost, None, None), &again(1_000, 1));
}

/// The order of rules is their meaning.
#[test]
fn the_first_rule_that_fits_decides() {
    let rules = vec![
        RetryRule { exits: vec![Exits { lo: 64, hi: 78 }], ..rule(RetryAction::Fail) },
        RetryRule { exits: vec![Exits { lo: 70, hi: 70 }], ..rule(RetryAction::FailJob) },
        RetryRule { signals: vec![9], oom: Some(false), ..rule(RetryAction::FailJob) },
        RetryRule { oom: Some(true), memory_factor: Some(1.5), ..rule(RetryAction::Retry) },
        RetryRule { reasons: vec![Reason::ImagePull], ..rule(RetryAction::Ignore) },
    ];
    let five = retry(5, rules);
    for fatal in [64, 70, 78] {
        check(&five, 1, 0, &code(fatal), &Verdict::Failed);
    }
    check(&five, 1, 0, &code(63), &again(1_000, 1));
    check(&five, 1, 0, &exit(Reason::Signalled, Some(137), Some(9)), &Verdict::FailJob);
    let more = Verdict::Again { not_before: NOW + 1_000, counted: 1, memory_factor: Some(1.5) };
    check(&five, 1, 0, &exit(Reason::OutOfMemory, Some(137), Some(9)), &more);
    // Free, and yet slower each time.
    check(&five, 4, 0, &exit(Reason::ImagePull, None, None), &again(8_000, 0));
}

/// A rule with nothing in it is the one for the rest.
#[test]
fn an_empty_rule_fits_everything() {
    let fail = retry(5, vec![rule(RetryAction::Fail)]);
    check(&fail, 1, 0, &exit(Reason::Lost, None, None), &Verdict::Failed);
    check(&fail, 1, 0, &code(1), &Verdict::Failed);
}

/// A spec is written by people: no number in it may overflow or hang the leader.
#[test]
fn hostile_numbers_stay_in_bounds() {
    let odd = [0.0, -1.0, 1.0, 1e308, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    for factor in odd {
        for jitter in odd {
            for (initial, max) in [(0, 0), (1, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 5)] {
                for failures in [0, 1, 2, u32::MAX] {
                    let spec = Backoff { initial, factor, max, jitter };
                    let wait = backoff(&spec, failures, 3);
                    assert!(wait <= max.saturating_mul(2).max(1), "{spec:?}: {wait}");
                }
            }
        }
        let rules = vec![RetryRule { memory_factor: Some(factor), ..rule(RetryAction::Retry) }];
        let Verdict::Again { memory_factor, .. } =
            verdict(&retry(9, rules), Attempt { number: 1, counted: 0 }, &code(1), u64::MAX, 0)
        else {
            panic!("attempts are left");
        };
        assert!(memory_factor.is_none_or(|factor| factor.is_finite() && 0.0 < factor));
        assert!(raise_memory(u64::MAX, factor) >= 1);
    }
    assert_eq!(raise_memory(1 << 30, 1.5), 3 << 29);
}

/// Without jitter a thousand tasks that failed together come back together.
#[test]
fn jitter_spreads_and_stays_in_its_share() {
    let spec = Backoff { initial: 10_000, factor: 2.0, max: 300_000, jitter: 0.2 };
    let waits: Vec<u64> = (0..1_000).map(|salt| backoff(&spec, 1, salt)).collect();
    assert!(waits.iter().all(|wait| (8_000..=12_000).contains(wait)), "within a fifth");
    let early = waits.iter().filter(|&&wait| wait < 9_000).count();
    assert!((150..350).contains(&early), "spread evenly: {early} of 1000 in the first quarter");
    let mean = waits.iter().sum::<u64>() / 1_000;
    assert!((9_800..10_200).contains(&mean), "centred: {mean}");
}
