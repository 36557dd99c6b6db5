//! What happened to a cluster, second by second: what a picture is drawn from.

use crate::SECOND;
use crate::cluster::Cluster;
use crate::gossiper::{Gossiper, What};
use crate::truth::{Sighting, Standing, Truth};
use crate::watch::{Convergence, Watch};

/// What members said in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Second {
    /// Reports that a live member is down.
    pub false_downs: u64,
    /// Those of them that healthy members made of healthy members.
    pub false_downs_among_healthy: u64,
    /// Reports that a member that is gone is down, or has left.
    pub true_downs: u64,
    /// Suspicions, of anybody.
    pub suspicions: u64,
}

/// A run of a cluster, told.
#[derive(Debug, Clone, Default)]
pub struct Chronicle {
    begin: u64,
    seconds: Vec<Second>,
    convergence: Convergence,
    marks: Vec<(f64, String)>,
}

impl Chronicle {
    /// One that begins now.
    #[must_use]
    pub fn from<G: Gossiper>(cluster: &Cluster<G>) -> Chronicle {
        Chronicle { begin: cluster.now(), ..Chronicle::default() }
    }

    /// Looks how many are right.
    pub fn sample<G: Gossiper>(&mut self, cluster: &Cluster<G>) {
        // Seconds in which nobody said anything are seconds, too.
        let passed = ((cluster.now() - self.begin) / SECOND) as usize;
        self.seconds.resize(passed.max(self.seconds.len()), Second::default());
        let healthy = cluster.truth().all(Standing::Healthy).count();
        self.convergence.sample(cluster.now() - self.begin, cluster.right_count(), healthy);
    }

    /// Notes what is done now.
    pub fn mark(&mut self, now: u64, text: impl Into<String>) {
        self.marks.push(((now - self.begin) as f64 / SECOND as f64, text.into()));
    }

    /// What was said, by second.
    #[must_use]
    pub fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    /// How many were right, over time since the begin.
    #[must_use]
    pub fn convergence(&self) -> &Convergence {
        &self.convergence
    }

    /// What was done, with the second in which it was.
    #[must_use]
    pub fn marks(&self) -> &[(f64, String)] {
        &self.marks
    }
}

impl Watch for Chronicle {
    fn saw(&mut self, truth: &Truth, sighting: &Sighting) {
        let place = ((sighting.at - self.begin) / SECOND) as usize;
        if self.seconds.len() <= place {
            self.seconds.resize(place + 1, Second::default());
        }
        let second = &mut self.seconds[place];
        match sighting.what {
            What::Suspected => second.suspicions += 1,
            What::Down | What::Left => match truth.of(sighting.about) {
                Standing::Gone => second.true_downs += 1,
                about => {
                    let both = about == Standing::Healthy
                        && truth.of(sighting.observer) == Standing::Healthy;
                    second.false_downs += 1;
                    second.false_downs_among_healthy += u64::from(both);
                }
            },
            _ => {}
        }
    }
}
