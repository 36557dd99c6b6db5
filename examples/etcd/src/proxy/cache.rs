//! Answers to serializable ranges, kept for a while.
//!
//! **The problem.** Many clients read the same few keys and do not mind an answer that is a little
//! old: that is what `serializable` says. A member should not have to answer each of them.
//!
//! **The idea.** What a member has answered is kept under the request and the token of who asked,
//! until somebody changes those keys through this proxy, or [`AGE_MAX`] has passed. A linearizable
//! range is never answered from here, but its answer is kept for serializable ones.
//!
//! **No answer from before a write that passed through here.** A range may be on its way while
//! such a write is: what was answered to it may be of before, and must not be kept. So a range
//! notes the clock of writes when it begins ([`Cache::begin`]), every write is noted twice, when it
//! begins and when it has ended, and an answer is kept only if no write to its keys came since:
//!
//! ```text
//!   range   begin(7) ───────────────► keep(7)?  a write to these keys at 8: no
//!   write          8 ──────► 9
//! ```
//!
//! **Bounds.** [`ENTRIES_MAX`] answers and [`BYTES_MAX`] bytes; the one that was used the longest
//! ago goes. The last [`NOTES_MAX`] writes are remembered, and what began before them is not kept.
//!
//! **Left out.** Writes that do not come through here are not seen before [`AGE_MAX`] has passed;
//! etcd's proxy would show their old values for ever.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::message::Framed;

/// How long an answer is good.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(5);
/// Answers that are kept.
const ENTRIES_MAX: usize = 2048;
/// Bytes of answers that are kept.
const BYTES_MAX: usize = 64 << 20;
/// A larger answer is not kept.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Writes that are remembered.
const NOTES_MAX: usize = 1024;

/// Who asked what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// The token, and whatever else tells people apart.
    pub(crate) asker: Bytes,
    /// The request, as serializable, encoded.
    pub(crate) request: Bytes,
}

/// Keys from one to another, as ranges name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) key: Bytes,
    pub(crate) end: Bytes,
}

/// Answers that are kept.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Shelf>);

/// The invariants:
///
/// * every entry stands in `by_use` under its `used`, and nothing else does;
/// * `bytes` is the sum of the answers' lengths;
/// * neither bound is passed.
#[derive(Debug, Default)]
struct Shelf {
    entries: HashMap<Question, Entry>,
    by_use: BTreeMap<u64, Question>,
    bytes: usize,
    /// Counts uses.
    uses: u64,
    /// Counts writes, and the last of them.
    clock: u64,
    notes: VecDeque<(u64, Span)>,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Entry {
    answer: Framed,
    span: Span,
    /// The revision that was asked for; 0 is the newest.
    revision: i64,
    born: Instant,
    used: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) entries: usize,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl Cache {
    /// The answer that is kept, if it is not too old at `now` and also `is_good`.
    pub(crate) fn find(
        &self,
        question: &Question,
        now: Instant,
        is_good: impl FnOnce(&Framed) -> bool,
    ) -> Option<Framed> {
        let mut shelf = self.0.lock();
        let fresh = shelf.entries.get(question);
        let fresh = fresh.map(|entry| now - entry.born <= AGE_MAX && is_good(&entry.answer));
        match fresh {
            Some(true) => {
                shelf.hits += 1;
                shelf.touch(question)
            }
            Some(false) => {
                shelf.misses += 1;
                shelf.remove(question);
                None
            }
            None => {
                shelf.misses += 1;
                None
            }
        }
    }

    /// A range begins: what it is to show to [`Cache::keep`].
    pub(crate) fn begin(&self) -> u64 {
        self.0.lock().clock
    }

    /// Keeps an answer to a range that began at `begun`, if it can still be told.
    pub(crate) fn keep(
        &self,
        question: Question,
        answer: Framed,
        (span, revision): (Span, i64),
        (begun, now): (u64, Instant),
    ) {
        let mut shelf = self.0.lock();
        let told = shelf.notes.front().is_none_or(|(oldest, _)| *oldest <= begun + 1);
        let since = shelf.notes.iter().rev().take_while(|(clock, _)| *clock > begun);
        if !told || since.into_iter().any(|(_, written)| written.meets(&span)) {
            return;
        }
        if answer.0.len() > ANSWER_BYTES_MAX {
            return;
        }
        shelf.remove(&question);
        shelf.bytes += answer.0.len();
        shelf.uses += 1;
        let used = shelf.uses;
        shelf.by_use.insert(used, question.clone());
        shelf.entries.insert(question, Entry { answer, span, revision, born: now, used });
        while shelf.entries.len() > ENTRIES_MAX || shelf.bytes > BYTES_MAX {
            let Some((_, oldest)) = shelf.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            shelf.remove(&oldest);
        }
    }

    /// A write to these keys begins, or has ended.
    pub(crate) fn write(&self, spans: &[Span]) {
        let mut shelf = self.0.lock();
        for span in spans {
            shelf.clock += 1;
            let note = (shelf.clock, span.clone());
            shelf.notes.push_back(note);
            if shelf.notes.len() > NOTES_MAX {
                shelf.notes.pop_front();
            }
        }
        shelf.remove_where(|entry| {
            entry.revision == 0 && spans.iter().any(|span| span.meets(&entry.span))
        });
    }

    /// Everything before `revision` is gone.
    pub(crate) fn compact(&self, revision: i64) {
        self.0.lock().remove_where(|entry| 0 < entry.revision && entry.revision < revision);
    }

    /// Who may see what may have changed.
    pub(crate) fn clear(&self) {
        self.0.lock().remove_where(|_| true);
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> Counts {
        let shelf = self.0.lock();
        Counts { entries: shelf.entries.len(), hits: shelf.hits, misses: shelf.misses }
    }
}

impl Shelf {
    fn touch(&mut self, question: &Question) -> Option<Framed> {
        self.uses += 1;
        let entry = self.entries.get_mut(question)?;
        self.by_use.remove(&entry.used);
        entry.used = self.uses;
        self.by_use.insert(entry.used, question.clone());
        Some(entry.answer.clone())
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.bytes -= entry.answer.0.len();
            self.by_use.remove(&entry.used);
        }
    }

    fn remove_where(&mut self, goes: impl Fn(&Entry) -> bool) {
        let gone = self.entries.iter().filter(|(_, entry)| goes(entry));
        let gone: Vec<Question> = gone.map(|(question, _)| question.clone()).collect();
        gone.iter().for_each(|question| self.remove(question));
    }
}

impl Span {
    /// A single key, or a range as requests name it.
    pub(crate) fn new(key: &Bytes, end: &Bytes) -> Span {
        Span { key: key.clone(), end: end.clone() }
    }

    /// Whether a key may be in both.
    pub(crate) fn meets(&self, other: &Span) -> bool {
        self.begins_before_end_of(other) && other.begins_before_end_of(self)
    }

    fn begins_before_end_of(&self, other: &Span) -> bool {
        match &other.end[..] {
            b"" => self.key <= other.key,
            b"\0" => true,
            end => self.key < end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(key: &'static str, end: &'static str) -> Span {
        Span { key: key.into(), end: end.into() }
    }

    fn question(asker: &'static str, request: &'static str) -> Question {
        Question { asker: asker.into(), request: request.into() }
    }

    fn all(_: &Framed) -> bool {
        true
    }

    fn answer(text: &'static str) -> Framed {
        Framed(text.into())
    }

    // A write to any key of a range makes its answer wrong; one to another key does not.
    #[test]
    fn spans_meet_where_a_key_is_in_both() {
        let check = |a: (&'static str, &'static str), b: (&'static str, &'static str), meets| {
            assert_eq!(span(a.0, a.1).meets(&span(b.0, b.1)), meets, "{a:?} {b:?}");
            assert_eq!(span(b.0, b.1).meets(&span(a.0, a.1)), meets, "{b:?} {a:?}");
        };
        check(("a", ""), ("a", ""), true);
        check(("a", ""), ("b", ""), false);
        check(("b", ""), ("a", "c"), true);
        check(("c", ""), ("a", "c"), false);
        check(("a", "c"), ("b", "d"), true);
        check(("a", "b"), ("b", "d"), false);
        check(("z", ""), ("b", "\0"), true);
        check(("a", ""), ("b", "\0"), false);
    }

    // Nobody reads what was there before his own write, however the two overlap on their way.
    #[test]
    fn an_answer_from_before_a_write_is_not_kept() {
        let (cache, now) = (Cache::default(), Instant::now());
        let (me, keys) = (question("", "a"), (span("a", ""), 0));
        let begun = cache.begin();
        cache.keep(me.clone(), answer("old"), keys.clone(), (begun, now));
        assert_eq!(cache.find(&me, now, all).map(|it| it.0), Some("old".into()));
        cache.write(&[span("a", "")]);
        assert!(cache.find(&me, now, all).is_none(), "a write has begun");
        let during = cache.begin();
        cache.keep(me.clone(), answer("old"), keys.clone(), (begun, now));
        assert!(cache.find(&me, now, all).is_none(), "the range began before the write");
        cache.write(&[span("a", "")]);
        cache.keep(me.clone(), answer("old"), keys.clone(), (during, now));
        assert!(cache.find(&me, now, all).is_none(), "the range began before the write had ended");
        let after = cache.begin();
        cache.write(&[span("b", "")]);
        cache.keep(me.clone(), answer("new"), keys, (after, now));
        assert_eq!(cache.find(&me, now, all).map(|it| it.0), Some("new".into()));
    }

    // What one may read, another may not.
    #[test]
    fn answers_are_for_whom_they_were_given_to_and_for_a_while() {
        let (cache, now) = (Cache::default(), Instant::now());
        let keys = (span("a", ""), 0);
        cache.keep(question("root", "a"), answer("secret"), keys, (cache.begin(), now));
        assert!(cache.find(&question("eve", "a"), now, all).is_none());
        assert!(cache.find(&question("root", "a"), now + AGE_MAX, all).is_some());
        let later = now + AGE_MAX + Duration::from_millis(1);
        assert!(cache.find(&question("root", "a"), later, all).is_none());
        assert_eq!(cache.counts(), Counts { entries: 0, hits: 1, misses: 2 });
    }

    // The shelf is full at some time, and the oldest goes.
    #[test]
    fn what_was_not_used_for_longest_goes() {
        let (cache, now) = (Cache::default(), Instant::now());
        let number =
            |number: usize| Question { asker: "".into(), request: number.to_string().into() };
        for at in 0..ENTRIES_MAX {
            cache.keep(number(at), answer("x"), (span("a", ""), 0), (cache.begin(), now));
        }
        assert!(cache.find(&number(0), now, all).is_some());
        cache.keep(number(ENTRIES_MAX), answer("x"), (span("a", ""), 0), (cache.begin(), now));
        assert!(cache.find(&number(0), now, all).is_some(), "it was used");
        assert!(cache.find(&number(1), now, all).is_none());
        assert_eq!(cache.counts().entries, ENTRIES_MAX);
    }

    // More writes than are remembered: who began before cannot know, and keeps nothing.
    #[test]
    fn a_range_that_took_too_long_is_not_kept() {
        let (cache, now) = (Cache::default(), Instant::now());
        let begun = cache.begin();
        for _ in 0..=NOTES_MAX {
            cache.write(&[span("elsewhere", "")]);
        }
        cache.keep(question("", "a"), answer("x"), (span("a", ""), 0), (begun, now));
        assert!(cache.find(&question("", "a"), now, all).is_none());
    }
}
