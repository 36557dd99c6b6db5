//! Which files make a point in time, and whether they are as they were.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use drystone_etcd_bolt::File as Pages;
use jiff::Timestamp;

use super::label::{self, HEAD_BYTES, Label};
use super::manifest::{Chain, Entry, Manifest};

/// The point that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All there is.
    Newest,
    /// As of that main revision.
    Revision(u64),
    /// Nothing that came later.
    Time(Timestamp),
}

/// What a point is made of. Invariants:
///
/// - the files are the beginning of a chain, and their records reach up to the point;
/// - what is no record comes from one of the last two, or the only one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan<'m> {
    /// The main revision.
    pub(super) point: u64,
    /// A base, and increments up to the point.
    pub(super) files: &'m [Entry],
    /// The last of them that does not go beyond the point, or the base: what else there was is
    /// taken from it.
    pub(super) small: usize,
}

impl<'m> Plan<'m> {
    /// How to make the point that is wanted, of that chain or of any.
    ///
    /// # Errors
    ///
    /// If it cannot be made: what can.
    pub(super) fn of(
        manifest: &'m Manifest,
        wanted: Wanted,
        chain: Option<u64>,
    ) -> Result<Plan<'m>> {
        let chains: Vec<&Chain> = manifest.chains.iter().collect();
        let Some(newest) = chains.last() else { bail!("there is no backup in it yet") };
        let chosen = |one: &&Chain| chain.is_none_or(|chain| one.number == chain);
        let chains: Vec<&Chain> = chains.iter().copied().filter(chosen).collect();
        let Some(last) = chains.last() else { bail!("there is no such chain") };
        match wanted {
            Wanted::Newest => {
                let end = last.entries.len() - 1;
                Ok(Plan { point: last.newest().label.revision, files: &last.entries, small: end })
            }
            Wanted::Revision(revision) => {
                // Another cluster's revisions count something else.
                let cluster = &newest.base().label.cluster;
                let same = |one: &&&Chain| chain.is_some() || one.base().label.cluster == *cluster;
                let chains: Vec<&Chain> = chains.iter().filter(same).copied().collect();
                Plan::at_revision(&chains, revision)
            }
            Wanted::Time(time) => Plan::at_time(&chains, time),
        }
    }

    fn at_revision(chains: &[&'m Chain], point: u64) -> Result<Plan<'m>> {
        let reaches = |chain: &&&Chain| point <= chain.newest().label.revision;
        let begins = |chain: &&&Chain| chain.base().label.revision <= point;
        // A base that is newer will do: it has the history that was not compacted.
        let shows = |chain: &&&Chain| chain.base().label.compacted.max(1) <= point;
        let newest = chains.iter().rev().find(|chain| begins(chain) && reaches(chain));
        let chain = newest.or_else(|| chains.iter().rev().find(|one| shows(one) && reaches(one)));
        let Some(chain) = chain else {
            let range = |chain: &&Chain| {
                let (base, newest) = (&chain.base().label, &chain.newest().label);
                format!("chain {}: {} to {}", chain.number, base.compacted.max(1), newest.revision)
            };
            let ranges: Vec<String> = chains.iter().map(range).collect();
            bail!("revision {point} is in no chain; there are {}", ranges.join(", "));
        };
        let small = chain.entries.iter().rposition(|entry| entry.label.revision <= point);
        let end = match small {
            Some(small) if chain.entries[small].label.revision < point => small + 1,
            Some(small) => small,
            None => 0,
        };
        Ok(Plan { point, files: &chain.entries[..=end], small: small.unwrap_or(0) })
    }

    fn at_time(chains: &[&'m Chain], wanted: Timestamp) -> Result<Plan<'m>> {
        let mut newest: Option<(Timestamp, &Chain, usize)> = None;
        let mut oldest: Option<Timestamp> = None;
        for chain in chains {
            for (at, entry) in chain.entries.iter().enumerate() {
                let time = entry.time()?;
                oldest = Some(oldest.map_or(time, |oldest| oldest.min(time)));
                if time <= wanted && newest.is_none_or(|(newest, ..)| newest <= time) {
                    newest = Some((time, chain, at));
                }
            }
        }
        let Some((_, chain, at)) = newest else {
            let oldest = oldest.context("a chain has a base")?;
            bail!("the oldest backup is of {oldest}, which is later than {wanted}");
        };
        let point = chain.entries[at].label.revision;
        Ok(Plan { point, files: &chain.entries[..=at], small: at })
    }

    /// Looks at all bytes of all files.
    ///
    /// # Errors
    ///
    /// The first file that is not as it was, and what is wrong with it.
    pub(super) fn check(&self, dir: &Path) -> Result<()> {
        self.files.iter().try_for_each(|entry| entry.check(dir))
    }
}

impl Entry {
    /// Looks at all its bytes.
    ///
    /// # Errors
    ///
    /// If they are not those that were written.
    pub(super) fn check(&self, dir: &Path) -> Result<()> {
        let path = self.path(dir);
        let shown = path.display();
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("{shown} is missing")
            }
            opened => opened.with_context(|| format!("cannot read {shown}"))?,
        };
        let hashed = label::hash(&mut file);
        let (hash, bytes) = hashed.with_context(|| format!("cannot read {shown}"))?;
        let sha256 = label::hex(&hash);
        if bytes != self.bytes {
            bail!("{shown} is damaged: it has {bytes} bytes, and was written with {}", self.bytes);
        }
        if sha256 != self.sha256 {
            bail!(
                "{shown} is damaged: its SHA-256 is {sha256}, and was {} when it was written",
                self.sha256
            );
        }
        let expected = (self.label.since > 0).then_some(&self.label);
        if Label::of(&path)?.as_ref() != expected {
            bail!("{shown} is not what the manifest says that it is");
        }
        Ok(())
    }

    /// Its pages.
    pub(super) fn pages(&self, dir: &Path) -> Result<Pages> {
        let behind = if self.label.since > 0 { HEAD_BYTES as u64 } else { 0 };
        Ok(Pages::open_behind(&self.path(dir), behind)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chains of files that end at these revisions, a minute apart.
    fn manifest(chains: &[(&str, &[u64])]) -> Manifest {
        let mut manifest = Manifest::default();
        let mut minute = 0;
        for (number, (cluster, revisions)) in (1..).zip(chains) {
            let mut chain = Chain::default();
            for (at, revision) in revisions.iter().enumerate() {
                let label = Label {
                    since: at.checked_sub(1).map_or(0, |before| revisions[before]),
                    revision: *revision,
                    compacted: 3,
                    time: format!("2026-11-30T05:{minute:02}:00Z"),
                    cluster: (*cluster).to_owned(),
                    ..Label::default()
                };
                minute += 1;
                let file = Entry::name(number, at);
                let entry = Entry { chain: number, file, label, bytes: 1, sha256: String::new() };
                chain.add(entry).unwrap();
            }
            manifest.chains.push(chain);
        }
        manifest
    }

    /// Chain, number of files, the small one, and the point of what is planned.
    fn plan(
        manifest: &Manifest,
        wanted: Wanted,
        chain: Option<u64>,
    ) -> Result<(u64, usize, usize, u64)> {
        let plan = Plan::of(manifest, wanted, chain)?;
        Ok((plan.files[0].chain, plan.files.len(), plan.small, plan.point))
    }

    // A file too few lacks records; a file too many has users who were not there yet.
    #[test]
    fn a_revision_is_made_of_the_files_that_reach_it() {
        let manifest = manifest(&[("a", &[5, 9, 9, 12]), ("a", &[14, 20])]);
        let at = |revision| plan(&manifest, Wanted::Revision(revision), None).unwrap();
        assert_eq!(at(5), (1, 1, 0, 5));
        assert_eq!(at(7), (1, 2, 0, 7));
        assert_eq!(at(9), (1, 3, 2, 9), "all that changed at 9");
        assert_eq!(at(10), (1, 4, 2, 10));
        assert_eq!(at(13), (2, 1, 0, 13), "the next base has that history");
        assert_eq!(at(4), (2, 1, 0, 4), "any base has");
        assert_eq!(at(20), (2, 2, 1, 20));
        assert_eq!(plan(&manifest, Wanted::Revision(9), Some(2)).unwrap(), (2, 1, 0, 9));
        for revision in [0, 2, 21] {
            let said = plan(&manifest, Wanted::Revision(revision), None).unwrap_err().to_string();
            assert!(said.contains("chain 1: 3 to 12, chain 2: 3 to 20"), "{said}");
        }
        assert_eq!(plan(&manifest, Wanted::Newest, None).unwrap(), (2, 2, 1, 20));
        assert_eq!(plan(&manifest, Wanted::Newest, Some(1)).unwrap(), (1, 4, 3, 12));
    }

    // What came a moment after the mistake must not come along.
    #[test]
    fn a_time_is_the_last_file_before_it() {
        let manifest = manifest(&[("a", &[5, 9]), ("b", &[3, 4])]);
        let at = |time: &str| plan(&manifest, Wanted::Time(time.parse().unwrap()), None);
        assert_eq!(at("2026-11-30T05:00:00Z").unwrap(), (1, 1, 0, 5));
        assert_eq!(at("2026-11-30T05:00:59.999Z").unwrap(), (1, 1, 0, 5));
        assert_eq!(at("2026-11-30T07:01:00+02:00").unwrap(), (1, 2, 1, 9));
        assert_eq!(at("2027-01-01T00:00:00Z").unwrap(), (2, 2, 1, 4));
        let said = at("2026-11-30T04:59:59Z").unwrap_err().to_string();
        assert!(said.contains("the oldest backup is of 2026-11-30T05:00:00Z"), "{said}");
        // The other cluster's 9 is not this one's.
        assert!(plan(&manifest, Wanted::Revision(9), None).is_err());
        assert_eq!(plan(&manifest, Wanted::Revision(9), Some(1)).unwrap(), (1, 2, 1, 9));
    }
}
