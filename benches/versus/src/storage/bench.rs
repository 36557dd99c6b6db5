//! A store, what it must hold, and the meters.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::model::Model;
use super::phase::{Sample, Sizes};
use super::process::{disk_bytes, wait_until_quiet, written_bytes};
use super::store::{self, Contender, Settings, Store};
use crate::cost::{Meters, rss_peak_bytes};

/// Whether work that a store puts off is waited for, and paid by the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOff {
    /// There is none.
    None,
    /// Until the process is quiet.
    Paid,
}

/// One contender in its process.
pub struct Bench {
    /// Where its files are.
    pub dir: PathBuf,
    /// How much of everything.
    pub sizes: Sizes,
    /// What must be there.
    pub model: Model,
    /// The next version of a value that changes.
    pub version: u32,
    seed: u64,
    open: Option<(Contender, Box<dyn Store>)>,
}

impl Bench {
    /// Nothing is open yet.
    #[must_use]
    pub fn new(dir: PathBuf, sizes: Sizes, seed: u64) -> Bench {
        Bench { dir, sizes, model: Model::default(), version: 1, seed, open: None }
    }

    /// Opens the store, or makes it.
    ///
    /// # Errors
    /// If it refuses.
    pub fn open(&mut self, settings: &Settings) -> Result<Sample> {
        fs::create_dir_all(&self.dir)?;
        let start = Meter::start()?;
        let store = store::open(&self.dir, settings).context("opening")?;
        let sample = start.stop(self, 1, PutOff::None)?;
        self.open = Some((settings.contender, store));
        Ok(sample)
    }

    /// Closes the store, if one is open.
    ///
    /// # Errors
    /// If it refuses.
    pub fn close(&mut self) -> Result<()> {
        self.open.take().map_or(Ok(()), |(_, store)| store.close()).context("closing")
    }

    /// The store.
    ///
    /// # Panics
    /// If none is open.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.open.as_ref().expect("a store was opened").1
    }

    /// Whether the store keeps what it is given.
    #[must_use]
    pub fn stores(&self) -> bool {
        self.open.as_ref().is_none_or(|(contender, _)| *contender != Contender::Raw)
    }

    /// Numbers of one's own for each purpose, the same for every contender.
    #[must_use]
    pub fn random(&self, purpose: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(purpose))
    }

    /// Compares all that the store holds with all that it must.
    ///
    /// # Errors
    /// If they differ.
    pub fn verify(&self) -> Result<()> {
        if self.stores() { self.model.verify(self.store()) } else { Ok(()) }
    }
}

/// The meters, since a phase began.
pub struct Meter {
    meters: Meters,
    written: u64,
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn start() -> Result<Meter> {
        Ok(Meter { written: written_bytes()?, meters: Meters::read()? })
    }

    /// Ends. Time on the wall is until now; what was put off adds to all the rest.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn stop(self, bench: &Bench, ops: u64, put_off: PutOff) -> Result<Sample> {
        let wall = self.meters.spent()?.wall;
        if put_off == PutOff::Paid {
            wait_until_quiet()?;
        }
        Ok(Sample {
            ops,
            wall: wall.as_secs_f64(),
            cpu: self.meters.spent()?.cpu().as_secs_f64(),
            written: written_bytes()? - self.written,
            disk: disk_bytes(&bench.dir)?,
            rss_peak: rss_peak_bytes()?,
            latency: None,
            shrunk: None,
        })
    }
}
