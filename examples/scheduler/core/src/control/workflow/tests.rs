//! Workflows as people write them, and as they should not.

mod checks;
mod examples;
mod limits;
mod random;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;
use crate::record::Reason;
use crate::spec::{
    Arguments, Body, Inputs, Leaf, Node, OutputSource, Outputs, Parameter, Placement, Retry, Task,
    Template, Ttl, Workflow,
};
use crate::types::check_name;

const START: UnixMs = 1_000_000;

fn parameter(name: &str, value: Option<&str>) -> Parameter {
    let (name, value) = (name.to_owned(), value.map(str::to_owned));
    Parameter { name, value, default: None, choices: Vec::new() }
}

fn template(name: &str, inputs: &[&str], body: Body) -> Template {
    let parameters = inputs.iter().map(|name| parameter(name, None)).collect();
    Template {
        name: name.to_owned(),
        inputs: Inputs { parameters },
        body,
        outputs: Outputs::default(),
        retry: Retry::default(),
        timeout: None,
        parallelism: 0,
        placement: Placement::default(),
    }
}

/// A task that prints its arguments.
fn task(name: &str, inputs: &[&str], args: &[&str]) -> Template {
    let leaf = Leaf { task: Task::new("busybox", args), script: None };
    template(name, inputs, Body::Task(Box::new(leaf)))
}

fn steps(name: &str, inputs: &[&str], groups: Vec<Vec<Node>>) -> Template {
    template(name, inputs, Body::Steps(groups))
}

fn dag(name: &str, inputs: &[&str], nodes: Vec<Node>) -> Template {
    template(name, inputs, Body::Dag(nodes))
}

fn node(name: &str, template: &str) -> Node {
    Node {
        name: name.to_owned(),
        template: template.to_owned(),
        arguments: Arguments::default(),
        items: None,
        when: None,
        depends: None,
        continue_on_failed: false,
    }
}

/// A node that is told this.
fn told(name: &str, template: &str, arguments: &[(&str, &str)]) -> Node {
    let parameters = arguments.iter().map(|(name, value)| parameter(name, Some(value))).collect();
    Node { arguments: Arguments { parameters }, ..node(name, template) }
}

fn when(condition: &str, node: Node) -> Node {
    Node { when: Some(condition.to_owned()), ..node }
}

fn after(depends: &str, node: Node) -> Node {
    Node { depends: Some(depends.to_owned()), ..node }
}

fn workflow(templates: Vec<Template>) -> Workflow {
    Workflow {
        entrypoint: templates[0].name.clone(),
        templates,
        arguments: Arguments::default(),
        on_exit: None,
        parallelism: 0,
        deadline: None,
        placement: Placement::default(),
        ttl: Ttl::default(),
        suspend: false,
    }
}

/// How a leaf ends: its exit code, and what it prints.
type End = (i32, &'static str);

/// A leader that does what it is told, and a cluster where jobs end when the test says so.
struct World {
    workflow: Workflow,
    progress: WorkflowProgress,
    children: Vec<ChildSeen>,
    /// Path of the node of each child, and its arguments.
    paths: BTreeMap<String, String>,
    jobs: BTreeMap<String, Job>,
    now: UnixMs,
    story: String,
}

impl World {
    fn new(workflow: Workflow) -> World {
        let (children, paths, jobs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (progress, story) = (WorkflowProgress::default(), String::new());
        World { workflow, progress, children, paths, jobs, now: START, story }
    }

    fn who(&self) -> Who<'static> {
        Who { namespace: "argo", name: "wf", uid: "u1", created_at: START }
    }

    /// One step, carried out; a second one must ask for nothing.
    fn look(&mut self) -> WorkflowStep {
        let (who, now) = (self.who(), self.now);
        let found = step(&self.workflow, who, &self.progress, &self.children, now);
        let again = step(&self.workflow, who, &self.progress, &self.children, now);
        assert_eq!(found, again, "the same input gives the same answer");
        self.progress = WorkflowProgress::read(&found.progress.write()).unwrap();
        assert_eq!(self.progress, found.progress, "progress reads back as written");
        assert!(found.progress.write().to_string().len() <= PROGRESS_BYTES_MAX);
        assert!(found.create.len() <= CREATES_MAX);
        for child in &found.create {
            assert_eq!(check_name(&child.name), Ok(()));
            let old = self.paths.insert(child.name.clone(), child.node.clone());
            assert_eq!(old, None, "{} is made once", child.node);
            let args = child.job.task.args.join(" ");
            writeln!(self.story, "make {}: {args}", child.node).unwrap();
            self.jobs.insert(child.node.clone(), child.job.clone());
            self.children.push(ChildSeen {
                name: child.name.clone(),
                phase: Phase::Active,
                deleted: false,
                started_at: Some(now),
                tasks: vec![TaskSeen::default()],
            });
        }
        for name in &found.stop {
            writeln!(self.story, "stop {}", self.paths[name]).unwrap();
            let child = self.children.iter_mut().find(|child| child.name == *name).unwrap();
            assert!(!child.is_stopping() && !child.phase.is_final());
            child.phase = Phase::Stopping;
        }
        if found.wake_at != Some(now) {
            let idle = step(&self.workflow, who, &self.progress, &self.children, now);
            assert_eq!((idle.create, idle.stop), (vec![], vec![]), "asked twice");
            assert_eq!(idle.progress, self.progress, "asked twice");
        }
        found
    }

    fn running(&self) -> Vec<String> {
        let running = self.children.iter().filter(|child| !child.phase.is_final());
        running.map(|child| self.paths[&child.name].clone()).collect()
    }

    /// The job of a node ends.
    fn end(&mut self, path: &str, (code, printed): End) {
        let now = self.now;
        let name = child_name("wf", path);
        let child = self.children.iter_mut().find(|child| child.name == name).unwrap();
        let stopped = child.phase == Phase::Stopping;
        let succeeded = code == 0 && !stopped;
        child.phase = if succeeded { Phase::Succeeded } else { Phase::Failed };
        let mut outputs = BTreeMap::from([(PRINTED.to_owned(), format!("{printed}\n"))]);
        for name in self.jobs[path].task.outputs.keys() {
            outputs.insert(name.clone(), format!("{name} of {printed}"));
        }
        child.tasks[0].node = Some("n01".to_owned());
        child.tasks[0].exit = Some(Exit {
            reason: if stopped { Reason::Stopped } else { Reason::Exited },
            code: Some(code).filter(|_| !stopped),
            signal: None,
            message: String::new(),
            started_at: child.started_at,
            finished_at: now,
            outputs,
        });
        let how = if stopped { "stopped".to_owned() } else { format!("exit {code} {printed}") };
        writeln!(self.story, "ends {path}: {}", how.trim_end()).unwrap();
    }

    /// Somebody asks to try it again. Returns the paths of the jobs that go.
    fn retry(&mut self, asked: u32) -> Vec<String> {
        let (who, now) = (self.who(), self.now);
        let (_, gone) = retry(&self.workflow, who, &self.progress, &self.children, asked, now);
        self.children.retain(|child| !gone.contains(&child.name));
        let (fresh, rest) = retry(&self.workflow, who, &self.progress, &self.children, asked, now);
        assert_eq!(rest, Vec::<String>::new(), "what is gone is gone");
        self.progress = fresh;
        let mut paths: Vec<String> =
            gone.iter().map(|name| self.paths.remove(name).unwrap()).collect();
        paths.sort();
        paths
    }

    /// Steps, and lets all that runs end as told, until nothing more happens. A leaf that is not
    /// told of prints its arguments.
    fn run(&mut self, ends: &[(&str, End)]) -> WorkflowStep {
        loop {
            let found = self.look();
            if found.phase.is_final() {
                writeln!(self.story, "{:?}: {}", found.phase, found.message).unwrap();
                return found;
            }
            let running = self.running();
            self.now += 1_000;
            if running.is_empty() {
                match found.wake_at {
                    Some(at) => self.now = self.now.max(at),
                    None => return found,
                }
            }
            for path in running {
                let known = ends.iter().find(|(of, _)| *of == path).map(|(_, end)| *end);
                let args = self.jobs[&path].task.args.join(" ");
                self.end(&path, known.unwrap_or((0, args.leak())));
            }
        }
    }

    fn tree(&self) -> String {
        let nodes = look(&self.workflow, self.who(), &self.progress, &self.children, self.now);
        show("wf", "", &nodes, self.now)
    }
}

/// A workflow, how its leaves end, and what is seen to happen.
fn check_story(workflow: Workflow, ends: &[(&str, End)], expected: &str) -> World {
    assert_eq!(check(&workflow), [], "it is accepted");
    let mut world = World::new(workflow);
    world.run(ends);
    let lines = |text: &str| {
        text.trim().lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(lines(&world.story), lines(expected));
    world
}

fn check_tree(world: &World, expected: &str) {
    let lines: Vec<&str> = expected.lines().skip(1).collect();
    let margin = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: Vec<&str> =
        lines.iter().map(|line| line.get(margin..).unwrap_or("").trim_end()).collect();
    let tree = world.tree();
    let found: Vec<&str> = tree.lines().collect();
    assert_eq!(found.join("\n"), expected.join("\n").trim_end());
}
