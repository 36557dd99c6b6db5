//! How long answers take, by zone.
//!
//! A fixed timeout is too short for a peer on another continent and much too long for one in the
//! same rack. Only answers to the first datagram of a probe count: of a second it is not known
//! which it answers (Karn and Partridge 1987).

use crate::clock::Micros;

/// The last so many answers count.
const SAMPLES: usize = 64;
/// So many must be there before they are believed.
const SAMPLES_MIN: usize = 8;
/// The shortest timeout: answers wait for a scheduler, too.
const TIMEOUT_MIN: Micros = 20_000;

#[derive(Debug, Clone)]
struct Zone {
    micros: [u32; SAMPLES],
    count: usize,
}

/// The round trips to each zone, by its number.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoundTrips {
    zones: Vec<Option<Box<Zone>>>,
}

impl RoundTrips {
    pub(crate) fn add(&mut self, zone: u8, took: Micros) {
        let place = usize::from(zone);
        if self.zones.len() <= place {
            self.zones.resize(place + 1, None);
        }
        let zone = self.zones[place]
            .get_or_insert_with(|| Box::new(Zone { micros: [0; SAMPLES], count: 0 }));
        zone.micros[zone.count % SAMPLES] = u32::try_from(took).unwrap_or(u32::MAX);
        zone.count += 1;
    }

    /// The 99th percentile to a zone: of so few, the longest.
    pub(crate) fn p99(&self, zone: u8) -> Option<Micros> {
        let zone = self.zones.get(usize::from(zone))?.as_ref()?;
        let known = &zone.micros[..zone.count.min(SAMPLES)];
        (known.len() >= SAMPLES_MIN).then(|| known.iter().copied().max().map(u64::from)).flatten()
    }

    /// How long to wait for an answer from a zone, `most` at most.
    pub(crate) fn timeout(&self, zone: u8, most: Micros) -> Micros {
        self.p99(zone).map_or(most, |p99| (3 * p99).max(TIMEOUT_MIN)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Until something is known, patience is what the configuration says.
    #[test]
    fn a_timeout_follows_the_answers_of_its_zone() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.timeout(3, 500_000), 500_000);
        (0..7).for_each(|_| trips.add(3, 10_000));
        assert_eq!(trips.timeout(3, 500_000), 500_000);
        trips.add(3, 12_000);
        assert_eq!((trips.timeout(3, 500_000), trips.timeout(0, 500_000)), (36_000, 500_000));
        (0..SAMPLES).for_each(|_| trips.add(3, 300));
        assert_eq!(trips.timeout(3, 500_000), TIMEOUT_MIN);
        trips.add(3, 400_000);
        assert_eq!(trips.timeout(3, 500_000), 500_000);
    }
}
