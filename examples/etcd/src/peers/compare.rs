//! Comparing what members have: the questions, and the answers.
//!
//! A member that does not know the question, because it is of an older version, or sums up
//! otherwise, because it is of a newer one, says so or says nothing: it is not compared, and never
//! called wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use drystone_kv::runtime::Replica;
use drystone_kv::{BlockHash, Part, PartEnd, PartHash, PartReply};
use drystone_raft::NodeId;
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

use super::line::connect;
use super::office::Office;
use super::pb;
use pb::compare_request::About;
use pb::compare_response::Says;
use pb::peer_client::PeerClient;

/// How sums are made. To be raised with every change of what commands write, of records, or of
/// how they are summed up: members of different schemes are not compared.
const SCHEME: u32 = 1;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Blocks in an answer.
pub(crate) const BLOCKS_MAX: usize = 1024;

/// What is to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A part of the history, from the first main revision to the last, under a compaction.
    Part { first: u64, last: u64, compacted: Option<u64> },
    /// What commands did: blocks from this number on.
    Blocks { first: u64 },
}

/// What a member says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// This, and it took so long.
    Part(PartReply, Duration),
    /// These are known and finished.
    Blocks(Vec<BlockHash>),
    /// It cannot be compared with this member.
    Unknown,
    /// Nothing: it is not there, is only starting, or cannot read what it has.
    Nothing,
}

/// Asks other members. Keeps a connection to each.
#[derive(Default)]
pub(crate) struct Correspondence {
    clients: Mutex<BTreeMap<NodeId, PeerClient<Channel>>>,
}

impl Correspondence {
    /// Asks one member.
    pub(crate) async fn ask(&self, office: &Office, peer: NodeId, subject: Subject) -> Said {
        match timeout(PATIENCE, self.ask_at(office, peer, subject)).await {
            Ok(Some(said)) => said,
            Ok(None) | Err(_) => {
                // The next question is asked on a new connection.
                self.clients.lock().remove(&peer);
                Said::Nothing
            }
        }
    }

    async fn ask_at(&self, office: &Office, peer: NodeId, subject: Subject) -> Option<Said> {
        let known = self.clients.lock().get(&peer).cloned();
        let mut client = match known {
            Some(client) => client,
            None => {
                let mut found = None;
                for url in office.urls_of(peer) {
                    if let Ok(client) = connect(office.dialler(), &url).await {
                        found = Some(client);
                        break;
                    }
                }
                let client = found?;
                self.clients.lock().insert(peer, client.clone());
                client
            }
        };
        match client.compare(request(subject)).await {
            Ok(response) => Some(said(response.into_inner())),
            Err(status) if status.code() == Code::Unimplemented => Some(Said::Unknown),
            Err(_) => None,
        }
    }
}

fn request(subject: Subject) -> pb::CompareRequest {
    let about = match subject {
        Subject::Part { first, last, compacted } => {
            About::Part(pb::Part { first, last, compacted: compacted.unwrap_or(0) })
        }
        Subject::Blocks { first } => About::BlocksFrom(first),
    };
    pb::CompareRequest { scheme: SCHEME, about: Some(about) }
}

fn said(response: pb::CompareResponse) -> Said {
    let micros = Duration::from_micros(response.micros);
    match response.says {
        Some(Says::Hash(pb::PartHash { hash, last, records, bytes, is_end })) => {
            let hash = PartHash { hash, last, records, bytes, is_end };
            Said::Part(PartReply::Hash(hash), micros)
        }
        Some(Says::Behind(_)) => Said::Part(PartReply::Behind, micros),
        Some(Says::CompactedAt(at)) => {
            Said::Part(PartReply::Compacted(Some(at).filter(|at| *at > 0)), micros)
        }
        Some(Says::Blocks(pb::BlockHashes { blocks })) => {
            let block = |block: pb::BlockHash| BlockHash { block: block.block, hash: block.hash };
            Said::Blocks(blocks.into_iter().map(block).collect())
        }
        Some(Says::Unreadable(_)) => Said::Nothing,
        // What this build does not know.
        Some(Says::Unknown(_)) | None => Said::Unknown,
    }
}

/// Answers a question of another member. Takes as long as reading the part takes.
pub(super) fn answer(replica: &Replica, request: pb::CompareRequest) -> pb::CompareResponse {
    let began = std::time::Instant::now();
    let says = match request.about {
        _ if request.scheme != SCHEME => Says::Unknown(pb::Nothing {}),
        Some(About::Part(pb::Part { first, last, compacted })) => {
            let compacted = Some(compacted).filter(|at| *at > 0);
            match replica.hash_part(Part { first, end: PartEnd::At(last), compacted }) {
                Ok(PartReply::Hash(PartHash { hash, last, records, bytes, is_end })) => {
                    Says::Hash(pb::PartHash { hash, last, records, bytes, is_end })
                }
                Ok(PartReply::Behind) => Says::Behind(pb::Nothing {}),
                Ok(PartReply::Compacted(at)) => Says::CompactedAt(at.unwrap_or(0)),
                // This member finds out itself, and says so in its own log.
                Err(_) => Says::Unreadable(pb::Nothing {}),
            }
        }
        Some(About::BlocksFrom(first)) => {
            let blocks = replica.trail(first, BLOCKS_MAX).into_iter();
            let block = |block: BlockHash| pb::BlockHash { block: block.block, hash: block.hash };
            Says::Blocks(pb::BlockHashes { blocks: blocks.map(block).collect() })
        }
        None => Says::Unknown(pb::Nothing {}),
    };
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    pb::CompareResponse { says: Some(says), micros }
}

#[cfg(test)]
mod tests {
    use super::*;

    // "I do not know" must not arrive as a number that differs.
    #[test]
    fn what_is_not_understood_is_unknown() {
        let response = |says| pb::CompareResponse { says, micros: 7 };
        assert_eq!(said(response(None)), Said::Unknown);
        assert_eq!(said(response(Some(Says::Unknown(pb::Nothing {})))), Said::Unknown);
        assert_eq!(said(response(Some(Says::Unreadable(pb::Nothing {})))), Said::Nothing);
        let behind = Said::Part(PartReply::Behind, Duration::from_micros(7));
        assert_eq!(said(response(Some(Says::Behind(pb::Nothing {})))), behind);
        let never = Said::Part(PartReply::Compacted(None), Duration::from_micros(7));
        assert_eq!(said(response(Some(Says::CompactedAt(0)))), never);
    }
}
