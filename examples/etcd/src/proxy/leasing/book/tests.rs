//! What the book says, step by step.

use super::*;

const LEASE: i64 = 7;

/// A book whose session is good, what it gives up, and the time.
fn begun() -> (Book, mpsc::UnboundedReceiver<Bytes>, Instant) {
    let ((book, given_up), now) = (Book::new(), Instant::now());
    let later = now + Duration::from_secs(60);
    book.begin(LEASE, later);
    book.open(now, later);
    (book, given_up, now)
}

fn key(name: &'static str) -> Bytes {
    name.into()
}

fn kv(name: &'static str, at: i64) -> KeyValue {
    KeyValue { key: name.into(), mod_revision: at, ..KeyValue::default() }
}

fn span(from: &'static str, end: &'static str) -> Span {
    Span { key: from.into(), end: end.into() }
}

fn claim(book: &Book, name: &'static str, now: Instant) -> Claim {
    match book.look(&key(name), true, now) {
        Look::Claim(claim) => claim,
        Look::Held(kv) => panic!("it is held: {kv:?}"),
        Look::Nothing => panic!("it may not be claimed"),
    }
}

fn hold(book: &Book, name: &'static str, at: i64, now: Instant) {
    claim(book, name, now).settle(Some((kv(name, at), at)));
    assert_eq!(held(book, name, now), Some(at));
}

/// The revision of what is held.
fn held(book: &Book, name: &'static str, now: Instant) -> Option<i64> {
    match book.look(&key(name), false, now) {
        Look::Held(kv) => Some(kv.mod_revision),
        Look::Claim(_) | Look::Nothing => None,
    }
}

// A lease that may have ended at the members is worth nothing, whatever is held by it.
#[test]
fn nothing_is_told_past_the_time() {
    let (book, _given_up, now) = begun();
    hold(&book, "k", 3, now);
    assert_eq!(held(&book, "k", now + Duration::from_secs(60)), None);
    book.extend(now + Duration::from_secs(90));
    assert_eq!(held(&book, "k", now + Duration::from_secs(60)), None, "who may read?");
    book.open(now + Duration::from_secs(59), now + Duration::from_secs(62));
    assert_eq!(held(&book, "k", now + Duration::from_secs(60)), Some(3));
    // An answer that was given before the rights changed does not count.
    book.close(now + Duration::from_secs(60));
    book.open(now + Duration::from_secs(60), now + Duration::from_secs(80));
    assert_eq!(held(&book, "k", now + Duration::from_secs(60)), None);
    book.end();
    book.begin(LEASE + 1, now + Duration::from_secs(90));
    book.open(now + Duration::from_secs(61), now + Duration::from_secs(80));
    assert_eq!(held(&book, "k", now + Duration::from_secs(62)), None, "that was another session");
}

// What is being written is neither old nor new. Afterwards it is held only if the write has shown
// it, and nothing later has.
#[test]
fn a_write_hides_its_keys_until_it_has_shown_them() {
    let (book, mut given_up, now) = begun();
    for name in ["a", "b", "c"] {
        hold(&book, name, 3, now);
    }
    let (first, second) = (book.lock(vec![span("a", "")]), book.lock(vec![span("a", "c")]));
    assert_eq!(second.held(), [(key("a"), 3), (key("b"), 3)]);
    assert_eq!((held(&book, "a", now), held(&book, "c", now)), (None, Some(3)));
    let shows = |at| vec![Standing { key: key("a"), created: 3, kv: kv("a", at) }];
    second.finish(6, shows(6));
    assert_eq!(held(&book, "a", now), None, "the first is under way");
    assert!(matches!(book.look(&key("b"), true, now), Look::Nothing), "it was not shown");
    assert_eq!(given_up.try_recv(), Ok(key("b")));
    first.finish(5, shows(5));
    assert_eq!(held(&book, "a", now), Some(6), "the answer to the earlier one came later");
    // Nobody knows what became of this one; and this one was refused.
    book.lock(vec![span("c", "")]).refused();
    assert_eq!(held(&book, "c", now), Some(3));
    drop(book.lock(vec![span("c", "")]));
    assert_eq!(held(&book, "c", now), None);
    assert_eq!(given_up.try_recv(), Ok(key("c")));
}

// The answer to a claim may be of before a write that was sent after it, or of before its end.
#[test]
fn a_claim_that_was_overtaken_is_worth_nothing() {
    let (book, mut given_up, now) = begun();
    let overtaken = claim(&book, "k", now);
    let lock = book.lock(vec![span("a", "z")]);
    assert!(matches!(book.look(&key("l"), true, now), Look::Nothing), "it is locked");
    lock.finish(4, Vec::new());
    overtaken.settle(Some((kv("k", 3), 3)));
    assert_eq!((held(&book, "k", now), given_up.try_recv()), (None, Ok(key("k"))));
    // The same if somebody wanted it before the answer was here.
    let wanted = claim(&book, "l", now);
    book.give_up(&key("l"), Some(5), 6);
    wanted.settle(Some((kv("l", 5), 5)));
    assert_eq!((held(&book, "l", now), given_up.try_recv()), (None, Ok(key("l"))));
    // Or if the session has ended, and there is a new one.
    let late = claim(&book, "m", now);
    book.end();
    book.begin(LEASE + 1, now + Duration::from_secs(60));
    late.settle(Some((kv("m", 5), 5)));
    assert_eq!((held(&book, "m", now), given_up.try_recv().is_err()), (None, true));
}

// A lease key that is being deleted must not be taken for the next one.
#[test]
fn what_is_given_up_rests_until_its_lease_key_is_gone() {
    let (book, mut given_up, now) = begun();
    hold(&book, "k", 3, now);
    book.give_up(&key("k"), Some(2), 9);
    assert_eq!(held(&book, "k", now), Some(3), "that was an earlier one");
    book.give_up(&key("k"), None, 3);
    assert_eq!(held(&book, "k", now), Some(3), "that was before");
    book.give_up(&key("k"), Some(3), 9);
    assert_eq!((held(&book, "k", now), given_up.try_recv()), (None, Ok(key("k"))));
    let hours = now + Duration::from_secs(50);
    book.sweep(hours);
    assert!(book.is_leaving(&key("k")));
    assert!(matches!(book.look(&key("k"), true, hours), Look::Nothing));
    book.is_free(&key("k"), now);
    assert!(!book.is_leaving(&key("k")));
    assert!(matches!(book.look(&key("k"), true, now), Look::Nothing), "others come first");
    hold(&book, "k", 12, now + REST);
    // One of which nobody knew is given up, too.
    book.give_up(&key("lost"), Some(20), 21);
    assert_eq!(given_up.try_recv(), Ok(key("lost")));
}

// A proxy in front of millions of keys must not hold them all.
#[test]
fn when_there_is_no_room_what_was_not_read_goes() {
    let (book, mut given_up, now) = begun();
    let name = |number: usize| Bytes::from(number.to_string());
    for number in 0..KEYS_MAX {
        let Look::Claim(claim) = book.look(&name(number), true, now) else { panic!("no room") };
        claim.settle(Some((KeyValue { key: name(number), ..KeyValue::default() }, 3)));
    }
    assert!(matches!(book.look(&name(KEYS_MAX), true, now), Look::Nothing), "there is room");
    assert!(matches!(book.look(&name(0), true, now), Look::Held(_)));
    book.sweep(now);
    assert!(matches!(book.look(&name(0), true, now), Look::Held(_)), "it was read");
    let gone: Vec<Bytes> = std::iter::from_fn(|| given_up.try_recv().ok()).collect();
    assert_eq!(gone.len(), KEYS_MAX / 8);
    assert_eq!(book.counts().held, KEYS_MAX - KEYS_MAX / 8);
}
