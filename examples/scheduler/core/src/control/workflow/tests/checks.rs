//! What is refused at the door, by path.

use super::*;
use crate::spec::Items;

fn say() -> Template {
    task("say", &["text"], &["{{inputs.parameters.text}}"])
}

#[track_caller]
fn refused(workflow: &Workflow, expected: &[&str]) {
    let found: Vec<String> = check(workflow).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
    // What is refused must still not hurt a leader that meets it.
    let mut world = World::new(workflow.clone());
    for _ in 0..20 {
        if world.look().phase.is_final() {
            return;
        }
        for path in world.running() {
            world.end(&path, (0, ""));
        }
    }
}

/// Names that name nothing.
#[test]
fn unknown_names_are_refused() {
    let mut bad = workflow(vec![steps("m", &[], vec![vec![node("a", "nobody")]]), say(), say()]);
    "m2".clone_into(&mut bad.entrypoint);
    bad.on_exit = Some("m3".to_owned());
    refused(
        &bad,
        &[
            "entrypoint: there is no template `m2`",
            "on_exit: there is no template `m3`",
            "templates[2].name: there are two templates `say`",
            "templates[0].steps[0][0].template: there is no template `nobody`",
        ],
    );
}

/// Graphs in which something waits for itself, or for nobody.
#[test]
fn impossible_graphs_are_refused() {
    for (nodes, why) in [
        (
            vec![after("b", node("a", "t")), after("a.Failed", node("b", "t"))],
            "a.depends: it waits for itself, by way of others",
        ),
        (vec![after("a", node("a", "t"))], "a.depends: it waits for itself, by way of others"),
        (vec![after("x", node("a", "t"))], "a.depends: there is no node `x`"),
        (vec![after("a &", node("a", "t"))], "a.depends: `&` was not expected in `a &`"),
        (vec![node("a", "t"), node("a", "t")], "there are two nodes `a`"),
    ] {
        let bad = workflow(vec![dag("m", &[], nodes), task("t", &[], &[])]);
        refused(&bad, &[&format!("templates[0].dag: {why}")]);
    }
}

/// Conditions and items that do not read.
#[test]
fn bad_expressions_are_refused() {
    let of = |node| workflow(vec![steps("m", &[], vec![vec![node]]), task("t", &[], &[])]);
    refused(
        &of(when("a == ", node("a", "t"))),
        &["templates[0].steps[0][0].when: it ends where a value should be"],
    );
    let items = |items| of(Node { items: Some(items), ..node("a", "t") });
    let path = "templates[0].steps[0][0].items";
    refused(&items(Items::Param("{}".to_owned())), &[&format!("{path}: `{{}}` is no JSON list")]);
    let sequence = |count: Option<&str>, format: Option<&str>| {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Items::Sequence { count: own(count), start: None, end: None, format: own(format) }
    };
    refused(
        &items(sequence(Some("1"), Some("%s"))),
        &[&format!("{path}.sequence.format: `%s` is no format of a number, as `%03d` is")],
    );
    refused(
        &items(sequence(None, None)),
        &[&format!("{path}: a sequence has a count or an end, and not both")],
    );
    refused(
        &items(sequence(Some("2000"), None)),
        &[&format!("{path}: 2000 items, and 1000 are the most")],
    );
}

/// Values that nobody can have by then.
#[test]
fn values_that_cannot_be_are_refused() {
    let path = "templates[0].steps[0][0].arguments.parameters[0].value";
    for (tag, why) in [
        ("steps.b.outputs.result", "`b` has not ended by then"),
        ("steps.a.outputs.result", "`a` has not ended by then"),
        ("tasks.b.outputs.result", "such nodes are not known here"),
        ("inputs.parameters.x", "the template has no such input"),
        ("inputs.artifacts.x", "the template has no such input"),
        ("workflow.parameters.x", "the workflow has no such value"),
        ("workflow.status", "the workflow has no such value"),
        ("item", "there are no items here"),
        ("retries", "not supported"),
        ("=1+1", "not supported"),
    ] {
        let a = told("a", "say", &[("text", &format!("{{{{{tag}}}}}"))]);
        let main = steps("m", &[], vec![vec![a], vec![told("b", "say", &[("text", "b")])]]);
        let expected = format!("{path}: `{{{{{tag}}}}}`: {why}");
        refused(&workflow(vec![main, say()]), &[&expected]);
    }
    let later = [("text", "{{steps.a.outputs.parameters.y}}")];
    let main = steps(
        "m",
        &[],
        vec![vec![told("a", "say", &[("text", "a")])], vec![told("b", "say", &later)]],
    );
    let path = "templates[0].steps[1][0].arguments.parameters[0].value";
    let tag = "`{{steps.a.outputs.parameters.y}}`";
    refused(&workflow(vec![main, say()]), &[&format!("{path}: {tag}: `a` has no such output")]);
}

/// A template must be told what it asks for.
#[test]
fn missing_arguments_are_refused() {
    let main = steps("m", &["n"], vec![vec![node("a", "say")]]);
    refused(
        &workflow(vec![main, say()]),
        &[
            "entrypoint: `m` is not told its input `n`",
            "templates[0].steps[0][0].arguments: `say` is not told its input `text`",
        ],
    );
}

/// A template that calls itself in any case can only end badly.
#[test]
fn recursion_without_a_condition_is_refused() {
    let one = steps("one", &[], vec![vec![node("a", "two")]]);
    let two = steps("two", &[], vec![vec![node("b", "one")]]);
    refused(
        &workflow(vec![one, two]),
        &[
            "templates[0]: `one` calls itself without a condition",
            "templates[1]: `two` calls itself without a condition",
        ],
    );
}

/// What would be taken in and not done is refused.
#[test]
fn what_is_not_supported_is_refused() {
    let mut main = steps("m", &[], vec![vec![node("a b", "t")]]);
    main.retry.attempts = 3;
    let path = OutputSource::Path { path: "/x".to_owned(), default: None };
    main.outputs.parameters.insert("x".to_owned(), path);
    refused(
        &workflow(vec![main, task("t", &[], &[])]),
        &[
            "templates[0].retry: only tasks are retried, not steps or graphs",
            "templates[0].steps[0][0].name: `a b`: only letters, digits, - and _, 63 at most",
            "templates[0].outputs.parameters.x: only a task has files",
        ],
    );
}
