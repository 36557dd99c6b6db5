//! Workflows, drawn together with what must hold of their jobs, so that it is told from the outside
//! and not by the controller that makes them.

use std::collections::BTreeMap;

use drystone_sim::Rng;
use mason_core::control::workflow::child_name;
use mason_core::record::Phase;
use mason_core::spec::{
    Arguments, Body, Inputs, Items, Leaf, Node, Outputs, Parameter, Placement, Retry, Task,
    Template, Ttl, Workflow,
};
use mason_core::types::JobKey;

/// How something that is waited for must have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It succeeded.
    Well,
    /// It failed.
    Badly,
    /// In any way; or it was never made, for a value was missing.
    Anyhow,
}

/// What must hold when the job of a leaf is made.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// What must have ended before, and how.
    pub after: Vec<(JobKey, Verb)>,
    /// Its last argument is what this one printed.
    pub told: Option<JobKey>,
    /// The workflow can succeed without it.
    pub is_optional: bool,
    /// Nothing waits for it: if it runs, the workflow succeeds only if it does.
    pub is_end: bool,
}

/// A workflow, and what is known of it.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name.
    pub key: JobKey,
    /// What it is.
    pub spec: Workflow,
    /// Its leaves, by their jobs.
    pub rules: BTreeMap<JobKey, Rule>,
}

impl Flow {
    /// Draws one.
    pub fn draw(key: &JobKey, rng: &mut Rng) -> Flow {
        let mut rules = BTreeMap::new();
        let main = match rng.below(2) {
            0 => Body::Steps(steps(key, &mut rules, rng)),
            _ => Body::Dag(dag(key, &mut rules, rng)),
        };
        let mut plain = leaf("plain", &[], vec!["plain".to_owned()]);
        plain.retry.attempts = 1 + u32::try_from(rng.below(3)).expect("small");
        let told = vec!["told".to_owned(), "{{inputs.parameters.x}}".to_owned()];
        // Some wait until somebody looks by.
        let duration = (rng.below(3) != 0).then(|| rng.range(1..20_000));
        let pause = template("pause", Body::Suspend { duration });
        let told = leaf("told", &["x"], told);
        let mut spec =
            workflow(vec![template("main", main), template("pair", pair()), plain, told, pause]);
        spec.parallelism = u32::try_from(rng.below(4)).expect("small");
        spec.deadline = (rng.below(8) == 0).then(|| rng.range(10_000..200_000));
        spec.on_exit = (rng.below(3) == 0).then(|| "plain".to_owned());
        if spec.on_exit.is_some() {
            let all: Vec<_> = rules.keys().map(|it: &JobKey| (it.clone(), Verb::Anyhow)).collect();
            let rule = Rule { after: all, ..Rule::default() };
            rules.insert(child(key, "exit"), rule);
        }
        if rng.below(4) == 0 {
            spec.ttl = Ttl { succeeded: Some(20_000), failed: Some(rng.range(1..60_000)) };
        }
        Flow { key: key.clone(), spec, rules }
    }
}

/// Two steps, of which the second is told what the first printed: what a cron makes.
pub fn of_two() -> Workflow {
    let told = vec!["told".to_owned(), "{{inputs.parameters.x}}".to_owned()];
    let plain = leaf("plain", &[], vec!["plain".to_owned()]);
    workflow(vec![template("main", pair()), plain, leaf("told", &["x"], told)])
}

/// Groups one after another: each begins when all of the one before has ended, and well.
fn steps(key: &JobKey, rules: &mut BTreeMap<JobKey, Rule>, rng: &mut Rng) -> Vec<Vec<Node>> {
    let mut groups = Vec::new();
    let mut before: Vec<(JobKey, Verb)> = Vec::new();
    // Of these somebody can ask what they printed: each runs once and is not gone past.
    let mut plain: Vec<String> = Vec::new();
    for group in 0..1 + rng.below(3) {
        let (mut nodes, mut these, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..1 + rng.below(3) {
            let name = format!("n{group}{at}");
            let path = format!("main[{group}].{name}");
            let mut it = node(&name, "plain");
            if rng.below(8) == 0 {
                nodes.push(node(&name, "pause"));
                continue;
            }
            it.continue_on_failed = rng.below(6) == 0;
            let mut rule = Rule { after: before.clone(), ..Rule::default() };
            rule.is_optional = it.continue_on_failed;
            let verb = if it.continue_on_failed { Verb::Anyhow } else { Verb::Well };
            if rng.below(6) == 0 {
                it.items = Some(Items::List(vec![1.into(), 2.into()]));
                for number in 0..2 {
                    let child = child(key, &format!("{path}({number})"));
                    these.push((child.clone(), verb));
                    rules.insert(child, rule.clone());
                }
            } else {
                if !plain.is_empty() && rng.below(2) == 0 {
                    let name = rng.pick(&plain);
                    let (of_group, _) = name[1..].split_at(1);
                    rule.told = Some(child(key, &format!("main[{of_group}].{name}")));
                    it = of("steps", Node { template: "told".to_owned(), ..it }, name);
                }
                if !it.continue_on_failed {
                    names.push(name);
                }
                these.push((child(key, &path), verb));
                rules.insert(child(key, &path), rule);
            }
            nodes.push(it);
        }
        before.extend(these);
        plain.extend(names);
        groups.push(nodes);
    }
    groups
}

/// Nodes that wait for some of those before them. Some are pairs: two steps, of which the second is
/// told what the first printed.
fn dag(key: &JobKey, rules: &mut BTreeMap<JobKey, Rule>, rng: &mut Rng) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    // The jobs of each; what becomes of the last becomes of it.
    let mut jobs: Vec<Vec<JobKey>> = Vec::new();
    for at in 0..2 + rng.below(5) {
        let mut it = node(&format!("n{at}"), "plain");
        // A failure may be none of the whole, if somebody answers it.
        let mut rule = Rule { is_optional: true, is_end: true, ..Rule::default() };
        let mut parts = Vec::new();
        let mut parents: Vec<u64> = (0..rng.below(3)).map(|_| rng.below(at.max(1))).collect();
        parents.sort_unstable();
        parents.dedup();
        for parent in parents.into_iter().filter(|_| at > 0) {
            let its = &jobs[usize::try_from(parent).expect("few nodes")];
            for job in its {
                rules.get_mut(job).expect("it comes before").is_end = false;
            }
            let (on, is_pair) = (its.last().expect("it has a job").clone(), its.len() > 1);
            let (text, verb) = match rng.below(5) {
                0 if !is_pair => (format!("n{parent}.Failed"), Verb::Badly),
                1 if !is_pair => {
                    (format!("(n{parent}.Succeeded || n{parent}.Failed)"), Verb::Anyhow)
                }
                _ => (format!("n{parent}"), Verb::Well),
            };
            if verb == Verb::Well && !is_pair && rule.told.is_none() && rng.below(2) == 0 {
                rule.told = Some(on.clone());
                it.template = "told".to_owned();
                it = of("tasks", it, &format!("n{parent}"));
            }
            parts.push(text);
            rule.after.push((on, verb));
        }
        it.depends = (!parts.is_empty()).then(|| parts.join(" && "));
        let path = format!("main.n{at}");
        if rule.told.is_none() && rng.below(4) == 0 {
            it.template = "pair".to_owned();
            let [p, q] = ["[0].p", "[1].q"].map(|of| child(key, &format!("{path}{of}")));
            let after = vec![(p.clone(), Verb::Well)];
            let second = Rule { after, told: Some(p.clone()), ..rule.clone() };
            rules.extend([(p.clone(), rule), (q.clone(), second)]);
            jobs.push(vec![p, q]);
        } else {
            rules.insert(child(key, &path), rule);
            jobs.push(vec![child(key, &path)]);
        }
        nodes.push(it);
    }
    nodes
}

/// Two steps, of which the second is told what the first printed.
fn pair() -> Body {
    Body::Steps(vec![vec![node("p", "plain")], vec![of("steps", node("q", "told"), "p")]])
}

/// Whether something that was waited for had ended as it should: its job's phase, if it has one.
pub fn is_met(verb: Verb, phase: Option<Phase>) -> bool {
    match verb {
        Verb::Well => phase == Some(Phase::Succeeded),
        Verb::Badly => phase == Some(Phase::Failed),
        Verb::Anyhow => phase.is_none_or(Phase::is_final),
    }
}

fn child(key: &JobKey, path: &str) -> JobKey {
    JobKey::new(&key.namespace, &child_name(&key.name, path))
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

/// It is told what that one printed.
fn of(kind: &str, node: Node, name: &str) -> Node {
    let value = Some(format!("{{{{{kind}.{name}.outputs.result}}}}"));
    let x = Parameter { name: "x".to_owned(), value, default: None, choices: Vec::new() };
    Node { arguments: Arguments { parameters: vec![x] }, ..node }
}

fn leaf(name: &str, inputs: &[&str], args: Vec<String>) -> Template {
    let mut task = Task::new("image", &[]);
    (task.request.cpu, task.args) = (100, args);
    let mut leaf = template(name, Body::Task(Box::new(Leaf { task, script: None })));
    let input = |name: &&str| Parameter {
        name: (*name).to_owned(),
        value: None,
        default: None,
        choices: Vec::new(),
    };
    leaf.inputs.parameters = inputs.iter().map(input).collect();
    leaf
}

fn template(name: &str, body: Body) -> Template {
    Template {
        name: name.to_owned(),
        inputs: Inputs::default(),
        body,
        outputs: Outputs::default(),
        retry: Retry::default(),
        timeout: None,
        parallelism: 0,
        placement: Placement::default(),
    }
}

fn workflow(templates: Vec<Template>) -> Workflow {
    Workflow {
        entrypoint: "main".to_owned(),
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
