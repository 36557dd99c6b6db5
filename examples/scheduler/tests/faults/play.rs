//! Plays scenes several at a time.
//!
//! The test harness runs as many tests at once as there are processors, each of which would wait
//! for a lease most of the time. So the first test that runs starts all scenes that were asked for
//! on the command line, each on a thread of its own, and every test waits for its own one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;

use crate::support::{self, Kind};

/// Scenes on stage at once.
const STAGES: usize = 8;

/// A scene.
pub(crate) struct Scene {
    /// As the test is called.
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) play: fn(Kind) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// Makes two tests of each scene: `etcd::name` and `ours::name`.
macro_rules! scenes {
    ($($file:ident :: $name:ident)*) => {
        const SCENES: &[play::Scene] = &[$(play::Scene {
            name: stringify!($name),
            play: |kind| Box::pin($file::$name(kind)),
        }),*];

        mod etcd {
            $(#[test] fn $name() {
                crate::play::see(crate::SCENES, stringify!($name), crate::support::Kind::Etcd);
            })*
        }

        mod ours {
            $(#[test] fn $name() {
                crate::play::see(crate::SCENES, stringify!($name), crate::support::Kind::Ours);
            })*
        }
    };
}

type Played = Mutex<BTreeMap<String, JoinHandle<()>>>;

/// Waits for the end of a scene.
pub(crate) fn see(scenes: &'static [Scene], name: &str, kind: Kind) {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    let played = PLAYED.get_or_init(|| Mutex::new(start_all(scenes)));
    let full = full_name(name, kind);
    let started = played.lock().unwrap().remove(&full);
    let thread = started.unwrap_or_else(|| {
        start(scenes.iter().find(|scene| scene.name == name).expect("it is one of them"), kind)
    });
    assert!(thread.join().is_ok(), "{full} has failed; it says above why");
}

fn full_name(name: &str, kind: Kind) -> String {
    format!("{}::{name}", if kind == Kind::Etcd { "etcd" } else { "ours" })
}

/// Starts what the command line asks for, as the harness reads it.
fn start_all(scenes: &'static [Scene]) -> BTreeMap<String, JoinHandle<()>> {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match std::thread::current().name() {
        // The harness would show it with the test that happened to be the first.
        Some(name) if name.starts_with("etcd::") || name.starts_with("ours::") => {
            let _ = std::io::stderr().write_all(format!("FAILED {name}: {panic}\n").as_bytes());
        }
        _ => usual(panic),
    }));
    let words: Vec<String> = std::env::args().skip(1).collect();
    let exact = words.iter().any(|word| word == "--exact");
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_asked = |full: &str| {
        let fits = |filter: &&String| if exact { full == *filter } else { full.contains(*filter) };
        filters.is_empty() || filters.iter().any(fits)
    };
    let mut started = BTreeMap::new();
    for scene in scenes {
        for kind in [Kind::Etcd, Kind::Ours] {
            let full = full_name(scene.name, kind);
            if is_asked(&full) {
                started.insert(full, start(scene, kind));
            }
        }
    }
    started
}

fn start(scene: &'static Scene, kind: Kind) -> JoinHandle<()> {
    let name = full_name(scene.name, kind);
    let thread = std::thread::Builder::new().name(name.clone());
    let play = move || {
        let _place = Place::take();
        let began = std::time::Instant::now();
        match missing() {
            Some(reason) => support::skip(&name, reason),
            None => support::run(&name, kind, scene.play),
        }
        println!("{name} took {:?}", began.elapsed());
    };
    thread.spawn(play).unwrap()
}

/// What this machine lacks.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("containers and network namespaces need root");
    }
    mason::node::program("runc").is_none().then_some("there is no runc")
}

/// A place on a stage.
struct Place;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Place {
        let taken = TAKEN.lock().unwrap();
        *FREED.wait_while(taken, |taken| *taken == STAGES).unwrap() += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap() -= 1;
        FREED.notify_one();
    }
}
