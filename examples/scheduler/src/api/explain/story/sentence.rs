//! Stories as sentences.

use super::{Group, Step, Story};
use crate::server::chronicle::reason;
use crate::when::date;

impl Group {
    /// What its tasks do.
    pub(in crate::api::explain) fn sentence(&self) -> String {
        let many = self.indexes.as_ref().is_some_and(|it| it.count() > 1);
        let since = self.time.map(date);
        let detail = match self.detail.as_str() {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        let after = match self.detail.as_str() {
            "" => String::new(),
            detail => format!("; the attempt before ended {detail}"),
        };
        match &self.story {
            Story::Wants(_) => match &self.placement {
                Some(why) if why.candidates.is_empty() => format!("waits for a place{after}"),
                Some(_) => format!("is about to be placed{after}"),
                None => format!("waits to be placed{after}"),
            },
            Story::Later => {
                let until = since.unwrap_or_default();
                let first = if many { "the first of them " } else { "" };
                format!("waits for its next attempt, {first}until {until}{after}")
            }
            Story::Limited(most) => {
                format!("waits: {most} tasks of its job run, and `parallelism` lets no more")
            }
            Story::Held(why) | Story::Ended(why) => why.clone(),
            Story::Bound(node, step) => {
                let since = match (since, many) {
                    (None, _) => String::new(),
                    (Some(since), false) => format!(" since {since}"),
                    (Some(since), true) => format!(", the first since {since}"),
                };
                bound(node.as_str(), *step, &since, &detail)
            }
        }
    }
}

fn bound(node: &str, step: Step, since: &str, detail: &str) -> String {
    match step {
        Step::Silent => format!(
            "was on {node}, which has fallen silent: it is lost, and tried elsewhere, as soon as \
             the leader has taken that to account"
        ),
        Step::Bound => format!("is bound to {node}{since}; its agent has not taken it on yet"),
        Step::Claimed => format!("is taken on by the agent of {node}{since}{detail}"),
        Step::Pulling => format!("waits on {node} for its image{since}{detail}"),
        Step::Created => format!("is about to start on {node}{since}{detail}"),
        Step::Running => format!("runs on {node}{since}, and is not ready yet{detail}"),
        Step::Ready => format!("runs on {node}{since}{detail}"),
        Step::Stopping(Some(why)) => format!("is told to stop on {node} ({}){detail}", reason(why)),
        Step::Stopping(None) => format!("ends on {node}{since}{detail}"),
        Step::Over => format!("has ended on {node}{detail}; the leader takes it to account next"),
    }
}
