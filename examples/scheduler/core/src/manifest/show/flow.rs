//! Workflows, printed.

use super::emit::{Entries, Out, put, put_if};
use super::task::{retry, span, task};
use super::work::{placement, ttl};
use crate::spec::{
    Arguments, Body, Inputs, Items, Node, OutputSource, Parameter, Strategy, Template, Workflow,
};

pub(super) fn workflow(workflow: &Workflow, out: &mut Entries) {
    put(out, "entrypoint", Out::text(&workflow.entrypoint));
    put_if(out, !workflow.arguments.parameters.is_empty(), "arguments", || {
        arguments(&workflow.arguments)
    });
    out.extend(workflow.on_exit.iter().map(|name| ("onExit".to_owned(), Out::text(name))));
    put_if(out, workflow.parallelism > 0, "parallelism", || Out::raw(workflow.parallelism));
    out.extend(workflow.deadline.map(|deadline| ("deadline".to_owned(), span(deadline))));
    placement(&workflow.placement, &Strategy::Pack, out);
    ttl(workflow.ttl, out);
    put_if(out, workflow.suspend, "suspend", || Out::raw(true));
    put(out, "templates", Out::List(workflow.templates.iter().map(template).collect()));
}

fn template(template: &Template) -> Out {
    let mut out = vec![("name".to_owned(), Out::text(&template.name))];
    put_if(&mut out, !template.inputs.parameters.is_empty(), "inputs", || inputs(&template.inputs));
    match &template.body {
        Body::Task(leaf) => {
            task(&leaf.task, &mut out);
            out.extend(leaf.script.iter().map(|text| ("script".to_owned(), Out::text(text))));
        }
        Body::Steps(groups) => {
            let group = |group: &Vec<Node>| Out::List(group.iter().map(node).collect());
            put(&mut out, "steps", Out::List(groups.iter().map(group).collect()));
        }
        Body::Dag(nodes) => put(&mut out, "dag", Out::List(nodes.iter().map(node).collect())),
        Body::Suspend { duration: None } => put(&mut out, "suspend", Out::raw(true)),
        Body::Suspend { duration: Some(duration) } => put(&mut out, "suspend", span(*duration)),
    }
    let outputs = &template.outputs.parameters;
    put_if(&mut out, !outputs.is_empty(), "outputs", || {
        let one = |source: &OutputSource| match source {
            OutputSource::Text(text) => Out::text(text),
            OutputSource::Path { path, default } => {
                let mut out = vec![("path".to_owned(), Out::text(path))];
                out.extend(default.iter().map(|text| ("default".to_owned(), Out::text(text))));
                Out::Map(out)
            }
        };
        Out::Map(outputs.iter().map(|(name, source)| (name.clone(), one(source))).collect())
    });
    retry(&template.retry, &mut out);
    out.extend(template.timeout.map(|timeout| ("deadline".to_owned(), span(timeout))));
    put_if(&mut out, template.parallelism > 0, "parallelism", || Out::raw(template.parallelism));
    placement(&template.placement, &Strategy::Pack, &mut out);
    Out::Map(out)
}

fn node(node: &Node) -> Out {
    let mut out = vec![
        ("name".to_owned(), Out::text(&node.name)),
        ("template".to_owned(), Out::text(&node.template)),
    ];
    put_if(&mut out, !node.arguments.parameters.is_empty(), "arguments", || {
        arguments(&node.arguments)
    });
    out.extend(node.items.iter().map(|found| ("forEach".to_owned(), items(found))));
    out.extend(node.when.iter().map(|text| ("when".to_owned(), Out::text(text))));
    out.extend(node.depends.iter().map(|text| ("depends".to_owned(), Out::text(text))));
    put_if(&mut out, node.continue_on_failed, "continueOnFailed", || Out::raw(true));
    Out::Map(out)
}

fn items(items: &Items) -> Out {
    match items {
        Items::List(list) => Out::List(list.iter().map(Out::json).collect()),
        Items::Param(text) => Out::text(text),
        Items::Sequence { count, start, end, format } => {
            let fields = [("count", count), ("start", start), ("end", end), ("format", format)];
            let given = fields.into_iter().filter_map(|(key, text)| {
                text.as_ref().map(|text| (key.to_owned(), Out::text(text)))
            });
            Out::Map(given.collect())
        }
    }
}

/// Names to values, if that says it all.
fn arguments(arguments: &Arguments) -> Out {
    let plain = |one: &Parameter| one.default.is_none() && one.choices.is_empty();
    let values: Option<Entries> = arguments
        .parameters
        .iter()
        .map(|one| one.value.as_ref().filter(|_| plain(one)).map(|value| (one.name.clone(), value)))
        .map(|found| found.map(|(name, value)| (name, Out::text(value))))
        .collect();
    values.map_or_else(|| Out::List(arguments.parameters.iter().map(parameter).collect()), Out::Map)
}

fn inputs(inputs: &Inputs) -> Out {
    Out::List(inputs.parameters.iter().map(parameter).collect())
}

fn parameter(parameter: &Parameter) -> Out {
    let Parameter { name, value, default, choices } = parameter;
    if value.is_none() && default.is_none() && choices.is_empty() {
        return Out::text(name);
    }
    let mut out = vec![("name".to_owned(), Out::text(name))];
    for (key, text) in [("value", value), ("default", default)] {
        out.extend(text.iter().map(|text| (key.to_owned(), Out::text(text))));
    }
    put_if(&mut out, !choices.is_empty(), "choices", || Out::texts(choices));
    Out::Map(out)
}
