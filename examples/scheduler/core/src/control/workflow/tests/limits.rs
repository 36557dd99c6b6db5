//! Ends that come from outside, and bounds.

use serde_json::Value;

use super::*;
use crate::spec::{Items, OutputSource};

fn two_and_exit() -> World {
    let text = [("text", "{{workflow.status}}")];
    let main = steps("m", &[], vec![vec![node("a", "t"), node("b", "t")], vec![node("c", "t")]]);
    let last = steps("last", &[], vec![vec![told("l", "say", &text)]]);
    let say = task("say", &["text"], &["{{inputs.parameters.text}}"]);
    let templates = vec![main, last, task("t", &[], &["t"]), say];
    World::new(Workflow { on_exit: Some("last".to_owned()), ..workflow(templates) })
}

/// Stopped: what runs ends, nothing new begins, and then the handler runs.
#[test]
fn a_stopped_workflow_runs_its_exit_handler() {
    let mut world = two_and_exit();
    world.look();
    world.end("main[0].a", (0, ""));
    stop(&mut world.progress);
    let step = world.look();
    assert_eq!((step.phase, step.stop.len()), (Phase::Stopping, 1));
    let step = world.run(&[]);
    assert_eq!((step.phase, step.message.as_str()), (Phase::Failed, "stopped"));
    let last = "ends main[0].b: stopped\nmake exit[0].l: Failed\nends exit[0].l: exit 0 Failed\n";
    assert!(world.story.contains(last), "{}", world.story);
    assert!(!world.story.contains("make main[1].c"));
}

/// Terminated: nothing runs any more, not even the handler.
#[test]
fn a_terminated_workflow_just_ends() {
    let mut world = two_and_exit();
    world.look();
    terminate(&mut world.progress);
    let step = world.run(&[]);
    assert_eq!((step.phase, step.message.as_str()), (Phase::Failed, "terminated"));
    assert!(!world.story.contains("make exit"), "{}", world.story);
    // While the handler runs, too.
    let mut world = two_and_exit();
    for path in ["main[0].a", "main[0].b", "main[1].c"] {
        world.look();
        world.end(path, (0, ""));
    }
    world.look();
    assert_eq!(world.running(), ["exit[0].l"]);
    terminate(&mut world.progress);
    let step = world.run(&[]);
    assert_eq!((step.phase, step.message.as_str()), (Phase::Failed, "terminated"));
}

/// Its deadline ends it like a stop; a clock that is set back does not bring it back.
#[test]
fn a_workflow_past_its_deadline_is_stopped() {
    let mut world = two_and_exit();
    world.workflow.deadline = Some(10_000);
    assert_eq!(world.look().wake_at, Some(START + 10_000));
    world.now = START + 10_000;
    assert_eq!(world.look().stop.len(), 2);
    world.now = START;
    let step = world.run(&[]);
    assert_eq!((step.phase, step.message.as_str()), (Phase::Failed, "past its deadline"));
    assert!(world.story.contains("make exit[0].l: Failed"));
}

/// A part that takes too long fails, and what is in it is stopped; the rest goes on.
#[test]
fn a_part_past_its_timeout_fails() {
    let mut slow = steps("slow", &[], vec![vec![node("a", "t")], vec![node("b", "t")]]);
    slow.timeout = Some(5_000);
    let go = Node { continue_on_failed: true, ..node("s", "slow") };
    let main = steps("m", &[], vec![vec![go], vec![node("c", "t")]]);
    let mut world = World::new(workflow(vec![main, slow, task("t", &[], &["t"])]));
    assert_eq!(world.look().wake_at, Some(START + 5_000));
    world.now = START + 5_000;
    world.look();
    assert!(world.story.ends_with("stop main[0].s[0].a\n"), "{}", world.story);
    world.now = START;
    let step = world.run(&[]);
    assert_eq!(step.phase, Phase::Succeeded);
    assert!(!world.story.contains("s[1].b"), "{}", world.story);
    assert!(step.nodes[0].children[0].message.contains("longer than 5000 ms"));
}

/// Suspended: nothing new, and what runs runs on.
#[test]
fn a_suspended_workflow_starts_nothing() {
    let mut world = two_and_exit();
    world.look();
    world.workflow.suspend = true;
    for path in ["main[0].a", "main[0].b"] {
        assert_eq!(world.look().phase, Phase::Active);
        world.end(path, (0, ""));
    }
    assert_eq!(world.look().phase, Phase::Suspended);
    world.workflow.suspend = false;
    world.look();
    assert_eq!(world.running(), ["main[1].c"]);
}

/// A job that somebody removes is not made again: it may have done half of its work.
#[test]
fn a_removed_job_is_not_made_again() {
    let mut world = two_and_exit();
    world.look();
    world.children.retain(|child| child.name != child_name("wf", "main[0].a"));
    world.end("main[0].b", (0, ""));
    let step = world.run(&[]);
    assert_eq!(step.message, "a: its job was removed");
}

/// A value that is not there is told by its tag; a node that is not come to does not ask for it.
#[test]
fn a_missing_value_is_an_error_that_names_it() {
    let flip = when("a == b", told("no", "say", &[("text", "x")]));
    let text = [("text", "{{steps.no.outputs.result}}")];
    let use_it = told("use", "say", &text);
    let not = when("b == c", told("not", "say", &text));
    let main = steps("m", &[], vec![vec![flip], vec![not, use_it]]);
    let say = task("say", &["text"], &["{{inputs.parameters.text}}"]);
    let mut world = World::new(workflow(vec![main, say]));
    let step = world.run(&[]);
    assert_eq!(step.phase, Phase::Failed);
    let why = "use: arguments.parameters.text: `{{steps.no.outputs.result}}` has no value";
    assert_eq!(step.message, why);
}

/// A recursion without end is stopped, on a thread with no more stack than a server gives it.
#[test]
fn endless_recursion_ends() {
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        let again = when("a == a", node("again", "m"));
        for body in [
            steps("m", &[], vec![vec![again.clone()]]),
            dag("m", &[], vec![for_item(again.clone())]),
        ] {
            let mut world = World::new(workflow(vec![body]));
            let step = world.run(&[]);
            assert_eq!(step.phase, Phase::Failed);
            assert!(step.message.contains("nest deeper than 100"), "{}", step.message);
            assert!(world.tree().len() > 1_000);
        }
    });
    small.unwrap().join().unwrap();
}

fn for_item(node: Node) -> Node {
    Node { items: Some(Items::List(vec![Value::from(1)])), ..node }
}

/// A tree that grows without bound is stopped, and so is what it has begun.
#[test]
fn too_many_nodes_end_it() {
    let items = Items::List((0..100).map(Value::from).collect());
    let fan = |name: &str, to: &str| Node { items: Some(items.clone()), ..node(name, to) };
    let main = steps("m", &[], vec![vec![node("first", "t")], vec![fan("x", "inner")]]);
    let inner = dag("inner", &[], vec![fan("y", "t")]);
    let mut world = World::new(workflow(vec![main, inner, task("t", &[], &["t"])]));
    world.look();
    world.end("main[0].first", (0, ""));
    let step = world.run(&[]);
    assert_eq!(step.phase, Phase::Failed);
    assert_eq!(step.message, "more than 5000 nodes");
}

/// What is skipped, or waits for another, is a node as well: templates within templates would make
/// millions of them out of a few kilobytes.
#[test]
fn nodes_that_never_run_count_as_well() {
    let items = Items::List((0..1_000).map(Value::from).collect());
    let fan = |name: &str, to: &str| Node { items: Some(items.clone()), ..node(name, to) };
    let many = |node: &dyn Fn(usize) -> Node| (0..300).map(node).collect::<Vec<_>>();
    let skipped = dag("inner", &[], many(&|n| when("a == b", fan(&format!("n{n}"), "t"))));
    let waiting = dag(
        "inner",
        &[],
        many(&|n| match n {
            0 => node("n0", "w"),
            n => after("n0.Succeeded", fan(&format!("n{n}"), "t")),
        }),
    );
    let again = dag("inner", &[], many(&|n| fan(&format!("n{n}"), "inner")));
    let wait = template("w", &[], Body::Suspend { duration: None });
    for inner in [skipped, waiting, again] {
        let main = dag("m", &[], vec![fan("x", "inner")]);
        let templates = vec![main, inner, wait.clone(), task("t", &[], &["t"])];
        let mut world = World::new(workflow(templates));
        let step = world.look();
        assert_eq!(step.phase, Phase::Failed);
        assert_eq!(step.message, "more than 5000 nodes");
        let seen = step.nodes[0].walk().len();
        assert!(seen < 100_000, "{seen} nodes are kept in memory");
    }
}

/// Each value is short, each node is one of five thousand, and together they are gigabytes.
#[test]
fn values_have_a_bound_together() {
    let x = "{{inputs.parameters.x}}";
    let items = Items::List((0..1_000).map(Value::from).collect());
    let call = told("a", "inner", &[("x", &"x".repeat(40_000))]);
    let main = dag("m", &[], vec![Node { items: Some(items), ..call }]);
    let mut by_outputs = steps("inner", &["x"], vec![vec![when("a == b", node("b", "t"))]]);
    for n in 0..50 {
        by_outputs.outputs.parameters.insert(format!("p{n}"), OutputSource::Text(x.to_owned()));
    }
    let by_condition = {
        let many = vec![format!("'{x}' =~ 'b'"); 50].join(" || ");
        steps("inner", &["x"], vec![vec![when(&many, node("b", "t"))]])
    };
    for inner in [by_outputs, by_condition] {
        let mut world = World::new(workflow(vec![main.clone(), inner, task("t", &[], &["t"])]));
        let step = world.look();
        assert_eq!(step.phase, Phase::Failed);
        assert!(step.message.contains("more than 64 MiB of work"), "{}", step.message);
    }
}

/// What a message quotes may be as long as a value; kept for each node, and in the progress, it
/// must not be.
#[test]
fn messages_are_cut() {
    let text = [("x", &*format!("ä b{}", "ä".repeat(20_000)))];
    let main = steps("m", &["x"], vec![vec![when("{{inputs.parameters.x}}", node("a", "t"))]]);
    let first = steps("f", &[], vec![vec![told("m", "m", &text)]]);
    let mut world = World::new(workflow(vec![first, main, task("t", &[], &["t"])]));
    let step = world.look();
    assert_eq!(step.phase, Phase::Failed);
    let start: String = step.message.chars().take(40).collect();
    assert!(start.starts_with("m: a: when: `b"), "{start}");
    assert!(step.message.ends_with('…') && step.message.len() < 1_200, "{start}");
}

/// The largest that is allowed: it is done, a transaction at a time, and its progress fits.
#[test]
fn a_workflow_of_thousands_fits_into_its_value() {
    let items = |count| Items::List((0..count).map(Value::from).collect());
    let fan = |name: &str, count| Node { items: Some(items(count)), ..node(name, "t") };
    let main = dag("m", &[], (0..4).map(|n| fan(&format!("f{n}"), 1_000)).collect());
    let mut world = World::new(workflow(vec![main, task("t", &[], &["t"])]));
    let step = world.run(&[]);
    assert_eq!((step.phase, world.children.len()), (Phase::Succeeded, 4_000));
    let bytes = world.progress.write().to_string().len();
    assert!((30_000..36_000).contains(&bytes), "{bytes} bytes");
}

/// The store can be written by others.
#[test]
fn progress_that_does_not_read_names_its_field() {
    for (bad, field) in [
        (serde_json::json!({"made": "AAA"}), "made"),
        (serde_json::json!({"made": "?"}), "made"),
        (serde_json::json!({"clocks": {"main": {"since": "x"}}}), "clocks.main.since"),
        (serde_json::json!({"main": {"phase": "Odd", "at": 1}}), "main.phase"),
        (serde_json::json!([]), "."),
    ] {
        let found = WorkflowProgress::read(&bad);
        // A list is read as fields in order, all of which may be missing.
        if let Err(error) = found {
            assert_eq!(error.field, field, "{error}");
        } else {
            assert_eq!(field, ".");
        }
    }
}

/// A value that doubles with every call would fill the memory of whoever walks the workflow.
#[test]
fn a_value_that_grows_without_end_is_an_error() {
    let twice = [("x", "{{inputs.parameters.x}}{{inputs.parameters.x}}")];
    let main = steps("m", &[], vec![vec![told("a", "t", &[("x", "0123456789")])]]);
    let mut world =
        World::new(workflow(vec![main, steps("t", &["x"], vec![vec![told("a", "t", &twice)]])]));
    let step = world.look();
    assert_eq!(step.phase, Phase::Failed);
    assert!(step.message.contains("it is longer than 65536 bytes"), "{}", step.message);
}

/// A job that no value of the store can hold must be an end of its node, not a write that is
/// refused for ever.
#[test]
fn a_job_that_is_too_long_is_an_error() {
    let mut main = steps("m", &[], vec![vec![told("a", "t", &[("x", &"x".repeat(40_000))])]]);
    main.name = "m".to_owned();
    let arg = "{{inputs.parameters.x}}";
    let mut world = World::new(workflow(vec![main, task("t", &["x"], &[arg, arg])]));
    let step = world.look();
    assert_eq!((step.phase, step.create.len()), (Phase::Failed, 0));
    assert!(step.message.contains("bytes long, and may be 61440"), "{}", step.message);
}

/// Tried again, what did well is not done again, and all else is.
#[test]
fn a_failed_workflow_is_tried_again_from_where_it_failed() {
    let mut world = two_and_exit();
    let step = world.run(&[("main[0].b", (1, ""))]);
    assert_eq!(step.phase, Phase::Failed);
    let gone = world.retry(1);
    assert_eq!(gone, ["exit[0].l", "main[0].b"]);
    world.story.clear();
    let step = world.run(&[]);
    assert_eq!((step.phase, step.message.as_str()), (Phase::Succeeded, ""));
    let expected = "make main[0].b: t\nends main[0].b: exit 0 t\nmake main[1].c: t\n\
        ends main[1].c: exit 0 t\nmake exit[0].l: Succeeded\n\
        ends exit[0].l: exit 0 Succeeded\nSucceeded: \n";
    assert_eq!(world.story, expected);
}

/// What ran only because something failed is undone with the failure; what somebody removed is done
/// anew; and a stop is taken back.
#[test]
fn what_followed_a_failure_goes_with_it() {
    let nodes = vec![
        node("a", "t"),
        after("a.Failed", node("mend", "t")),
        after("mend.Succeeded", node("more", "t")),
        after("a.Succeeded", node("b", "t")),
        after("more || b", node("end", "t")),
    ];
    let mut world = World::new(workflow(vec![dag("m", &[], nodes), task("t", &[], &["t"])]));
    let ends = [("main.a", (1, "")), ("main.end", (1, ""))];
    assert_eq!(world.run(&ends).phase, Phase::Failed);
    assert_eq!(world.retry(1), ["main.a", "main.end", "main.mend", "main.more"]);
    stop(&mut world.progress);
    assert_eq!(world.run(&[]).phase, Phase::Failed);
    assert_eq!(world.retry(2), Vec::<String>::new());
    world.story.clear();
    assert_eq!(world.run(&[]).phase, Phase::Succeeded);
    let made: Vec<&str> = world.story.lines().filter(|line| line.starts_with("make")).collect();
    assert_eq!(made, ["make main.a: t", "make main.b: t", "make main.end: t"]);
}

/// A wish is obeyed once, however often the leader looks at it.
#[test]
fn a_wish_to_resume_is_obeyed_once() {
    let wait = template("w", &[], Body::Suspend { duration: None });
    let main = steps("m", &[], vec![vec![node("a", "w")], vec![node("b", "w")]]);
    let mut world = World::new(workflow(vec![main, wait]));
    let asks = Asks { resume: vec![Some("a".to_owned())], ..Default::default() };
    world.look();
    obey(&mut world.progress, &asks);
    world.look();
    obey(&mut world.progress, &asks);
    assert_eq!(world.progress.waiting().collect::<Vec<_>>(), ["main[1].b"]);
    let asks = Asks { resume: vec![Some("a".to_owned()), None], end: None };
    obey(&mut world.progress, &asks);
    assert_eq!(world.look().phase, Phase::Succeeded);
}
