//! Data folders that must not be used: each is refused in one sentence, and left as it was.
//!
//! A server that starts on damaged data and "repairs" it turns a bad day into a lost cluster, and
//! one that starts afresh beside them serves an empty store to everyone. So a start that cannot be
//! right ends with code 1, says which file is at fault, and changes not one byte: whoever has a
//! copy, or a newer program, can still use it. [`attempt`] looks at that, [`sample`] has the folder
//! to damage.
//!
//! What a crash leaves at the end of a log is not damage: see the tests of the torn tail. And what
//! other members have is not lost: a member of several mends its log and fetches its state
//! ([`crate::cluster`]). All members here are alone.

mod apart;
pub(crate) mod attempt;
mod damage;
mod place;
pub(crate) mod sample;
mod tables;
mod tail;

use std::path::Path;

use self::attempt::{attempt_with, picture};
use self::sample::{KEYS, Sample};
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::server::Server;

/// The server refuses `data`: one sentence that names `file`, relative to it, and has these
/// `words`.
#[track_caller]
fn refused(data: &Path, file: &str, words: &str) {
    refused_with(&[], data, file, words);
}

/// The same for a server with these flags.
#[track_caller]
fn refused_with(flags: &[&str], data: &Path, file: &str, words: &str) {
    let before = data.is_dir().then(|| picture(data));
    let attempt = attempt_with(data, flags);
    let after = data.is_dir().then(|| picture(data));
    assert_eq!(attempt.code, Some(1), "the exit code\n{}", attempt.log);
    let [line] = attempt.lines.as_slice() else {
        panic!("one sentence for people, not {}:\n{}", attempt.lines.len(), attempt.log)
    };
    let named = if file.is_empty() { data.to_owned() } else { data.join(file) };
    assert!(line.contains(&*named.to_string_lossy()), "{named:?} is named in: {line}");
    assert!(line.contains(words), "`{words}` in: {line}");
    assert_eq!(before, after, "not a byte was changed");
}

/// The keys that `server` serves.
fn count(server: &Server) -> usize {
    in_a_runtime(async {
        let client = client_of(server).await;
        let (key, range_end) = ("\0".into(), "\0".into());
        let request = drystone_etcd_api::etcdserverpb::RangeRequest {
            key,
            range_end,
            count_only: true,
            ..Default::default()
        };
        let answer = client.kv().range(request).await.expect("a range is answered");
        usize::try_from(answer.into_inner().count).expect("a count")
    })
}

/// All refusals below mean nothing if the sample itself would be refused.
#[test]
fn sound_sample_is_served() {
    let sample = Sample::new();
    assert!(sample.all(sample::LOG, ".wal").len() >= 3, "the log has several segments");
    sample.one(sample::ENGINE, ".snap");
    assert_eq!(count(&sample.serve()), KEYS);
}
