//! Random graphs against the dumbest reading of what they mean.

use super::*;
use crate::control::name;

struct Draw(u64);

impl Draw {
    fn below(&mut self, below: usize) -> usize {
        self.0 = name::mix(self.0);
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

/// What a node waits for: some of those before it, each in one way, all or any of them.
struct Plan {
    parents: Vec<(usize, &'static str, bool)>,
    all: bool,
    skipped: bool,
    go: bool,
    succeeds: bool,
}

const VERBS: [&str; 6] = ["", ".Succeeded", ".Failed", ".Skipped", ".Omitted", ".AnySucceeded"];

fn draw_plan(draw: &mut Draw) -> Vec<Plan> {
    let count = 1 + draw.below(12);
    (0..count)
        .map(|at| {
            let mut parents: Vec<(usize, &'static str, bool)> = Vec::new();
            for _ in 0..draw.below(4).min(at) {
                let of = draw.below(at);
                let verb = VERBS[if draw.below(2) == 0 { 0 } else { draw.below(6) }];
                parents.push((of, verb, draw.below(6) == 0));
            }
            Plan {
                parents,
                all: draw.below(3) > 0,
                skipped: draw.below(8) == 0,
                go: draw.below(6) == 0,
                succeeds: draw.below(4) > 0,
            }
        })
        .collect()
}

fn nodes(plan: &[Plan]) -> Vec<Node> {
    plan.iter()
        .enumerate()
        .map(|(at, it)| {
            let parts: Vec<String> = it
                .parents
                .iter()
                .map(|(of, verb, not)| format!("{}n{of}{verb}", if *not { "!" } else { "" }))
                .collect();
            let depends = parts.join(if it.all { " && " } else { " || " });
            let mut node = node(&format!("n{at}"), "t");
            node.depends = (!parts.is_empty()).then_some(depends);
            node.when = it.skipped.then(|| "1 == 2".to_owned());
            node.continue_on_failed = it.go;
            node
        })
        .collect()
}

/// How each ends, and whether the whole does well, told node by node from the first.
fn oracle(plan: &[Plan]) -> (Vec<NodePhase>, bool) {
    let mut phases: Vec<NodePhase> = Vec::new();
    let mut bad: Vec<bool> = Vec::new();
    for it in plan {
        let one = |&(of, verb, not): &(usize, &str, bool)| {
            let phase: NodePhase = phases[of];
            let holds = match verb {
                "" => {
                    phase == NodePhase::Succeeded
                        || phase == NodePhase::Skipped
                        || phase == NodePhase::Failed && plan[of].go
                }
                ".Succeeded" | ".AnySucceeded" => phase == NodePhase::Succeeded,
                ".Failed" => phase == NodePhase::Failed,
                ".Skipped" => phase == NodePhase::Skipped,
                _ => phase == NodePhase::Omitted,
            };
            holds != not
        };
        let runs = it.parents.is_empty()
            || if it.all { it.parents.iter().all(one) } else { it.parents.iter().any(one) };
        let phase = match (runs, it.skipped, it.succeeds) {
            (false, _, _) => NodePhase::Omitted,
            (_, true, _) => NodePhase::Skipped,
            (_, _, true) => NodePhase::Succeeded,
            (_, _, false) => NodePhase::Failed,
        };
        let inherits = matches!(phase, NodePhase::Omitted | NodePhase::Skipped);
        bad.push(match inherits {
            true => it.parents.iter().any(|&(of, _, _)| bad[of]),
            false => phase == NodePhase::Failed && !it.go,
        });
        phases.push(phase);
    }
    let is_end = |at: usize| !plan.iter().any(|it| it.parents.iter().any(|parent| parent.0 == at));
    let well = (0..plan.len()).all(|at| !is_end(at) || !bad[at]);
    (phases, well)
}

/// Each node starts once, after all that it waits for, in whatever order jobs end and however often
/// the leader looks; and the whole ends as the oracle says.
#[test]
fn random_graphs_end_as_they_should() {
    for seed in 0..2_000_u64 {
        let mut draw = Draw(seed);
        let plan = draw_plan(&mut draw);
        let mut main = dag("m", &[], nodes(&plan));
        main.parallelism = u32::try_from(draw.below(4)).unwrap();
        let mut whole = workflow(vec![main, task("t", &[], &["x"])]);
        whole.parallelism = u32::try_from(draw.below(4)).unwrap();
        println!("seed {seed}: control::workflow::tests::random::random_graphs_end_as_they_should");
        assert_eq!(check(&whole), []);
        let mut world = World::new(whole);
        let (phases, well) = oracle(&plan);
        let last = loop {
            let before = world.children.len();
            let step = world.look();
            for child in &world.children[before..] {
                let at: usize = world.paths[&child.name]["main.n".len()..].parse().unwrap();
                for &(of, _, _) in &plan[at].parents {
                    let seen = &step.nodes[0].children[of];
                    assert!(seen.phase.is_final(), "n{at} starts after n{of}");
                }
            }
            if step.phase.is_final() {
                break step;
            }
            let running = world.running();
            assert!(!running.is_empty(), "something runs, or it is over");
            let path = running[draw.below(running.len())].clone();
            let at: usize = path["main.n".len()..].parse().unwrap();
            world.now += 10;
            world.end(&path, (if plan[at].succeeds { 0 } else { 1 }, ""));
        };
        let found: Vec<NodePhase> = last.nodes[0].children.iter().map(|it| it.phase).collect();
        assert_eq!(found, phases);
        assert_eq!(last.phase == Phase::Succeeded, well, "{}", last.message);
        let ran = phases.iter().filter(|it| !matches!(it, NodePhase::Omitted | NodePhase::Skipped));
        assert_eq!(world.children.len(), ran.count(), "each that runs, once");
    }
}

/// Jobs can be changed by others, and clocks be set: whatever is seen, there is an answer, and no
/// leaf is made twice.
#[test]
fn any_children_have_an_answer() {
    for seed in 0..200_u64 {
        println!("seed {seed}: control::workflow::tests::random::any_children_have_an_answer");
        let mut draw = Draw(seed ^ 0xbad);
        let plan = draw_plan(&mut draw);
        let mut inner = dag("inner", &[], nodes(&plan));
        inner.timeout = Some(40).filter(|_| draw.below(2) == 0);
        inner.parallelism = u32::try_from(draw.below(3)).unwrap();
        let wait = template("wait", &[], Body::Suspend { duration: Some(30) });
        let items = crate::spec::Items::List(vec![1.into(), 2.into()]);
        let fan = Node { items: Some(items), ..node("f", "inner") };
        let main = steps("m", &[], vec![vec![node("w", "wait"), fan], vec![node("i", "inner")]]);
        let mut whole = workflow(vec![main, inner, wait, task("t", &[], &["x"])]);
        whole.on_exit = Some("t".to_owned()).filter(|_| draw.below(2) == 0);
        whole.deadline = Some(200).filter(|_| draw.below(3) == 0);
        let mut world = World::new(whole);
        for _ in 0..60 {
            let final_before = world.look().phase.is_final();
            world.now = (world.now + draw.below(30) as u64).saturating_sub(draw.below(20) as u64);
            let running = world.running();
            match draw.below(20) {
                0 => stop(&mut world.progress),
                1 if draw.below(4) == 0 => terminate(&mut world.progress),
                2 => drop(resume(&mut world.progress, None)),
                3 => world.workflow.suspend = draw.below(3) == 0,
                4 if !world.children.is_empty() => {
                    let at = draw.below(world.children.len());
                    world.children.remove(at);
                }
                5 if !world.children.is_empty() => {
                    let at = draw.below(world.children.len());
                    let phases = [Phase::Skipped, Phase::Failed, Phase::Stopping, Phase::Waiting];
                    world.children[at].phase = phases[draw.below(4)];
                    world.children[at].tasks.clear();
                }
                _ if !running.is_empty() => {
                    let path = running[draw.below(running.len())].clone();
                    let name = child_name("wf", &path);
                    let child = world.children.iter_mut().find(|it| it.name == name).unwrap();
                    child.tasks.resize(1, TaskSeen::default());
                    world.end(&path, (i32::try_from(draw.below(3)).unwrap() / 2, ""));
                }
                _ => {}
            }
            let is_final = world.look().phase.is_final();
            assert!(is_final || !final_before || !world.running().is_empty(), "the end is the end");
        }
    }
}
