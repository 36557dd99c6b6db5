//! Stores to test on, and what tests have in common.

// Another suite has this file by a path, which changes where its modules would be looked for.
#[path = "support/play.rs"]
pub(crate) mod play;
#[path = "support/process.rs"]
pub(crate) mod process;
#[path = "support/proxy.rs"]
pub(crate) mod proxy;

use std::io::Write as _;
use std::time::Duration;

use drystone_etcd::embed::{Member, Options};
use mason::store::{Settings, Store, StoreError};
use mason_core::keys::Keys;
use mason_core::txn::{Op, Txn};
use tempfile::TempDir;

use process::Processes;

/// How long a test may take. Generous: machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// Makes two tests of each function: `etcd::name` and `ours::name`. They are played several at a
/// time if the module is in the list `ALL` of the suite ([`play`]).
macro_rules! on_both {
    ($($name:ident)*) => {
        pub(crate) const SCENES: &[$crate::support::play::Scene] =
            &[$($crate::support::play::Scene {
                module: module_path!(),
                name: stringify!($name),
                play: |kind| Box::pin($name(kind)),
                missing: || None,
            }),*];

        both_tests!(SCENES: $($name)*);
    };
}

/// The two tests of each scene in a list.
macro_rules! both_tests {
    ($scenes:ident: $($name:ident)*) => {
        mod etcd {
            $(#[test] fn $name() {
                let kind = $crate::support::Kind::Etcd;
                $crate::support::play::see($crate::ALL, super::$scenes, stringify!($name), kind);
            })*
        }

        mod ours {
            $(#[test] fn $name() {
                let kind = $crate::support::Kind::Ours;
                $crate::support::play::see($crate::ALL, super::$scenes, stringify!($name), kind);
            })*
        }
    };
}

/// Whose store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Real etcd.
    Etcd,
    /// `drystone-etcd`.
    Ours,
}

/// Runs a test on a runtime of one thread, as agents have it.
pub(crate) fn run<F: Future<Output = ()>>(name: &str, kind: Kind, test: impl FnOnce(Kind) -> F) {
    if kind == Kind::Etcd
        && let Err(reason) = process::real_etcd()
    {
        return skip(name, &reason);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tested =
        runtime.unwrap().block_on(async { tokio::time::timeout(PATIENCE, test(kind)).await });
    assert!(tested.is_ok(), "{name} takes longer than {PATIENCE:?}");
}

/// Says that a test was left out, past the capture of the test harness; fails it when `CI=true`.
pub(crate) fn skip(test: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run: {reason}");
    // Nothing better can be done about a broken standard error than to go on.
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes());
}

/// The seed of a random test: the one in `SEED`, or a new one. Prints how to play it again.
pub(crate) fn seed(test: &str) -> u64 {
    let named = std::env::var("SEED").ok();
    let seed = named.map_or_else(rand::random, |seed| seed.parse().expect("SEED is a number"));
    println!("replay: SEED={seed} cargo test -p mason --test {} {test}", env!("CARGO_CRATE_NAME"));
    seed
}

/// A store of one member that nobody kills.
pub(crate) enum Solo {
    /// A process.
    Etcd(Processes),
    /// In this process. The folder goes after it.
    Ours(Member, #[expect(dead_code, reason = "it is removed when dropped")] TempDir),
}

impl Solo {
    pub(crate) async fn start(kind: Kind) -> Solo {
        match kind {
            Kind::Etcd => Solo::Etcd(Processes::start(kind, 1).await),
            Kind::Ours => {
                let folder = tempfile::tempdir().unwrap();
                let mut options = Options::new(folder.path().join("store"));
                options.flags = vec!["--watch-progress-notify-interval=200ms".to_owned()];
                Solo::Ours(Member::start(&options).unwrap(), folder)
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Solo::Etcd(processes) => processes.url(0),
            Solo::Ours(member, _) => member.client_url().to_owned(),
        }
    }

    pub(crate) async fn store(&self) -> Store {
        connect(&[self.url()]).await
    }
}

/// Connects as everybody does.
pub(crate) async fn connect(urls: &[String]) -> Store {
    Store::connect(urls, Keys::new("/t/")).await.unwrap()
}

/// Connects with other limits.
pub(crate) async fn connect_with(urls: &[String], change: impl FnOnce(&mut Settings)) -> Store {
    let mut settings = Settings::default();
    change(&mut settings);
    Store::connect_with(urls, Keys::new("/t/"), settings).await.unwrap()
}

/// A transaction that puts these, whatever is there.
pub(crate) fn puts(values: &[(&str, &str)]) -> Txn {
    let put = |(key, value): &(&str, &str)| Op::Put {
        key: (*key).to_owned(),
        value: value.as_bytes().to_vec(),
        lease: None,
    };
    Txn { when: Vec::new(), then: values.iter().map(put).collect() }
}

/// Puts a value; its revision.
pub(crate) async fn put(store: &Store, key: &str, value: &str) -> i64 {
    store.commit(&puts(&[(key, value)])).await.unwrap().revision
}

/// Puts a value, until it is certain that it is there: to put it twice does no harm.
pub(crate) async fn put_surely(store: &Store, key: &str, value: &str) {
    loop {
        match store.commit(&puts(&[(key, value)])).await {
            Ok(_) => return,
            Err(error) if error.is_passing() => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The value of a key, as text.
pub(crate) async fn text(store: &Store, key: &str) -> Option<String> {
    let found = store.get(key).await.unwrap();
    found.map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

/// Forgets the history before `revision`, by a raw call.
pub(crate) async fn compact(url: &str, revision: i64) {
    use drystone_etcd_api::{client, etcdserverpb::CompactionRequest};
    let client = client::connect(url, &client::Config::default()).await.unwrap();
    let request = CompactionRequest { revision, physical: true };
    client.kv().compact(request).await.unwrap();
}

/// Waits until something holds that nobody tells of; gives up with the test.
pub(crate) async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let mut pulse = tokio::time::interval(Duration::from_millis(5));
    loop {
        if let Some(found) = look().await {
            return found;
        }
        pulse.tick().await;
    }
}

/// What an error is, for matches in assertions.
pub(crate) fn is_unknown<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unknown { .. }))
}
