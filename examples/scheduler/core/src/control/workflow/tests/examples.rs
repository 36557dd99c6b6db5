//! Shapes that people know from Argo's examples, each told as what happens.

use serde_json::Value;

use super::*;
use crate::spec::{Items, MountSource};

/// The first thing that anybody tries.
#[test]
fn hello() {
    let hello = workflow(vec![task("hello", &[], &["hello {{workflow.name}}"])]);
    let world = check_story(
        hello,
        &[],
        "make main: hello wf
         ends main: exit 0 hello wf
         Succeeded: ",
    );
    check_tree(
        &world,
        r#"
        ● wf       1.0s
        └─✔ hello  n01  exit 0  1.0s  "hello wf"
        "#,
    );
}

fn say() -> Template {
    task("say", &["text"], &["{{inputs.parameters.text}}"])
}

/// Groups go one after another, what is in a group side by side; values flow onwards.
#[test]
fn steps_in_groups() {
    let main = steps(
        "main-steps",
        &[],
        vec![
            vec![told("a", "say", &[("text", "one")])],
            vec![
                told("b", "say", &[("text", "{{steps.a.outputs.result}}+two")]),
                told("c", "say", &[("text", "{{steps.a.status}}")]),
            ],
        ],
    );
    let world = check_story(
        workflow(vec![main, say()]),
        &[("main[1].c", (3, ""))],
        "make main[0].a: one
         ends main[0].a: exit 0 one
         make main[1].b: one+two
         make main[1].c: Succeeded
         ends main[1].b: exit 0 one+two
         ends main[1].c: exit 3
         Failed: c: exit code 3",
    );
    check_tree(
        &world,
        r#"
        ● wf   2.0s
        ├─✔ a  n01  exit 0  1.0s  "one"
        ├─✔ b  n01  exit 0  1.0s  "one+two"
        └─✖ c  n01  exit 3  1.0s
        "#,
    );
}

/// Each waits for those that it names, and for nothing else.
#[test]
fn a_diamond() {
    let nodes = vec![
        told("d", "say", &[("text", "{{tasks.b.outputs.result}}{{tasks.a.outputs.result}}")]),
        told("a", "say", &[("text", "A")]),
        after("a", told("b", "say", &[("text", "{{tasks.a.outputs.result}}B")])),
        after("a.Succeeded", told("c", "say", &[("text", "C")])),
    ];
    let mut nodes = nodes;
    nodes[0] = after("b && c", nodes[0].clone());
    check_story(
        workflow(vec![dag("diamond", &[], nodes), say()]),
        &[],
        "make main.a: A
         ends main.a: exit 0 A
         make main.b: AB
         make main.c: C
         ends main.b: exit 0 AB
         ends main.c: exit 0 C
         make main.d: ABA
         ends main.d: exit 0 ABA
         Succeeded: ",
    );
}

/// A template that calls itself until the coin falls.
#[test]
fn a_coin_is_flipped_until_it_falls() {
    let result = "{{steps.flip.outputs.result}}";
    let main = steps(
        "coin",
        &[],
        vec![
            vec![node("flip", "flip")],
            vec![
                when(&format!("{result} == heads"), told("heads", "say", &[("text", "done")])),
                when(&format!("{result} == tails"), node("again", "coin")),
            ],
        ],
    );
    let world = check_story(
        workflow(vec![main, task("flip", &[], &["flip"]), say()]),
        &[("main[0].flip", (0, "tails")), ("main[1].again[0].flip", (0, "heads"))],
        "make main[0].flip: flip
         ends main[0].flip: exit 0 tails
         make main[1].again[0].flip: flip
         ends main[1].again[0].flip: exit 0 heads
         make main[1].again[1].heads: done
         ends main[1].again[1].heads: exit 0 done
         Succeeded: ",
    );
    check_tree(
        &world,
        r#"
        ● wf         3.0s
        ├─✔ flip     n01  exit 0  1.0s  "tails"
        ├─○ heads    Skipped  its condition does not hold
        └─✔ again
          ├─✔ flip   n01  exit 0  1.0s  "heads"
          ├─✔ heads  n01  exit 0  1.0s  "done"
          └─○ again  Skipped  its condition does not hold
        "#,
    );
}

fn for_each(items: Items, node: Node) -> Node {
    Node { items: Some(items), ..node }
}

/// Once for each item: texts, numbers, maps.
#[test]
fn loops_over_items() {
    let list = [Value::from("a"), Value::from(7), serde_json::json!({"os": "debian", "v": 9})];
    let plain =
        for_each(Items::List(list[..2].to_vec()), told("p", "say", &[("text", "{{item}}")]));
    let text = [("text", "{{item.os}} {{item.v}}")];
    let maps = for_each(Items::List(list[2..].to_vec()), told("m", "say", &text));
    let world = check_story(
        workflow(vec![steps("main-steps", &[], vec![vec![plain, maps]]), say()]),
        &[("main[0].p(1)", (1, ""))],
        "make main[0].p(0): a
         make main[0].p(1): 7
         make main[0].m(0): debian 9
         ends main[0].p(0): exit 0 a
         ends main[0].p(1): exit 1
         ends main[0].m(0): exit 0 debian 9
         Failed: p: p(1:7): exit code 1",
    );
    check_tree(
        &world,
        r#"
        ● wf                              1.0s
        ├─✖ p                             Failed  p(1:7): exit code 1
        │ ├─✔ p(0:a)                      n01  exit 0  1.0s  "a"
        │ └─✖ p(1:7)                      n01  exit 1  1.0s
        └─✔ m
          └─✔ m(0:{"os":"debian","v":9})  n01  exit 0  1.0s  "debian 9"
        "#,
    );
}

/// One task prints a list; another is done for each of it; a third is told all that they printed.
#[test]
fn loops_over_what_was_printed() {
    let numbers = Items::Param("{{tasks.gen.outputs.result}}".to_owned());
    let nodes = vec![
        node("gen", "gen"),
        after("gen", for_each(numbers, told("work", "say", &[("text", "{{item}}0")]))),
        after("work", told("sum", "say", &[("text", "{{tasks.work.outputs.result}}")])),
    ];
    check_story(
        workflow(vec![dag("map-reduce", &[], nodes), task("gen", &[], &["gen"]), say()]),
        &[("main.gen", (0, "[1,2,3]"))],
        "make main.gen: gen
         ends main.gen: exit 0 [1,2,3]
         make main.work(0): 10
         make main.work(1): 20
         make main.work(2): 30
         ends main.work(0): exit 0 10
         ends main.work(1): exit 0 20
         ends main.work(2): exit 0 30
         make main.sum: [10,20,30]
         ends main.sum: exit 0 [10,20,30]
         Succeeded: ",
    );
}

/// Numbers, and nothing at all.
#[test]
fn loops_over_sequences() {
    let sequence = |count: &str| {
        let (start, end) = (Some("1".to_owned()), None);
        let format = Some("u%02d".to_owned());
        Items::Sequence { count: Some(count.to_owned()), start, end, format }
    };
    let two = for_each(sequence("2"), told("two", "say", &[("text", "{{item}}")]));
    let none = for_each(sequence("0"), told("none", "say", &[("text", "{{item}}")]));
    let last = told("last", "say", &[("text", "{{steps.none.status}}")]);
    check_story(
        workflow(vec![steps("main-steps", &[], vec![vec![two, none], vec![last]]), say()]),
        &[],
        "make main[0].two(0): u01
         make main[0].two(1): u02
         ends main[0].two(0): exit 0 u01
         ends main[0].two(1): exit 0 u02
         make main[1].last: Skipped
         ends main[1].last: exit 0 Skipped
         Succeeded: ",
    );
}

/// The handler comes last, however it ended, and knows how.
#[test]
fn an_exit_handler_comes_last() {
    let text = [("text", "{{workflow.status}}")];
    let handler = steps(
        "handler",
        &[],
        vec![vec![
            told("mail", "say", &text),
            when("{{workflow.status}} == Succeeded", told("party", "say", &[("text", "yay")])),
            when("{{workflow.status}} != Succeeded", told("cry", "say", &[("text", "oh")])),
        ]],
    );
    let make = || Workflow {
        on_exit: Some("handler".to_owned()),
        ..workflow(vec![task("work", &[], &["work"]), handler.clone(), say()])
    };
    let world = check_story(
        make(),
        &[("main", (1, ""))],
        "make main: work
         ends main: exit 1
         make exit[0].mail: Failed
         make exit[0].cry: oh
         ends exit[0].mail: exit 0 Failed
         ends exit[0].cry: exit 0 oh
         Failed: exit code 1",
    );
    check_tree(
        &world,
        r#"
        ● wf         2.0s
        ├─✖ work     n01  exit 1  1.0s
        └─✔ onExit
          ├─✔ mail   n01  exit 0  1.0s  "Failed"
          ├─○ party  Skipped  its condition does not hold
          └─✔ cry    n01  exit 0  1.0s  "oh"
        "#,
    );
    check_story(
        make(),
        &[("exit[0].party", (9, ""))],
        "make main: work
         ends main: exit 0 work
         make exit[0].mail: Succeeded
         make exit[0].party: yay
         ends exit[0].mail: exit 0 Succeeded
         ends exit[0].party: exit 9
         Failed: exit: party: exit code 9",
    );
}

/// A failure can be gone past, in steps and in graphs, or answered.
#[test]
fn failures_are_gone_past_or_answered() {
    let go = |node: Node| Node { continue_on_failed: true, ..node };
    let nodes = vec![
        go(told("a", "say", &[("text", "a")])),
        after("a", told("b", "say", &[("text", "{{tasks.a.status}}")])),
        told("c", "say", &[("text", "c")]),
        after("c.Failed", told("fix", "say", &[("text", "fix")])),
        after("c", told("use", "say", &[("text", "use")])),
        after("use || fix", told("end", "say", &[("text", "end")])),
    ];
    check_story(
        workflow(vec![
            steps(
                "two",
                &[],
                vec![vec![go(told("x", "say", &[("text", "x")]))], vec![node("g", "g")]],
            ),
            dag("g", &[], nodes),
            say(),
        ]),
        &[("main[0].x", (1, "")), ("main[1].g.a", (1, "")), ("main[1].g.c", (1, ""))],
        "make main[0].x: x
         ends main[0].x: exit 1
         make main[1].g.a: a
         make main[1].g.c: c
         ends main[1].g.a: exit 1
         ends main[1].g.c: exit 1
         make main[1].g.b: Failed
         make main[1].g.fix: fix
         ends main[1].g.b: exit 0 Failed
         ends main[1].g.fix: exit 0 fix
         make main[1].g.end: end
         ends main[1].g.end: exit 0 end
         Succeeded: ",
    );
}

/// Files that a task leaves become values, handed up through templates.
#[test]
fn outputs_are_handed_up() {
    let mut gen_file = task("gen", &[], &["gen"]);
    let path = OutputSource::Path { path: "/tmp/x".to_owned(), default: None };
    let gone = OutputSource::Path { path: "/y".to_owned(), default: Some("none".to_owned()) };
    gen_file.outputs.parameters = BTreeMap::from([("x".to_owned(), path), ("y".to_owned(), gone)]);
    let mut middle = steps("middle", &[], vec![vec![node("g", "gen")]]);
    let text = OutputSource::Text("<{{steps.g.outputs.parameters.x}}>".to_owned());
    middle.outputs.parameters.insert("out".to_owned(), text);
    let last = told("l", "say", &[("text", "{{steps.m.outputs.parameters.out}}")]);
    let main = steps("main-steps", &[], vec![vec![node("m", "middle")], vec![last]]);
    let world = check_story(
        workflow(vec![main, middle, gen_file, say()]),
        &[],
        "make main[0].m[0].g: gen
         ends main[0].m[0].g: exit 0 gen
         make main[1].l: <x of gen>
         ends main[1].l: exit 0 <x of gen>
         Succeeded: ",
    );
    assert_eq!(world.jobs["main[0].m[0].g"].task.outputs["x"], "/tmp/x");
}

/// Retries, time and place go with the job; a script becomes a file.
#[test]
fn a_leaf_becomes_a_job() {
    let mut script = task("script", &["n"], &[]);
    script.retry.attempts = 4;
    script.timeout = Some(60_000);
    script.placement.labels.insert("team".to_owned(), "b".to_owned());
    let Body::Task(leaf) = &mut script.body else { panic!("a task") };
    leaf.task.command = vec!["python3".to_owned()];
    leaf.script = Some("print({{inputs.parameters.n}}, '{{pod.name}}', '{{.Go}}')".to_owned());
    let mut whole = workflow(vec![script]);
    whole.arguments.parameters.push(parameter("n", Some("5")));
    whole.placement.labels.insert("team".to_owned(), "a".to_owned());
    whole.placement.labels.insert("tier".to_owned(), "c".to_owned());
    assert_eq!(check(&whole), []);
    let mut world = World::new(whole);
    world.look();
    let job = &world.jobs["main"];
    assert_eq!((job.count, job.retry.attempts, job.deadline), (1, 4, Some(60_000)));
    assert_eq!(job.task.args, [SCRIPT_PATH]);
    let text = format!("print(5, '{}', '{{{{.Go}}}}')", child_name("wf", "main"));
    assert_eq!(job.task.mounts[0].source, MountSource::Text { text });
    assert_eq!(job.placement.labels["team"], "b");
    assert_eq!(job.placement.labels["tier"], "c");
    assert!(job.task.capture_bytes >= 4_096);
}

/// No more than so many at once, of a template and of the whole.
#[test]
fn parallelism_is_bounded() {
    for (of_template, of_whole, most) in [(2, 0, 2), (0, 3, 3), (4, 2, 2), (0, 0, 9)] {
        let sequence =
            |start: &str| Items::List((0..3).map(|n| Value::from(format!("{start}{n}"))).collect());
        let text = [("text", "{{item}}")];
        let mut main = dag(
            "main-dag",
            &[],
            vec![
                after("c", for_each(sequence("a"), told("a", "say", &text))),
                for_each(sequence("b"), told("b", "say", &text)),
                told("c", "say", &[("text", "c")]),
                for_each(sequence("d"), told("d", "say", &text)),
                after("c", node("in", "inner")),
            ],
        );
        main.parallelism = of_template;
        let inner = steps("inner", &[], vec![vec![told("x", "say", &[("text", "x")])]; 1]);
        let whole = Workflow { parallelism: of_whole, ..workflow(vec![main, inner, say()]) };
        let mut world = World::new(whole);
        let mut highest = 0;
        for turn in 0.. {
            if world.look().phase.is_final() {
                break;
            }
            let running = world.running();
            highest = highest.max(running.len());
            assert!(running.len() <= most, "{running:?}");
            // One at a time, so that places become free while others are taken.
            world.end(&running[turn * 7 % running.len()], (0, ""));
        }
        assert_eq!(world.children.len(), 11);
        assert!(highest == most || most == 9 && highest >= 7, "{highest} of {most}");
    }
}

/// A node that waits for a person, and one that waits for a while.
#[test]
fn suspended_nodes_go_on_when_told_or_in_time() {
    let wait = |duration| template("wait", &[], Body::Suspend { duration });
    let groups = || vec![vec![node("w", "wait")], vec![told("go", "say", &[("text", "go")])]];
    let mut world = World::new(workflow(vec![steps("s", &[], groups()), wait(None), say()]));
    let step = world.run(&[]);
    assert_eq!((step.phase, step.wake_at), (Phase::Active, None));
    assert!(step.message.ends_with("to be resumed: main[0].w"), "{}", step.message);
    assert!(!resume(&mut world.progress, Some("nobody")));
    assert!(resume(&mut world.progress, Some("w")));
    assert!(!resume(&mut world.progress, None), "once");
    assert_eq!(world.run(&[]).phase, Phase::Succeeded);

    let mut world = World::new(workflow(vec![steps("s", &[], groups()), wait(Some(5_000)), say()]));
    assert_eq!(world.look().wake_at, Some(START + 5_000));
    world.now = START + 5_000;
    world.look();
    assert_eq!(world.running(), ["main[1].go"]);
}
