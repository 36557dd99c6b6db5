//! All that is told but the entries: gathered once, printed for people or as JSON.

use std::path::Path;

use drystone_kv::EngineKind;
use drystone_kv::command::AlarmKind;
use drystone_kv::engines::{Level, LevelsOf, Shape};
use drystone_kv::runtime::inspect::{Inspection, SavedState};
use drystone_raft::store::{GroupLog, Inspection as LogInspection, SnapshotFile, SnapshotState};
use drystone_raft::{Configuration, Suffrage};
use serde::Serialize;

use super::holder::{self, Holder};
use super::options::{Options, Section};
use super::{Found, versions};

/// The version of the JSON: another if a field changes its meaning.
const SCHEMA: u32 = 1;

/// All that is told but the entries. A section that was not asked for, and one of which there is
/// nothing, is null.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) data_dir: String,
    pub(crate) holder: Holder,
    pub(crate) identity: Option<Who>,
    /// Which versions wrote the files.
    pub(crate) formats: Option<Vec<Format>>,
    pub(crate) cluster: Option<Members>,
    pub(crate) log: Option<Log>,
    pub(crate) snapshots: Option<Vec<Snapshot>>,
    pub(crate) engine: Option<Engine>,
}

/// Who the member is.
#[derive(Debug, Serialize)]
pub(crate) struct Who {
    pub(crate) cluster_id: Option<u64>,
    pub(crate) member_id: Option<u64>,
    /// Empty if it is not known.
    pub(crate) name: String,
    /// The version of the file that says so; null if it cannot be read.
    pub(crate) format: Option<u32>,
    pub(crate) storage_engine: Option<&'static str>,
}

/// A file, or files of a kind, and the versions that they say that they are of.
#[derive(Debug, Serialize)]
pub(crate) struct Format {
    pub(crate) what: &'static str,
    pub(crate) file: String,
    /// Each once; none if they say nothing that can be read.
    pub(crate) versions: Vec<u32>,
}

/// The members of the cluster, in the replicated state.
#[derive(Debug, Serialize)]
pub(crate) struct Members {
    /// The entry that this is as of.
    pub(crate) as_of: u64,
    pub(crate) cluster_id: Option<u64>,
    pub(crate) members: Vec<Member>,
    pub(crate) removed: Vec<u64>,
    /// Who votes, by the newest entry of the log that says so, committed or not.
    pub(crate) voting: Option<Voting>,
}

/// One member, with etcd's names.
#[derive(Debug, Serialize)]
#[expect(non_snake_case, reason = "these are etcd's")]
pub(crate) struct Member {
    pub(crate) ID: u64,
    pub(crate) name: String,
    pub(crate) peerURLs: Vec<String>,
    pub(crate) clientURLs: Vec<String>,
    pub(crate) isLearner: bool,
}

/// Who votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Voting {
    /// The entry that says so; 0 for what the group began with.
    pub(crate) index: u64,
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
    /// Voters of before, while the group moves from one set to another.
    pub(crate) outgoing: Vec<u64>,
}

/// The log.
#[derive(Debug, Serialize)]
pub(crate) struct Log {
    pub(crate) dir: String,
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
    pub(crate) term: u64,
    pub(crate) vote: Option<u64>,
    /// Entries up to here are known to be committed; others may be.
    pub(crate) committed: u64,
    /// The last entry that is compacted away.
    pub(crate) compacted: u64,
    pub(crate) compacted_term: u64,
    pub(crate) last: u64,
    pub(crate) last_term: u64,
    /// How many of the entries between are there.
    pub(crate) entries: u64,
    /// Which are not: the first and the last of each row.
    pub(crate) missing: Vec<(u64, u64)>,
    /// How often the group was recovered by force.
    pub(crate) generation: u64,
    /// The vote was lost with a part of the disk.
    pub(crate) vote_lost: bool,
    /// The end of the log was lost.
    pub(crate) end_lost: bool,
    /// What stands behind the last whole write.
    pub(crate) torn: Option<Torn>,
}

/// A write that is not whole: it is being made, or never was finished.
#[derive(Debug, Serialize)]
pub(crate) struct Torn {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// One snapshot beside the log.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) file: String,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) bytes: u64,
    /// taken, fetched, unfinished or damaged.
    pub(crate) state: &'static str,
    pub(crate) complete: bool,
}

/// What the engine has saved.
#[derive(Debug, Serialize)]
pub(crate) struct Engine {
    pub(crate) kind: &'static str,
    pub(crate) dir: String,
    /// It holds half of a state that another member sends.
    pub(crate) loading: bool,
    pub(crate) applied: u64,
    pub(crate) revision: u64,
    pub(crate) compacted_revision: Option<u64>,
    pub(crate) swept_revision: Option<u64>,
    /// Keys that are there, and records of all kinds; null if not all records could be read.
    pub(crate) keys: Option<u64>,
    pub(crate) puts: Option<u64>,
    pub(crate) tombstones: Option<u64>,
    pub(crate) records: u64,
    pub(crate) leases: u64,
    pub(crate) alarms: Vec<Alarm>,
    /// Whether callers have to be users who may.
    pub(crate) auth_enabled: bool,
    pub(crate) auth_revision: u64,
    pub(crate) users: usize,
    pub(crate) roles: usize,
    pub(crate) bytes: u64,
    pub(crate) bytes_in_use: u64,
    pub(crate) files: Files,
}

/// An alarm that stands.
#[derive(Debug, Serialize)]
pub(crate) struct Alarm {
    pub(crate) member_id: u64,
    pub(crate) alarm: &'static str,
}

/// How the engine's files are laid out.
#[derive(Debug, Serialize)]
#[serde(tag = "engine", rename_all = "snake_case")]
pub(crate) enum Files {
    Memory { file: String, file_bytes: u64 },
    Btree { file: String, transaction: u64, page_bytes: u64, pages: u64, pages_free: u64 },
    Lsm { tables: u64, keyspaces: Vec<Keyspace> },
}

/// The levels of one keyspace.
#[derive(Debug, Serialize)]
pub(crate) struct Keyspace {
    pub(crate) name: String,
    /// `0.n` are the sub-levels of level 0, from the oldest.
    pub(crate) levels: Vec<LevelLine>,
}

/// One level that has tables.
#[derive(Debug, Serialize)]
pub(crate) struct LevelLine {
    pub(crate) level: String,
    pub(crate) tables: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) deletes: u64,
}

impl Report {
    /// What was asked for, of what there is.
    pub(crate) fn of(options: &Options, found: &Found, inspection: &mut Inspection) -> Report {
        let identity = found.identity;
        let me = identity.map_or(0, |identity| identity.member.0);
        let wants_members = options.shows(Section::Members) || options.shows(Section::Identity);
        let cluster = wants_members.then(|| inspection.members(me));
        let kind = inspection.engine.as_ref().ok().copied().flatten().map(EngineKind::name);
        let who = Who {
            cluster_id: identity.map(|identity| identity.cluster.0),
            member_id: identity.map(|identity| identity.member.0),
            name: cluster
                .as_ref()
                .and_then(|(cluster, _)| cluster.member(me))
                .map_or_else(String::new, |member| member.name.clone()),
            format: found.format,
            storage_engine: kind,
        };
        let members = cluster.filter(|_| options.shows(Section::Members));
        let log = inspection.log.as_ref().ok().and_then(Option::as_ref);
        let state = inspection.state.as_ref().ok().and_then(Option::as_ref);
        let snapshots = log.map(|log| log.snapshots().iter().map(snapshot).collect());
        let group = log.zip(inspection.group());
        Report {
            schema: SCHEMA,
            data_dir: shown(&options.dir),
            holder: holder::of(&options.dir.join("replica")),
            identity: options.shows(Section::Identity).then_some(who),
            formats: options
                .shows(Section::Identity)
                .then(|| versions::of(&options.dir, found, inspection)),
            cluster: members.map(|(cluster, as_of)| Members {
                as_of,
                cluster_id: cluster.id,
                members: cluster.members.into_iter().map(member).collect(),
                removed: cluster.removed.into_iter().collect(),
                voting: inspection.group().and_then(|group| voting(&group)),
            }),
            log: group
                .filter(|_| options.shows(Section::Log))
                .map(|(log, group)| log_of(log, &group, inspection.committed(me))),
            snapshots: snapshots.filter(|_| options.shows(Section::Snapshots)),
            engine: state
                .filter(|_| options.shows(Section::Engine))
                .map(|state| engine(state, kind.unwrap_or_default())),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn member(member: drystone_kv::Member) -> Member {
    Member {
        ID: member.id,
        name: member.name,
        peerURLs: member.peer_urls,
        clientURLs: member.client_urls,
        isLearner: member.is_learner,
    }
}

fn voting(group: &GroupLog<'_>) -> Option<Voting> {
    let (index, members) = group.members()?;
    Some(Voting::of(index.0, &members))
}

impl Voting {
    /// Who votes, as entry `index` has it.
    pub(crate) fn of(index: u64, members: &Configuration) -> Voting {
        let with = |votes: bool| {
            let members = members.members().iter();
            let those = members.filter(move |m| (m.suffrage != Suffrage::Learner) == votes);
            those.map(|member| member.id).collect()
        };
        let (voters, learners) = (with(true), with(false));
        Voting { index, voters, learners, outgoing: members.outgoing().to_vec() }
    }
}

fn log_of(log: &LogInspection, group: &GroupLog<'_>, committed: u64) -> Log {
    let (hard, last) = (group.hard(), group.last());
    let base = group.base().map(|base| base.last).unwrap_or_default();
    let (segments, bytes) = log.segments();
    Log {
        dir: shown(log.log()),
        segments,
        bytes,
        term: hard.term.0,
        vote: hard.vote,
        committed,
        compacted: base.index.0,
        compacted_term: base.term.0,
        last: last.index.0,
        last_term: last.term.0,
        entries: group.count(),
        missing: group.missing().into_iter().map(|(first, last)| (first.0, last.0)).collect(),
        generation: hard.generation,
        vote_lost: hard.lost_vote,
        end_lost: hard.lost_end.is_some(),
        torn: log.torn().map(|cut| Torn {
            file: shown(&cut.file),
            offset: cut.offset,
            bytes: cut.bytes,
        }),
    }
}

fn snapshot(found: &SnapshotFile) -> Snapshot {
    let (state, complete) = match found.state {
        SnapshotState::Taken => ("taken", true),
        SnapshotState::Fetched => ("fetched", true),
        SnapshotState::Unfinished => ("unfinished", false),
        SnapshotState::Damaged => ("damaged", false),
        _ => ("unknown", false),
    };
    Snapshot {
        file: shown(&found.path),
        index: found.position.index.0,
        term: found.position.term.0,
        bytes: found.bytes,
        state,
        complete,
    }
}

fn engine(state: &SavedState, kind: &'static str) -> Engine {
    use drystone_kv::engine::Space;
    let census = state.census.as_ref().and_then(|census| census.as_ref().ok());
    let records = |space: Space| state.stats.records[space.index()];
    Engine {
        kind,
        dir: shown(&state.dir),
        loading: state.loading,
        applied: state.applied,
        revision: state.revision,
        compacted_revision: state.compacted,
        swept_revision: state.swept,
        keys: census.map(|census| census.keys),
        puts: census.map(|census| census.puts),
        tombstones: census.map(|census| census.tombstones),
        records: records(Space::Record),
        leases: records(Space::Lease),
        alarms: state
            .alarms
            .iter()
            .map(|alarm| Alarm { member_id: alarm.member, alarm: alarm_name(alarm.kind) })
            .collect(),
        auth_enabled: state.auth.enabled,
        auth_revision: state.auth.revision,
        users: state.auth.users.len(),
        roles: state.auth.roles.len(),
        bytes: state.stats.bytes,
        bytes_in_use: state.stats.bytes_in_use,
        files: files(&state.shape),
    }
}

/// etcd's name, where it has one.
pub(crate) fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
        AlarmKind::DiskFull => "DISK_FULL",
    }
}

fn files(shape: &Shape) -> Files {
    match shape {
        Shape::Memory { file, file_bytes } => {
            Files::Memory { file: shown(file), file_bytes: *file_bytes }
        }
        Shape::Btree { file, txn, page_bytes, pages, pages_free } => Files::Btree {
            file: shown(file),
            transaction: *txn,
            page_bytes: *page_bytes,
            pages: *pages,
            pages_free: *pages_free,
        },
        Shape::Lsm { tables, spaces } => {
            Files::Lsm { tables: *tables, keyspaces: spaces.iter().map(keyspace).collect() }
        }
    }
}

fn keyspace(space: &LevelsOf) -> Keyspace {
    let newer = space.sublevels.iter().enumerate().map(|(n, level)| (format!("0.{n}"), level));
    let older = space.levels.iter().enumerate().map(|(n, level)| ((n + 1).to_string(), level));
    let line = |(name, level): (String, &Level)| LevelLine {
        level: name,
        tables: level.tables,
        bytes: level.bytes,
        entries: level.entries,
        deletes: level.deletes,
    };
    let filled = newer.chain(older).filter(|(_, level)| level.tables > 0);
    Keyspace { name: space.name.clone(), levels: filled.map(line).collect() }
}
