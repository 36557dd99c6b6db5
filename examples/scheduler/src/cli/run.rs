//! `mason run`: one container, as if it ran here.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use mason_core::record::{Phase, RunPhase};
use mason_core::types::JobKey;
use mason_node::image::builtin;
use mason_node::image::reference::Reference;
use serde_json::json;

use super::exit::{Exit, complain};
use super::explain;
use super::follow::{Follower, Wanted, bound};
use super::object::{NamespaceArg, detail};
use super::signals::Signals;
use super::text::plain;
use crate::api::client::{Client, Path};
use crate::api::wire::{Applied, Apply, Change, Changed, Detail, ImageView, TaskView};

/// After so long, whoever waits is told for what.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// Run a container, print what it prints, and end as it ends
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The image
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// A variable of its environment
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = super::agent::pair)]
    env: Vec<(String, String)>,
    /// How many cores it is given, as 0.5 or 500m
    #[arg(long, value_name = "CORES")]
    cpu: Option<String>,
    /// How much memory it is given, as 256Mi
    #[arg(long, value_name = "BYTES")]
    memory: Option<String>,
    /// What the job is called; made up if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Print its name, and do not wait
    #[arg(long, short = 'd')]
    detach: bool,
    /// Forget it at its end
    #[arg(long, conflicts_with = "detach")]
    rm: bool,
    /// The command and its words; the image's own if none
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl RunArgs {
    fn manifest(&self) -> String {
        let mut job = json!({ "kind": "Job", "image": self.image });
        match &self.name {
            Some(name) => job["name"] = json!(name),
            None => job["generateName"] = json!("run-"),
        }
        if !self.command.is_empty() {
            job["args"] = json!(self.command);
        }
        if !self.env.is_empty() {
            let env = self.env.iter();
            job["env"] = env.map(|(name, value)| json!({ "name": name, "value": value })).collect();
        }
        let amounts = [("cpu", &self.cpu), ("memory", &self.memory)];
        for (name, amount) in amounts {
            if let Some(amount) = amount {
                job[name] = json!(amount);
            }
        }
        job.to_string()
    }
}

/// Runs it; whatever goes wrong on our side is told by its own code.
pub(super) async fn run(client: &Client, args: RunArgs) -> Result<Exit> {
    attempt(client, &args).await.or_else(|error| {
        complain(&error);
        Ok(Exit::OURS)
    })
}

async fn attempt(client: &Client, args: &RunArgs) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let namespace = args.namespace.namespace.clone();
    let apply = Apply { text: args.manifest(), namespace, lenient: false };
    let applied: Applied = client.post(Path::of(&["apply"]), &apply).await?;
    let object = applied.objects.first().context("the server has made nothing of it")?;
    for warning in &object.warnings {
        eprintln!("mason: {}", plain(warning));
    }
    let key = object.key.clone();
    if args.detach {
        println!("{}", key.name);
        return Ok(Exit::DONE);
    }
    let wanted = Wanted { follow: true, ..Wanted::default() };
    let follower = Follower { client: client.clone(), key: key.clone(), index: 0, wanted };
    let mut output = tokio::spawn(follower.print());
    let mut end = Box::pin(wait_for_end(client, &key));
    let mut interrupts = 0;
    let code = loop {
        tokio::select! {
            ended = &mut end => break ended?,
            _ = signals.next() => {
                interrupts += 1;
                if interrupts > 1 {
                    return Ok(Exit::INTERRUPTED);
                }
                let _: Changed = client.post(verb(&key, "delete"), &Change::default()).await?;
            }
        }
    };
    // What it printed last may still be on its way.
    match tokio::time::timeout(Duration::from_secs(10), &mut output).await {
        Ok(printed) => printed.context("its output")?.context("its output")?,
        Err(_) if interrupts > 0 => output.abort(),
        Err(_) => return Err(anyhow!("its output does not end")),
    }
    if interrupts > 0 {
        return Ok(Exit::INTERRUPTED);
    }
    if args.rm {
        let _: Changed = client.post(verb(&key, "delete"), &Change::default()).await?;
    }
    Ok(code)
}

/// Where a verb of an object is.
pub(super) fn verb(key: &JobKey, verb: &str) -> Path {
    Path::of(&["objects", &key.namespace, &key.name, verb])
}

/// Waits for the end of the job; the exit code of its task.
async fn wait_for_end(client: &Client, key: &JobKey) -> Result<Exit> {
    let (mut after, mut is_told, mut is_noted) = (None, false, false);
    let begun = tokio::time::Instant::now();
    loop {
        let rest = match is_told {
            true => Duration::from_secs(3600),
            false => QUIET_MAX.saturating_sub(begun.elapsed()),
        };
        let seen = match tokio::time::timeout(rest, detail(client, key, after)).await {
            Ok(Err(error)) if error.is_not_found() => return Ok(Exit::INTERRUPTED),
            Ok(Err(error)) if error.is_passing() => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            Ok(seen) => seen?,
            Err(_) => {
                is_told = true;
                explain::hint(client, key).await;
                continue;
            }
        };
        let view = seen.tasks.first();
        if let Some(view) = view.filter(|view| !is_noted && runs(view)) {
            (is_noted, is_told) = (true, true);
            note_builtin(client, view, &seen).await;
        }
        if seen.summary.phase.is_some_and(Phase::is_final) {
            return Ok(code_of(&seen));
        }
        after = Some(seen.revision);
    }
}

fn runs(view: &TaskView) -> bool {
    let phase = view.seen.as_ref().map(|seen| seen.phase);
    phase.is_some_and(|phase| phase >= RunPhase::Running) || view.past.is_some()
}

fn code_of(seen: &Detail) -> Exit {
    let past = seen.tasks.first().and_then(|view| view.past.as_ref());
    let Some(past) = past else {
        eprintln!("mason: it never ran: {}", plain(&seen.summary.message));
        return Exit::OURS;
    };
    if let Some(code) = past.exit.code {
        return Exit::of_code(code);
    }
    let reason = serde_json::to_value(past.exit.reason).unwrap_or_default();
    let reason = reason.as_str().unwrap_or("unknown").to_owned();
    eprintln!("mason: it has no exit code ({reason}): {}", plain(&past.exit.message));
    Exit::OURS
}

/// Says that an image is mason's own small one under another name, if so.
async fn note_builtin(client: &Client, view: &TaskView, seen: &Detail) {
    let mason_core::spec::Work::Job(job) = &seen.record.work else { return };
    let Ok(image) = job.task.image.parse::<Reference>() else { return };
    let image = image.to_string();
    let own = builtin::NAMES.map(|name| name.parse::<Reference>().map(|name| name.to_string()));
    if own.iter().flatten().any(|own| *own == image) {
        return;
    }
    let Some(node) = node_of(view) else { return };
    let path = Path::of(&["nodes", &node, "images"]);
    let Ok(images) = client.get::<Vec<ImageView>>(path).await else { return };
    let digest = |name: &str| images.iter().find(|it| it.name == name).map(|it| &it.digest);
    let is_own = own.iter().flatten().any(|own| digest(own).is_some());
    if is_own && digest(&image) == own.iter().flatten().find_map(|own| digest(own)) {
        eprintln!(
            "mason: `{}` is mason's own small image here; `mason image pull {}` gets the real one",
            plain(&job.task.image),
            plain(&job.task.image)
        );
    }
}

fn node_of(view: &TaskView) -> Option<String> {
    use mason_core::record::TaskWait;
    if let Some(TaskWait::Bound { node, .. }) = view.task.as_ref().map(|task| &task.wait) {
        debug_assert!(bound(view).is_some(), "a node comes with a run");
        return Some(node.to_string());
    }
    view.past.as_ref().map(|past| past.node.to_string())
}
