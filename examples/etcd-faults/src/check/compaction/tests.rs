//! Each way in which a compaction may be kept and broken.

use super::super::sample::{Sample, compaction, past_get, put, read_at};
use super::*;
use crate::history::Message;
use crate::request::Reply;

const LIFE: Life = Life { slot: 0, count: 1 };
const OTHER: Life = Life { slot: 1, count: 1 };

/// Revisions 2 to 6 at the moments 0 to 5, and 4 compacted from 10 to 12, by the one process.
fn sample() -> Sample {
    let mut sample = Sample::new();
    for (at, value) in ["1", "2", "3", "4", "5"].into_iter().enumerate() {
        let at = u64::try_from(at).unwrap();
        sample.done(at..at + 1, put("a", value));
    }
    sample.compact(10..12, 4);
    by(&mut sample, LIFE);
    sample
}

/// The last operation was answered by this process.
fn by(sample: &mut Sample, life: Life) {
    sample.history_mut().operations.last_mut().unwrap().life = Some(life);
}

fn check(sample: &Sample) -> String {
    let (log, found) = Log::new(sample.events());
    assert!(found.is_empty(), "{found:?}");
    let shown = Shown::new(sample.history());
    let found = Compactions::new(sample.history(), &log).check(sample.history(), &shown).1;
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn refused(why: &str) -> Outcome {
    Outcome::Refused(format!("etcdserver: {why}"))
}

/// A read at a revision from 14 to 15, or at these times, answered or refused.
fn read(times: std::ops::Range<u64>, revision: Revision, outcome: Option<&str>) -> String {
    let mut sample = sample();
    match outcome {
        None => sample.answered(times, past_get("a", revision), 6),
        Some(why) => sample.outcome(times, past_get("a", revision), refused(why)),
    }
    check(&sample)
}

/// While a compaction is under way, either is right; before and after there is one right answer.
#[test]
fn the_past_is_read_until_it_is_compacted() {
    assert_eq!(read(6..9, 3, None), "");
    assert_eq!(read(11..15, 3, None), "");
    assert_eq!(read(11..15, 3, Some(Refusal::COMPACTED)), "");
    assert_eq!(read(14..15, 3, Some(Refusal::COMPACTED)), "");
    assert_eq!(read(14..15, 4, None), "");
    let text = read(14..15, 3, None);
    assert!(text.contains("it was answered, although 4 had been"), "{text}");
    let text = read(6..9, 3, Some(Refusal::COMPACTED));
    assert!(text.contains("nobody had compacted that"), "{text}");
    let text = read(14..15, 4, Some(Refusal::COMPACTED));
    assert!(text.contains("nobody had compacted that"), "{text}");
}

/// What is not there yet is refused, and what is there is not.
#[test]
fn the_future_is_refused_and_the_present_is_not() {
    assert_eq!(read(14..15, 7, Some(Refusal::FUTURE)), "");
    let text = read(14..15, 6, Some(Refusal::FUTURE));
    assert!(text.contains("although 6 had been shown"), "{text}");
    let text = read(14..15, 7, None);
    assert!(text.contains("before it was"), "{text}");
}

/// A refusal for another reason says nothing about revisions.
#[test]
fn other_refusals_are_not_looked_at() {
    assert_eq!(read(14..15, 6, Some("too many requests")), "");
}

/// A member that lags may still have what others have compacted; one that has compacted may not.
#[test]
fn a_serializable_read_is_held_to_its_own_process() {
    let one = |life| {
        let mut sample = sample();
        sample.answered(14..15, read_at("a", 3, true), 6);
        by(&mut sample, life);
        check(&sample)
    };
    assert_eq!(one(OTHER), "");
    assert!(one(LIFE).contains("it was answered"), "{}", one(LIFE));
}

/// A lost compaction may be done at any time, or never; whoever is refused for it shows that it is.
#[test]
fn a_lost_compaction_may_be_done_or_not() {
    let lost = || {
        let mut sample = sample();
        sample.outcome(20..25, compaction(5), Outcome::Unknown("lost".to_owned()));
        sample
    };
    let mut sample = lost();
    sample.answered(30..31, past_get("a", 4), 6);
    sample.outcome(32..33, past_get("a", 4), refused(Refusal::COMPACTED));
    assert_eq!(check(&sample), "");
    sample.answered(34..35, past_get("a", 4), 6);
    assert!(check(&sample).contains("although 5 had been"), "{}", check(&sample));
}

/// One that asks for what is not there is refused, and if its answer is lost it is not done later.
#[test]
fn nobody_compacts_the_future() {
    let mut sample = sample();
    sample.outcome(20..25, compaction(99), Outcome::Unknown("lost".to_owned()));
    sample.outcome(26..27, compaction(99), refused(Refusal::FUTURE));
    assert_eq!(check(&sample), "");
    sample.outcome(32..33, past_get("a", 5), refused(Refusal::COMPACTED));
    assert!(check(&sample).contains("nobody had compacted that"), "{}", check(&sample));
}

/// Compactions go forward.
#[test]
fn a_compaction_is_done_once() {
    let one = |outcome: Outcome, revision| {
        let mut sample = sample();
        sample.outcome(14..15, compaction(revision), outcome);
        check(&sample)
    };
    let done = |revision| Outcome::Done(Reply { revision, body: crate::request::Body::Compacted });
    assert_eq!(one(refused(Refusal::COMPACTED), 4), "");
    assert_eq!(one(done(6), 5), "");
    let text = one(done(6), 4);
    assert!(text.contains("it was done, although 4"), "{text}");
    let text = one(refused(Refusal::COMPACTED), 5);
    assert!(text.contains("nobody had compacted so far"), "{text}");
    let text = one(done(4), 5);
    assert!(text.contains("before there was one"), "{text}");
    let text = one(refused(Refusal::FUTURE), 6);
    assert!(text.contains("although 6 had been shown"), "{text}");
}

/// A watch from this revision, opened at this moment in this process, that shows what there is up
/// to some revision and is then ended for a compaction of another; 0 for none.
fn watch(life: Life, start: Revision, opened: u64, shown: Revision, compacted: Revision) -> String {
    let mut sample = sample();
    let stream = sample.watch_all(opened);
    (stream.life, stream.start) = (Some(life), start);
    let is_shown =
        |message: &Message| (start..=shown).contains(&message.revision) || message.revision == 1;
    stream.messages.retain(is_shown);
    if compacted != 0 {
        let said = Said::Canceled { reason: String::new(), compacted };
        stream.messages.push(Message { at: Moment(opened + 1), revision: 0, said });
    }
    check(&sample)
}

/// A watch whose next revision is gone is ended, and no other one is.
#[test]
fn a_watch_is_ended_if_and_only_if_it_was_overtaken() {
    assert_eq!(watch(LIFE, 2, 15, 0, 4), "", "it began too early");
    assert_eq!(watch(OTHER, 2, 15, 2, 4), "", "it was overtaken at 3");
    assert_eq!(watch(LIFE, 2, 9, 6, 0), "", "it was there before");
    assert_eq!(watch(LIFE, 4, 15, 6, 0), "", "what is compacted can still be watched");
    assert_eq!(watch(OTHER, 2, 15, 6, 0), "", "a member may lag");
    let text = watch(LIFE, 2, 15, 6, 0);
    assert!(text.contains("shows something"), "{text}");
    let text = watch(LIFE, 2, 15, 3, 4);
    assert!(text.contains("shows something"), "{text}");
    let text = watch(OTHER, 2, 15, 3, 4);
    assert!(text.contains("it had come to 4"), "{text}");
    let text = watch(LIFE, 4, 15, 0, 4);
    assert!(text.contains("it had come to 4"), "{text}");
    let text = watch(OTHER, 2, 15, 2, 5);
    assert!(text.contains("nobody asked for"), "{text}");
    let text = watch(OTHER, 2, 5, 2, 4);
    assert!(text.contains("nobody asked for"), "{text}");
}

/// What an ended watch shows is known from then on.
#[test]
fn the_end_of_a_watch_shows_a_compaction() {
    let mut sample = sample();
    sample.outcome(20..25, compaction(6), Outcome::Unknown("lost".to_owned()));
    let stream = sample.watch_all(28);
    stream.messages.truncate(1);
    let said = Said::Canceled { reason: String::new(), compacted: 6 };
    stream.messages.push(Message { at: Moment(29), revision: 0, said });
    sample.answered(30..31, past_get("a", 5), 6);
    assert!(check(&sample).contains("although 6 had been"), "{}", check(&sample));
}

/// One wrong refusal is one violation: nobody else is held to what it says.
#[test]
fn a_wrong_refusal_accuses_nobody_else() {
    let mut sample = sample();
    sample.outcome(14..15, past_get("a", 5), refused(Refusal::COMPACTED));
    sample.answered(16..17, past_get("a", 5), 6);
    assert_eq!(check(&sample).matches("client").count(), 1, "{}", check(&sample));
}

/// The members end with what was compacted last.
#[test]
fn another_end_is_seen() {
    let end = |compacted, first| {
        let mut sample = sample();
        sample.end();
        for audit in &mut sample.history_mut().audits {
            (audit.compacted, audit.first) = (compacted, first);
        }
        check(&sample)
    };
    assert_eq!(end(4, 4), "");
    assert!(end(3, 3).contains("and 4 was"), "{}", end(3, 3));
    assert!(end(5, 5).contains("nobody asked for it"), "{}", end(5, 5));
    assert!(end(4, 3).contains("watches begin at 3"), "{}", end(4, 3));
}
