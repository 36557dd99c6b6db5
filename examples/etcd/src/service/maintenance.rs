//! Maintenance: status, alarms, hashes.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Instant;

use drystone_etcd_api::etcdserverpb::{self as pb, maintenance_server};
use drystone_kv::command::{AlarmChange, AlarmKind, Command};
use drystone_kv::reply::Alarm;
use pb::AlarmType;
use pb::alarm_request::AlarmAction;
use pb::downgrade_request::DowngradeAction;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{downgrade, increment, snapshot};
use crate::auth::{Need, caller_of};
use crate::convert::signed;
use crate::error_text;
use crate::member::{self, Shared};
use crate::relay::relayed;
use crate::version;

#[tonic::async_trait]
impl maintenance_server::Maintenance for Shared {
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        let caller = caller_of(&request);
        let request = request.into_inner();
        if request.action != i32::from(AlarmAction::Get) {
            self.admit(Some(Need::Root), &caller)?;
        }
        let kind = match AlarmType::try_from(request.alarm) {
            Ok(AlarmType::None) => None,
            Ok(AlarmType::Nospace) => Some(AlarmKind::NoSpace),
            Ok(AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
            Err(_) => return Err(Status::invalid_argument("drystone-etcd: unknown alarm type")),
        };
        let raise = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => {
                let alarms = self.kv.status().alarms.into_iter();
                let wanted = alarms.filter(|alarm| {
                    kind.is_none_or(|kind| alarm_type(alarm.kind) == alarm_type(kind))
                });
                return Ok(self.alarms(&wanted.collect::<Vec<_>>(), self.kv.revision()));
            }
            Ok(AlarmAction::Activate) => true,
            Ok(AlarmAction::Deactivate) => false,
            // An etcd of version 3.5 crashes on this one.
            Err(_) => return Err(Status::invalid_argument("drystone-etcd: unknown alarm action")),
        };
        let Some(kind) = kind else { return Ok(self.alarms(&[], self.kv.revision())) };
        let change = AlarmChange { raise, member: request.member_id, kind };
        let reply = member::alarm_reply(self.propose(&caller, Command::Alarm(change)).await?);
        Ok(self.alarms(&reply.alarms, reply.revision))
    }

    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let (status, rank) = (self.kv.status(), self.kv.rank());
        let group =
            relayed(pin!(self.kv.group_status())).await.map_err(|error| self.failed(&error))?;
        let mut errors: Vec<String> = shown(&status.alarms).into_iter().map(alarm_text).collect();
        if rank.leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        Ok(Response::new(pb::StatusResponse {
            header: Some(self.header(status.revision)),
            version: version::SERVER.to_owned(),
            db_size: signed(status.engine.bytes),
            leader: rank.leader.unwrap_or(0),
            raft_index: group.commit.0,
            raft_term: self.term(),
            raft_applied_index: status.applied.min(group.commit.0),
            errors,
            db_size_in_use: signed(status.engine.bytes_in_use),
            is_learner: self.is_learner(),
            storage_version: version::STORAGE.to_owned(),
            db_size_quota: self.config.quota_bytes.map_or(0, signed),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let revision = request.into_inner().revision;
        let at = u64::try_from(revision).ok().filter(|&revision| revision > 0);
        let hash = self.read_long(move |member| {
            let began = Instant::now();
            let hash = member.kv.hash(at);
            member.metrics.hashes.observe(began.elapsed());
            hash
        });
        let hash = hash.await?;
        let hash = hash.map_err(|error| self.failed(&error))?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(self.header(hash.revision)),
            hash: hash.hash,
            compact_revision: hash.compacted.map_or(-1, signed),
            hash_revision: signed(hash.hash_revision),
        }))
    }

    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        let done = self.off_thread(|member| {
            let metrics = &member.metrics;
            metrics.defragments_under_way.fetch_add(1, Ordering::Relaxed);
            let (began, before) = (Instant::now(), member.kv.status().engine.bytes);
            tracing::info!(bytes = before, "starting defragment");
            let way = member.right_of_way.take();
            let done = member.kv.defragment();
            drop(way);
            let took = began.elapsed();
            metrics.defragments.observe(took);
            metrics.defragments_under_way.fetch_sub(1, Ordering::Relaxed);
            let (took, bytes) = (format!("{took:?}"), member.kv.status().engine.bytes);
            match &done {
                Ok(()) => tracing::info!(bytes_before = before, bytes, took, "finished defragment"),
                Err(error) => {
                    let error = error_text::chain(error);
                    tracing::error!(took, error, "failed to defragment");
                }
            }
            done
        });
        let done = done.await?;
        // Nothing is lost when that fails: the journal stays.
        done.map_err(|error| Status::internal(error_text::chain(&error)))?;
        Ok(Response::new(pb::DefragmentResponse::default()))
    }

    async fn hash(
        &self,
        _: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        let hash = self.read_long(|member| {
            let hash = member.kv.hash(None);
            hash.map(|hash| (hash.revision, whole_hash(hash.hash, &member.kv.status().alarms)))
        });
        let (revision, hash) = hash.await?.map_err(|error| self.failed(&error))?;
        Ok(Response::new(pb::HashResponse { header: Some(self.header(revision)), hash }))
    }

    type SnapshotStream = ReceiverStream<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.check_sound()?;
        if let Some(ask) = increment::asked(request.metadata())? {
            return increment::answer(self, ask).await;
        }
        Ok(Response::new(snapshot::stream(self)))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let moved = relayed(pin!(self.kv.move_leader(request.into_inner().target_id))).await;
        moved.map_err(|error| self.failed(&error))?;
        Ok(Response::new(pb::MoveLeaderResponse::default()))
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        let request = request.into_inner();
        let action = DowngradeAction::try_from(request.action);
        let action = action.map_err(|_| Status::unknown("etcdserver: unknown method"))?;
        if action != DowngradeAction::Cancel {
            downgrade::check_format(&request.version)?;
        }
        self.linearize().await?;
        downgrade::judge(action, &request.version)?;
        let (header, version) = (Some(self.header_now()), downgrade::cluster_version());
        Ok(Response::new(pb::DowngradeResponse { header, version }))
    }
}

impl Shared {
    fn alarms(&self, alarms: &[Alarm], revision: u64) -> Response<pb::AlarmResponse> {
        let alarms = shown(alarms).into_iter();
        let alarms =
            alarms.map(|(member_id, kind)| pb::AlarmMember { member_id, alarm: kind.into() });
        let header = Some(self.header(revision));
        Response::new(pb::AlarmResponse { header, alarms: alarms.collect() })
    }
}

/// Alarms by what clients know of them: of a member that lacks space there is one, whatever the
/// reasons.
fn shown(alarms: &[Alarm]) -> BTreeSet<(u64, AlarmType)> {
    alarms.iter().map(|alarm| (alarm.member, alarm_type(alarm.kind))).collect()
}

/// A hash of the keys, with all their history, and of what else is the same on every member.
fn whole_hash(keys: u32, alarms: &[Alarm]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(keys);
    for alarm in alarms {
        hasher.update(&alarm.member.to_be_bytes());
        hasher.update(alarm_type(alarm.kind).as_str_name().as_bytes());
    }
    hasher.finalize()
}

fn alarm_type(kind: AlarmKind) -> AlarmType {
    match kind {
        AlarmKind::NoSpace | AlarmKind::DiskFull => AlarmType::Nospace,
        AlarmKind::Corrupt => AlarmType::Corrupt,
    }
}

/// Go's text of the message, with the blank at its end: tools compare it.
fn alarm_text((member, kind): (u64, AlarmType)) -> String {
    format!("memberID:{member} alarm:{} ", kind.as_str_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Operators' scripts match on this line, trailing blank included; and one trouble is one line.
    #[test]
    fn alarms_read_as_go_prints_them() {
        let alarm = |kind| Alarm { member: 10276657743932975437, kind };
        let shown = shown(&[alarm(AlarmKind::NoSpace), alarm(AlarmKind::DiskFull)]);
        let lines: Vec<String> = shown.into_iter().map(alarm_text).collect();
        assert_eq!(lines, ["memberID:10276657743932975437 alarm:NOSPACE "]);
    }
}
