//! Steps and tasks of a graph, and what they are told.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::flow;
use super::super::native::workflow::sequence;
use super::super::{rules, twice};
use crate::spec::{Arguments, Inputs, Items, Node, OutputSource, Outputs, Parameter};

/// A step, or a task of a graph.
pub(super) fn node(field: &Field<'_>) -> Option<Node> {
    let read = |map: &Map<'_>| {
        map.not_yet(&["templateRef", "inline", "onExit", "hooks"]);
        let arguments = map.get("arguments").and_then(|field| field.map(arguments));
        let (when, depends) = (map.get("when").and_then(|field| field.filled()), depends(map));
        let (items, go_on) = (items(map), map.get("continueOn").and_then(|field| field.map(go_on)));
        let name = map.need("name").and_then(|field| flow::node_name(&field));
        // Without one there is no node, even for those who would go without the rest.
        let template = map.need("template");
        Some(Node {
            name: name?,
            template: template.and_then(|field| field.text())?,
            arguments: arguments.unwrap_or_default(),
            items,
            when,
            depends,
            continue_on_failed: go_on.unwrap_or(false),
        })
    };
    field.map(read).flatten()
}

fn go_on(map: &Map<'_>) -> bool {
    let flag = |key| map.get(key).and_then(|field: Field<'_>| field.bool()).unwrap_or(false);
    let (failed, error) = (flag("failed"), flag("error"));
    failed || error
}

/// `depends`, or `dependencies`, which must all have succeeded.
fn depends(map: &Map<'_>) -> Option<String> {
    let (depends, dependencies) = (map.get("depends"), map.get("dependencies"));
    if let (Some(_), Some(field)) = (&depends, &dependencies) {
        field.bad("must not stand beside `depends`");
    }
    if let Some(depends) = depends {
        return depends.text().filter(|text| !text.trim().is_empty());
    }
    let names: Vec<String> = dependencies?.list().iter().filter_map(flow::node_name).collect();
    Some(names.join(" && ")).filter(|text| !text.is_empty())
}

fn items(map: &Map<'_>) -> Option<Items> {
    let (list, param) = (map.get("withItems"), map.get("withParam"));
    let sequence_of = map.get("withSequence");
    if [&list, &param, &sequence_of].into_iter().flatten().count() > 1 {
        map.field().bad("must have only one of withItems, withParam and withSequence");
    }
    if let Some(list) = list {
        return Some(Items::List(list.list().iter().map(|item| item.node.json()).collect()));
    }
    if let Some(param) = param {
        return param.filled().map(Items::Param);
    }
    sequence_of?.map(sequence)
}

/// `arguments`.
pub(super) fn arguments(map: &Map<'_>) -> Arguments {
    map.not_yet(&["artifacts"]);
    Arguments { parameters: parameters(map) }
}

/// `inputs`.
pub(super) fn inputs(map: &Map<'_>) -> Inputs {
    map.not_yet(&["artifacts"]);
    Inputs { parameters: parameters(map) }
}

fn parameters(map: &Map<'_>) -> Vec<Parameter> {
    let (mut found, mut named) = (Vec::new(), Vec::new());
    for field in map.get("parameters").map(|field| field.list()).unwrap_or_default() {
        field.map(|map| {
            let Some(name) = map.need("name") else { return };
            let text = flow::node_name(&name).unwrap_or_default();
            named.push((text.clone(), name));
            map.not_yet(&["valueFrom", "globalName"]);
            // For people: what it is for.
            map.get("description").and_then(|field| field.text());
            let word = |key| map.get(key).and_then(|field: Field<'_>| field.word());
            let choices = map.get("enum").map(|field| field.words()).unwrap_or_default();
            let (value, default) = (word("value"), word("default"));
            found.push(Parameter { name: text, value, default, choices });
        });
    }
    twice(named);
    found
}

/// `outputs`.
pub(super) fn outputs(map: &Map<'_>) -> Outputs {
    map.not_yet(&["artifacts", "exitCode", "result"]);
    let (mut parameters, mut named) = (BTreeMap::new(), Vec::new());
    for field in map.get("parameters").map(|field| field.list()).unwrap_or_default() {
        field.map(|map| {
            let Some(name) = map.need("name") else { return };
            let text = flow::node_name(&name).unwrap_or_default();
            named.push((text.clone(), name));
            map.not_yet(&["globalName"]);
            map.get("description").and_then(|field| field.text());
            let source = map.need("valueFrom").and_then(|field| field.map(source).flatten());
            parameters.extend(source.map(|source| (text, source)));
        });
    }
    twice(named);
    Outputs { parameters }
}

fn source(map: &Map<'_>) -> Option<OutputSource> {
    map.not_yet(&["expression", "jsonPath", "jqFilter", "event", "supplied", "configMapKeyRef"]);
    let default = map.get("default");
    let (path, parameter) = (map.get("path"), map.get("parameter"));
    if path.is_some() && parameter.is_some() {
        map.field().bad("must have one of path and parameter");
    }
    if let Some(path) = path {
        let default = default.and_then(|field| field.word());
        return rules::absolute(&path).map(|path| OutputSource::Path { path, default });
    }
    if let Some(default) = default {
        default.unsupported("is not supported yet, other than of a path");
    }
    if parameter.is_none() && map.field().peek("expression").is_none() {
        map.field().bad("must have one of path and parameter");
    }
    parameter?.filled().map(OutputSource::Text)
}
