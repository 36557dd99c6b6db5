//! `--endpoints-auto-sync-interval`: who the members are, as the members say.
//!
//! The endpoints of the flag are where the proxy begins. From then on, once in every interval, it
//! asks for the list of members, which the cluster agrees on, and goes by the client URLs that
//! stand there. Learners are left out, since they refuse most of what they are asked, and members
//! that have not begun yet. An answer without URLs, and none, change nothing: the list at hand is
//! the best that there is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use drystone_etcd_api::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use tokio::time::{sleep, timeout};

use super::Shared;

/// How long the members may take to say it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks once in every `interval`, until the proxy stops.
pub(crate) async fn keep_synced(proxy: Shared, interval: Duration) {
    let mut stop = proxy.shutdown.clone();
    loop {
        tokio::select! {
            () = sleep(interval) => {}
            () = stop.fired() => return,
        }
        match timeout(PATIENCE, urls(&proxy)).await {
            Ok(Ok(urls)) => {
                if proxy.upstream.replace(&urls) {
                    tracing::info!(endpoints = urls.join(","), "the members are others now");
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "Auto sync endpoints failed.");
            }
            Err(_) => tracing::warn!(error = "no answer in time", "Auto sync endpoints failed."),
        }
    }
}

async fn urls(proxy: &Shared) -> Result<Vec<String>> {
    let mut cluster = ClusterClient::new(proxy.upstream.clone());
    let list = cluster.member_list(pb::MemberListRequest { linearizable: true }).await;
    let list = list.context("the members do not say who they are")?.into_inner();
    Ok(client_urls(list.members))
}

/// Where those are whom any call may go to.
fn client_urls(members: Vec<pb::Member>) -> Vec<String> {
    let able = members.into_iter().filter(|it| !it.is_learner && !it.name.is_empty());
    able.flat_map(|member| member.client_ur_ls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // A learner would refuse what the clients ask, and one that has not begun is not there.
    #[test]
    fn only_those_are_taken_that_answer_everything() {
        let member = |name: &str, url: &str, is_learner| pb::Member {
            name: name.to_owned(),
            client_ur_ls: vec![url.to_owned()],
            is_learner,
            ..pb::Member::default()
        };
        let all = vec![
            member("a", "http://a:1", false),
            member("b", "http://b:2", true),
            member("", "http://c:3", false),
            member("d", "http://d:4", false),
        ];
        assert_eq!(client_urls(all), ["http://a:1", "http://d:4"]);
    }
}
