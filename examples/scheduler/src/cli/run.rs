//! `mason run`: one task, its output as it comes, and its exit code.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use mason_core::record::{Exit as Ended, Phase, Reason, RunPhase, TaskWait};
use mason_core::types::RunId;
use serde_json::{Value, json};

use super::ask::{Asker, Target, found};
use super::exit::Exit;
use super::follow::{Ask, Follower, Prefix, print};
use super::out;
use super::signals::Signals;
use super::text::{plain, plain_lines};
use crate::api::client::Path;
use crate::api::wire::{Applied, Apply, Change, Detail, TaskView};
use crate::server::chronicle::reason;

/// How long it waits before it says why nothing happens.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a job is kept after its end, unless it is removed at once.
const TTL: &str = "1h";

/// Run a container, print what it prints, and end as it ends
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The image
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// What the job is called; a name is made up if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A variable of the container
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = super::agent::pair)]
    env: Vec<(String, String)>,
    /// Cores, as 0.5 or 500m
    #[arg(long, value_name = "CORES")]
    cpu: Option<String>,
    /// Memory, as 64Mi
    #[arg(long, value_name = "BYTES")]
    memory: Option<String>,
    /// The words take the place of the image's entrypoint, too
    #[arg(long)]
    command: bool,
    /// Print the job's name, and do not wait
    #[arg(long, short)]
    detach: bool,
    /// Remove the job at its end
    #[arg(long)]
    rm: bool,
    /// The words of the command; the image's own if none
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
}

impl RunArgs {
    fn manifest(&self, name: &str) -> Value {
        let env = self.env.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        let mut job = json!({
            "kind": "Job",
            "name": name,
            "image": self.image,
            "env": env.collect::<Vec<_>>(),
            "ttl": TTL,
        });
        if !self.words.is_empty() {
            job[if self.command { "command" } else { "args" }] = json!(self.words);
        }
        let amounts = [("cpu", &self.cpu), ("memory", &self.memory)];
        let amounts = amounts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
        let amounts: serde_json::Map<String, Value> =
            amounts.map(|(key, text)| (key.to_owned(), json!(text))).collect();
        if !amounts.is_empty() {
            job["resources"] = Value::Object(amounts);
        }
        job
    }
}

/// Runs it; mason's own failures end with 125.
pub(super) async fn run(args: RunArgs, asker: &Asker) -> Result<Exit> {
    let name = args.name.clone().unwrap_or_else(|| format!("run-{:08x}", rand::random::<u32>()));
    let mut signals = Signals::listen()?;
    let apply = Apply {
        text: args.manifest(&name).to_string(),
        namespace: asker.namespace.clone(),
        lenient: false,
    };
    let applied: Applied = asker.client.post(Path::of(&["apply"]), &apply).await?;
    for warning in applied.objects.iter().flat_map(|object| &object.warnings) {
        eprintln!("mason: {}", plain(warning));
    }
    if args.detach {
        out::line(&name);
        return Ok(Exit::DONE);
    }
    let ended = tokio::select! {
        ended = watch(asker, &name) => ended?,
        _ = signals.next() => {
            let verb = if args.rm { "delete" } else { "stop" };
            asker.change(&name, verb, &Change::default()).await.context("stop it")?;
            return Ok(Exit::INTERRUPTED);
        }
    };
    if args.rm {
        asker.change(&name, "delete", &Change::default()).await.context("remove it")?;
    }
    Ok(told(&name, &ended))
}

/// The exit code of the container, or a word about why there is none.
fn told(name: &str, ended: &Ended) -> Exit {
    match ended.code {
        Some(code) if ended.message.is_empty() && ended.reason == Reason::Exited => {
            Exit::of_code(code)
        }
        code => {
            let why = reason(ended.reason);
            let more = if ended.message.is_empty() { "" } else { ": " };
            eprintln!("mason: {name}: {why}{more}{}", plain(&ended.message));
            code.map_or(Exit::OURS, Exit::of_code)
        }
    }
}

/// Prints what its runs print, one after another, until it has ended.
async fn watch(asker: &Asker, name: &str) -> Result<Ended> {
    let mut detail = patient(asker, name).await?;
    let mut followed: Option<RunId> = None;
    loop {
        let gone = "it was removed before its end";
        let task = detail.tasks.first();
        if let Some(run) = task.and_then(printing).filter(|run| followed.as_ref() != Some(run)) {
            follow(asker, &run).await?;
            followed = Some(run);
        }
        if let Some(ended) = task.and_then(ended) {
            return Ok(ended);
        }
        if detail.summary.phase.is_some_and(Phase::is_final) && task.is_none() {
            anyhow::bail!("{name} has ended without a run: {}", plain(&detail.summary.message));
        }
        detail = found(asker.detail_after(name, detail.revision).await)?.context(gone)?;
    }
}

/// The first news of it; says why there is none if that takes long.
async fn patient(asker: &Asker, name: &str) -> Result<Detail> {
    let begun = async {
        let mut detail = asker.detail(name).await?;
        while detail.tasks.first().is_none_or(|task| printing(task).is_none()) {
            let is_final = detail.summary.phase.is_some_and(Phase::is_final);
            if is_final || detail.tasks.first().and_then(ended).is_some() {
                break;
            }
            detail = asker.detail_after(name, detail.revision).await?;
        }
        anyhow::Ok(detail)
    };
    tokio::pin!(begun);
    tokio::select! {
        detail = &mut begun => return detail,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let target = Target { kind: None, name: name.to_owned(), index: None };
    for explained in asker.explain(&target).await? {
        eprintln!("mason: {}", plain(&explained.state));
        if let Some(placement) = explained.placement.filter(|it| it.at.is_none()) {
            eprint!("{}", plain_lines(&placement.to_string()));
        }
    }
    begun.await
}

/// The run that prints, or has printed.
fn printing(task: &TaskView) -> Option<RunId> {
    if let Some(past) = &task.past
        && past.exit.started_at.is_some()
        && task.mark.is_some()
    {
        return Some(past.run.clone());
    }
    let runs = task.seen.as_ref().is_some_and(|seen| seen.phase >= RunPhase::Running);
    match &task.task.as_ref()?.wait {
        TaskWait::Bound { run, .. } if runs => Some(run.clone()),
        _ => None,
    }
}

/// How it ended for good.
fn ended(task: &TaskView) -> Option<Ended> {
    task.mark.as_ref()?;
    task.past.as_ref().map(|past| past.exit.clone())
}

async fn follow(asker: &Asker, run: &RunId) -> Result<()> {
    let ask = Ask { follow: true, ..Ask::default() };
    let mut follower = Follower::new(&asker.client, run, ask);
    let prefix = Prefix::default();
    while let Some(event) = found(follower.next().await)?.flatten() {
        print(&event, &prefix)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mason_core::manifest::{Options, read};

    /// What is typed is taken by the same reader as every manifest.
    #[test]
    fn what_is_typed_makes_a_job() {
        let args = RunArgs {
            image: "busybox".to_owned(),
            name: None,
            env: vec![("A".to_owned(), "b=c".to_owned())],
            cpu: Some("500m".to_owned()),
            memory: None,
            command: false,
            detach: false,
            rm: false,
            words: vec!["echo".to_owned(), "hi".to_owned()],
        };
        let objects = read(&args.manifest("x").to_string(), &Options::default()).unwrap();
        let mason_core::manifest::Body::Work(work) = &objects[0].body else { panic!("no work") };
        let mason_core::spec::Work::Job(job) = &**work else { panic!("no job") };
        assert_eq!((job.task.args.len(), job.task.request.cpu, job.task.env.len()), (2, 500, 1));
    }
}
