//! Workflows, as mason's own dialect has them.
//!
//! ```yaml
//! kind: Workflow
//! name: flip
//! entrypoint: main                      # the first template if absent
//! arguments: {side: heads}
//! templates:
//!   - name: main
//!     steps:                            # groups, one after another
//!       - - {name: flip, template: toss}
//!       - - {name: cheer, template: say, when: "{{steps.flip.outputs.result}} == heads",
//!            arguments: {text: hurray}}
//!   - name: say
//!     inputs: [text]
//!     image: busybox
//!     command: [echo, "{{inputs.parameters.text}}"]
//! ```
//! A template is a task (the fields of a job's task lie in it), perhaps with a `script`; or
//! `steps`, or a `dag`, or `suspend`.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::flow::{self, Shape};
use super::super::rules;
use super::job::{suspend, ttl};
use super::placement::placement;
use super::task::Sources;
use super::{retry, some_span, task};
use crate::spec::{
    Arguments, Body, Inputs, Items, Leaf, Node, OutputSource, Outputs, Parameter, Strategy,
    Template, Workflow,
};

/// Reads a workflow whose fields lie in `map`.
pub(super) fn workflow(map: &Map<'_>) -> Workflow {
    map.not_yet(&["queue", "hooks", "semaphore", "class"]);
    let fields = map.need("templates").map(|field| field.list()).unwrap_or_default();
    let templates: Vec<Template> =
        fields.iter().filter_map(|field| field.map(|map| template(map))).collect();
    let entrypoint = map.get("entrypoint").and_then(|field| field.text());
    let first = || templates.first().map(|template| template.name.clone()).unwrap_or_default();
    let mut workflow = Workflow {
        entrypoint: entrypoint.unwrap_or_else(first),
        arguments: map.get("arguments").map(|field| arguments(&field)).unwrap_or_default(),
        on_exit: map.get("onExit").and_then(|field| field.text()),
        parallelism: map.get("parallelism").and_then(|field| field.u32()).unwrap_or(0),
        deadline: map.get("deadline").and_then(|field| some_span(&field)),
        placement: placement(map, Strategy::Pack),
        ttl: map.get("ttl").map(|field| ttl(&field)).unwrap_or_default(),
        suspend: suspend(map),
        templates,
    };
    flow::check(map, &fields, &mut workflow, Shape::Native);
    workflow
}

fn template(map: &Map<'_>) -> Template {
    map.not_yet(&["hooks", "semaphore"]);
    let outputs = map.get("outputs").map(|field| outputs(&field)).unwrap_or_default();
    Template {
        name: map.need("name").and_then(|field| flow::node_name(&field)).unwrap_or_default(),
        inputs: map.get("inputs").map(|field| inputs(&field)).unwrap_or_default(),
        body: body(map),
        outputs,
        retry: map.get("retry").map(|field| retry::retry(&field)).unwrap_or_default(),
        timeout: map.get("deadline").and_then(|field| some_span(&field)),
        parallelism: map.get("parallelism").and_then(|field| field.u32()).unwrap_or(0),
        placement: placement(map, Strategy::Pack),
    }
}

fn body(map: &Map<'_>) -> Body {
    let (steps, dag, wait) = (map.get("steps"), map.get("dag"), map.get("suspend"));
    if [&steps, &dag, &wait].into_iter().flatten().count() > 1 {
        map.field().bad("must be one of a task, steps, dag and suspend");
    }
    if let Some(steps) = steps {
        let group = |field: Field<'_>| field.one_or_more().iter().filter_map(node).collect();
        return Body::Steps(steps.list().into_iter().map(group).collect());
    }
    if let Some(dag) = dag {
        return Body::Dag(dag.list().iter().filter_map(node).collect());
    }
    if let Some(wait) = wait {
        let duration = match wait.is_map() {
            true => {
                wait.map(|map| map.get("duration").and_then(|field| some_span(&field))).flatten()
            }
            // `suspend: true` waits for somebody.
            false if wait.scalar().is_some_and(|(word, _)| word == "true") => None,
            false => some_span(&wait),
        };
        return Body::Suspend { duration };
    }
    let script = map.get("script").and_then(|field| field.text());
    let read = match map.get("task") {
        Some(field) => field.map(|inner| task::read(&Sources(&[map, inner]), inner)),
        None => Some(task::read(&Sources(&[map]), map)),
    };
    let task = read.unwrap_or_else(|| crate::spec::Task::new("", &[]));
    Body::Task(Box::new(Leaf { task, script }))
}

fn node(field: &Field<'_>) -> Option<Node> {
    let read = |map: &Map<'_>| {
        Some(Node {
            name: map.need("name").and_then(|field| flow::node_name(&field))?,
            template: map.need("template").and_then(|field| field.text())?,
            arguments: map.get("arguments").map(|field| arguments(&field)).unwrap_or_default(),
            items: map.get("forEach").and_then(|field| items(&field)),
            when: map.get("when").and_then(|field| field.filled()),
            depends: map.get("depends").and_then(|field| depends(&field)),
            continue_on_failed: map
                .get("continueOnFailed")
                .and_then(|field| field.bool())
                .unwrap_or(false),
        })
    };
    field.map(read).flatten()
}

/// An expression, or a list of siblings that must all have succeeded.
fn depends(field: &Field<'_>) -> Option<String> {
    match field.is_list() {
        true => Some(field.texts().join(" && ")).filter(|text| !text.is_empty()),
        false => field.filled(),
    }
}

/// A list; or text that becomes one; or `{count, start, end, format}`.
fn items(field: &Field<'_>) -> Option<Items> {
    if field.is_list() {
        return Some(Items::List(field.list().iter().map(|item| item.node.json()).collect()));
    }
    if !field.is_map() {
        return field.filled().map(Items::Param);
    }
    field.map(|map| sequence(map))
}

/// Numbers, from one to another or so many.
pub(in super::super) fn sequence(map: &Map<'_>) -> Items {
    let word = |key| map.get(key).and_then(|field: Field<'_>| field.word());
    let (count, end) = (word("count"), word("end"));
    if count.is_some() == end.is_some() {
        map.field().bad("must have one of count and end");
    }
    Items::Sequence { count, start: word("start"), end, format: word("format") }
}

/// Names to values, or a list of maps with a `name` each.
fn arguments(field: &Field<'_>) -> Arguments {
    if field.is_list() {
        return Arguments { parameters: parameters(field) };
    }
    let read = |map: &Map<'_>| {
        let one = |(name, field): (&str, Field<'_>)| {
            flow::checked_name(name, &field);
            let (name, value) = (name.to_owned(), field.word());
            Parameter { name, value, default: None, choices: Vec::new() }
        };
        map.all().into_iter().map(one).collect()
    };
    Arguments { parameters: field.map(read).unwrap_or_default() }
}

/// Names, or maps with a `name` each.
fn inputs(field: &Field<'_>) -> Inputs {
    Inputs { parameters: parameters(field) }
}

fn parameters(field: &Field<'_>) -> Vec<Parameter> {
    let mut named = Vec::new();
    let mut parameters = Vec::new();
    for field in field.list() {
        if !field.is_map() {
            let name = flow::node_name(&field).unwrap_or_default();
            named.push((name.clone(), field));
            parameters.push(Parameter { name, value: None, default: None, choices: Vec::new() });
            continue;
        }
        field.map(|map| {
            let Some(name) = map.need("name") else { return };
            let text = flow::node_name(&name).unwrap_or_default();
            named.push((text.clone(), name));
            let word = |key| map.get(key).and_then(|field: Field<'_>| field.word());
            let choices = map.get("choices").map(|field| field.words()).unwrap_or_default();
            let (value, default) = (word("value"), word("default"));
            parameters.push(Parameter { name: text, value, default, choices });
        });
    }
    super::super::twice(named);
    parameters
}

/// Names to `{path, default}` or a text.
fn outputs(field: &Field<'_>) -> Outputs {
    let mut parameters = BTreeMap::new();
    for (name, field) in field.pairs() {
        flow::checked_name(&name, &field);
        let source = match field.is_map() {
            false => field.word().map(OutputSource::Text),
            true => field
                .map(|map| {
                    let path = map.need("path").and_then(|field| rules::absolute(&field))?;
                    let default = map.get("default").and_then(|field| field.word());
                    Some(OutputSource::Path { path, default })
                })
                .flatten(),
        };
        parameters.extend(source.map(|source| (name, source)));
    }
    Outputs { parameters }
}
