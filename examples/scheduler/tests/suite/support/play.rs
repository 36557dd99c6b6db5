//! Plays tests several at a time.
//!
//! The test harness runs as many tests at once as there are processors; ours wait most of the time:
//! for a lease, for a container, for a store that starts. So the first test that runs starts all
//! that were asked for on the command line, each on a thread of its own, and every test waits for
//! its own one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Kind, run, skip};

/// So many at once, if the command line does not say.
const STAGES: usize = 8;

/// Who takes longer is named.
const LONG: Duration = Duration::from_secs(20);

/// A test, for both stores.
pub(crate) struct Scene {
    /// Its module, with the crate's name before it.
    pub(crate) module: &'static str,
    /// Its function.
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) play: fn(Kind) -> Pin<Box<dyn Future<Output = ()>>>,
    /// What this machine lacks for it.
    pub(crate) missing: fn() -> Option<&'static str>,
}

impl Scene {
    /// As the harness calls it.
    fn full_name(&self, kind: Kind) -> String {
        let of = if kind == Kind::Etcd { "etcd" } else { "ours" };
        match self.module.split_once("::") {
            Some((_, module)) => format!("{module}::{of}::{}", self.name),
            None => format!("{of}::{}", self.name),
        }
    }
}

type Played = Mutex<BTreeMap<String, JoinHandle<()>>>;

/// Waits for the end of one of these, and starts all of them if nobody has yet.
pub(crate) fn see(all: &[&'static [Scene]], scenes: &'static [Scene], name: &str, kind: Kind) {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    let played = PLAYED.get_or_init(|| Mutex::new(start_all(all)));
    let scene = scenes.iter().find(|scene| scene.name == name).expect("it is one of them");
    let full = scene.full_name(kind);
    let started = played.lock().unwrap().remove(&full);
    let thread = started.unwrap_or_else(|| start(scene, kind));
    assert!(thread.join().is_ok(), "{full} has failed; it says above why");
}

/// Starts what the command line asks for, as the harness reads it.
fn start_all(all: &[&'static [Scene]]) -> BTreeMap<String, JoinHandle<()>> {
    let asked = Asked::read(std::env::args().skip(1));
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match std::thread::current().name() {
        // The harness would show it with the test that happened to be the first.
        Some(name) if name.contains("etcd::") || name.contains("ours::") => {
            let _ = std::io::stderr().write_all(format!("FAILED {name}: {panic}\n").as_bytes());
        }
        _ => usual(panic),
    }));
    STAGE.lock().unwrap().places = asked.at_once.unwrap_or(STAGES);
    let mut started = BTreeMap::new();
    for scene in all.iter().copied().flatten() {
        for kind in [Kind::Etcd, Kind::Ours] {
            let full = scene.full_name(kind);
            if asked.has(&full) {
                started.insert(full, start(scene, kind));
            }
        }
    }
    started
}

/// What the command line asks for.
#[derive(Debug, Default)]
struct Asked {
    exact: bool,
    filters: Vec<String>,
    skipped: Vec<String>,
    at_once: Option<usize>,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> Asked {
        let mut asked = Asked::default();
        while let Some(word) = words.next() {
            match word.split_once('=').unwrap_or((&word, "")) {
                ("--exact", _) => asked.exact = true,
                ("--skip", "") => asked.skipped.extend(words.next()),
                ("--skip", name) => asked.skipped.push(name.to_owned()),
                ("--test-threads", "") => {
                    asked.at_once = words.next().and_then(|count| count.parse().ok());
                }
                ("--test-threads", count) => asked.at_once = count.parse().ok(),
                _ if word.starts_with('-') => {}
                _ => asked.filters.push(word),
            }
        }
        asked
    }

    fn has(&self, full: &str) -> bool {
        let fits = |filter: &String| match self.exact {
            true => full == *filter,
            false => full.contains(filter.as_str()),
        };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skipped.iter().any(fits)
    }
}

fn start(scene: &'static Scene, kind: Kind) -> JoinHandle<()> {
    let name = scene.full_name(kind);
    let thread = std::thread::Builder::new().name(name.clone());
    let play = move || {
        let _place = Place::take();
        let began = Instant::now();
        match (scene.missing)() {
            Some(reason) => skip(&name, reason),
            None => run(&name, kind, scene.play),
        }
        if began.elapsed() > LONG {
            println!("{name} took {:?}", began.elapsed());
        }
    };
    thread.spawn(play).unwrap()
}

/// A place on the stage.
struct Place;

struct Stage {
    places: usize,
    taken: usize,
}

static STAGE: Mutex<Stage> = Mutex::new(Stage { places: STAGES, taken: 0 });
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Place {
        let stage = STAGE.lock().unwrap();
        FREED.wait_while(stage, |stage| stage.taken >= stage.places).unwrap().taken += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        STAGE.lock().unwrap().taken -= 1;
        FREED.notify_one();
    }
}
