//! The JSON gateway, and what is most often asked through it: locks and elections.
//!
//! | room | asks |
//! |---|---|
//! | [`paths`] | whether every path of etcd's is served, and no other |
//! | [`golden`] | whether answers are spelled as etcd 3.6 spells them, byte by byte |
//! | [`same`] | whether real etcd answers the same requests in the same way |
//! | [`streams`] | whether watches and keep-alives answer while the request is open |
//! | [`contest`] | whether locks and elections have one winner, and the next when it goes |
//! | [`abuse`] | whether it stands bodies that are none |

mod abuse;
mod contest;
mod golden;
pub(crate) mod http;
mod paths;
mod same;
mod streams;

use crate::support::programs;
use crate::support::server::Server;

/// A server of ours.
fn ours() -> Server {
    Server::start(&programs::ours(), &[])
}
