//! What can be told of a workflow before it runs: that its names lead somewhere.
//!
//! A misspelt template or parameter is found at the third step of a workflow that has run for an
//! hour, unless somebody looks before. So all that is fixed by the text is checked here, for both
//! dialects: the entry point and every template that a node names, unique names, graphs without
//! circles, what a template is told and whether that is all it asks for, and each `{{…}}`.
//!
//! What is checked is what the text says; what a value will be when it runs, nobody knows yet.

mod depends;
mod refs;

use std::collections::{BTreeMap, BTreeSet};

use super::cursor::{Field, Map, guess};
use super::problem::shown;
use super::twice;
use crate::spec::{Body, Node, OutputSource, Template, Workflow};

pub(super) use depends::Depends;

/// How a dialect lays out its templates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `dag: [...]`
    Native,
    /// `dag: {tasks: [...]}`
    Argo,
}

/// Nodes of one template at most: more do not fit into an object.
const NODES_MAX: usize = 2000;

/// What is kept of the output of a task whose result somebody asks for.
const RESULT_BYTES: u32 = 16 << 10;

/// The name of a step, a node of a graph, a parameter or an output.
pub(super) fn node_name(field: &Field<'_>) -> Option<String> {
    let name = field.text()?;
    checked_name(&name, field).then_some(name)
}

/// Whether a key may be such a name. If not, it is reported at `field`.
pub(super) fn checked_name(name: &str, field: &Field<'_>) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let fits = !name.is_empty() && name.len() <= 63 && name.chars().all(plain);
    if !fits {
        field.bad(format!("{} is no name: at most 63 of a-z, A-Z, 0-9, - and _", shown(name)));
    }
    fits
}

/// One template and where it stands.
struct Place<'w, 'a> {
    field: Field<'a>,
    template: &'w Template,
    /// Its nodes, each with its place and its group.
    nodes: Vec<(Field<'a>, &'w Node, usize)>,
}

/// Checks a workflow that was read from `map`, its templates from `fields`; and fills in what its
/// tasks must keep for each other.
pub(super) fn check(map: &Map<'_>, fields: &[Field<'_>], workflow: &mut Workflow, shape: Shape) {
    if fields.len() != workflow.templates.len() {
        // Some were no maps, which has been reported; what is left would be off by one.
        return;
    }
    if fields.is_empty() {
        if let Some(field) = map.field().peek("templates") {
            field.bad("must have at least one template");
        }
        return;
    }
    let places: Vec<Place<'_, '_>> = fields
        .iter()
        .zip(&workflow.templates)
        .map(|(field, template)| Place::new(field, template, shape))
        .collect();
    let mut names: BTreeMap<&str, &Template> = BTreeMap::new();
    for template in workflow.templates.iter().filter(|template| !template.name.is_empty()) {
        names.entry(&template.name).or_insert(template);
    }
    twice(places.iter().filter_map(|place| {
        place.field.peek("name").map(|field| (place.template.name.clone(), field))
    }));
    entry(map, workflow, &names);
    let mut results = BTreeSet::new();
    for place in &places {
        nodes(place, &names, shape);
        outputs(place);
        refs::check(place, workflow, &names, &mut results);
    }
    keep(workflow, &results);
}

impl<'w, 'a> Place<'w, 'a> {
    fn new(field: &Field<'a>, template: &'w Template, shape: Shape) -> Place<'w, 'a> {
        let tasks = |field: Field<'a>| match shape {
            Shape::Native => Some(field),
            Shape::Argo => field.peek("tasks"),
        };
        let groups: Vec<(Vec<Field<'a>>, &'w [Node])> = match &template.body {
            Body::Steps(groups) => {
                let fields = field.peek("steps").map(|field| field.list()).unwrap_or_default();
                let fields = fields.into_iter().map(|field| field.one_or_more());
                fields.zip(groups.iter().map(Vec::as_slice)).collect()
            }
            Body::Dag(nodes) => {
                let fields = field.peek("dag").and_then(tasks).map(|field| field.list());
                vec![(fields.unwrap_or_default(), nodes)]
            }
            Body::Task(_) | Body::Suspend { .. } => Vec::new(),
        };
        let mut nodes = Vec::new();
        for (group, (fields, found)) in groups.into_iter().enumerate() {
            // Some could not be read, which has been reported; the others would be misplaced.
            if fields.len() == found.len() {
                nodes.extend(
                    fields.into_iter().zip(found).map(|(field, node)| (field, node, group)),
                );
            }
        }
        if nodes.len() > NODES_MAX {
            field.bad(format!("has {} nodes, and {NODES_MAX} is the most", nodes.len()));
            nodes.truncate(NODES_MAX);
        }
        Place { field: field.clone(), template, nodes }
    }
}

/// The entry point, the last one, and what both are told.
fn entry(map: &Map<'_>, workflow: &Workflow, names: &BTreeMap<&str, &Template>) {
    for parameter in &workflow.arguments.parameters {
        let name = shown(&parameter.name);
        match parameter.value.as_ref().or(parameter.default.as_ref()) {
            None => map.bad_at("arguments", &format!("{name} has no value")),
            Some(value) if !parameter.choices.is_empty() && !parameter.choices.contains(value) => {
                map.bad_at("arguments", &format!("the value of {name} is none of its choices"));
            }
            Some(_) => {}
        }
    }
    let told: BTreeSet<&str> =
        workflow.arguments.parameters.iter().map(|parameter| &*parameter.name).collect();
    let named = [("entrypoint", Some(&workflow.entrypoint)), ("onExit", workflow.on_exit.as_ref())];
    for (key, name) in named {
        let Some(name) = name else { continue };
        match names.get(&**name) {
            None => map.bad_at(key, &unknown_template(name, names)),
            Some(template) => {
                for input in missing(template, &told) {
                    let message = format!(
                        "{} asks for {}, which the arguments of the workflow do not have",
                        shown(name),
                        shown(input)
                    );
                    map.bad_at(key, &message);
                }
            }
        }
    }
}

fn unknown_template(name: &str, names: &BTreeMap<&str, &Template>) -> String {
    format!("there is no template {}{}", shown(name), guess(name, names.keys().copied()))
}

/// What a template asks for and is not told.
fn missing<'t>(template: &'t Template, told: &BTreeSet<&str>) -> Vec<&'t str> {
    let needed = template.inputs.parameters.iter().filter(|input| {
        input.value.is_none() && input.default.is_none() && !told.contains(&*input.name)
    });
    needed.map(|input| &*input.name).collect()
}

/// The nodes of one template.
fn nodes(place: &Place<'_, '_>, names: &BTreeMap<&str, &Template>, shape: Shape) {
    twice(
        place.nodes.iter().filter_map(|(field, node, _)| {
            field.peek("name").map(|field| (node.name.clone(), field))
        }),
    );
    if matches!(&place.template.body, Body::Steps(groups) if groups.iter().all(Vec::is_empty))
        || matches!(&place.template.body, Body::Dag(nodes) if nodes.is_empty())
    {
        place.field.bad("must have at least one node");
    }
    for (field, node, _) in &place.nodes {
        let at = |key| field.peek(key).unwrap_or_else(|| field.clone());
        let Some(template) = names.get(&*node.template) else {
            at("template").bad(unknown_template(&node.template, names));
            continue;
        };
        let told: BTreeSet<&str> =
            node.arguments.parameters.iter().map(|argument| &*argument.name).collect();
        for input in missing(template, &told) {
            at("arguments").bad(format!(
                "must have {}, which the template {} asks for",
                shown(input),
                shown(&node.template)
            ));
        }
        let inputs: BTreeSet<&str> =
            template.inputs.parameters.iter().map(|input| &*input.name).collect();
        for argument in told.difference(&inputs) {
            let guess = guess(argument, inputs.iter().copied());
            at("arguments").warn(&format!(
                "the template {} does not ask for {}{guess}",
                shown(&node.template),
                shown(argument)
            ));
        }
    }
    graph(place, shape);
}

/// What the nodes of a template wait for.
fn graph(place: &Place<'_, '_>, shape: Shape) {
    let in_dag = matches!(place.template.body, Body::Dag(_));
    let names: BTreeMap<&str, usize> =
        place.nodes.iter().enumerate().map(|(index, (_, node, _))| (&*node.name, index)).collect();
    let mut waits: Vec<Vec<usize>> = vec![Vec::new(); place.nodes.len()];
    for (index, (field, node, _)) in place.nodes.iter().enumerate() {
        let Some(text) = &node.depends else { continue };
        let at = match shape {
            Shape::Argo => field.peek("depends").or_else(|| field.peek("dependencies")),
            Shape::Native => field.peek("depends"),
        };
        let at = at.unwrap_or_else(|| field.clone());
        if !in_dag {
            at.bad("has a meaning in a dag only; steps follow one another");
            continue;
        }
        let depends = match Depends::parse(text) {
            Ok(depends) => depends,
            Err(why) => {
                at.bad(why);
                continue;
            }
        };
        for name in depends.names() {
            match names.get(name) {
                Some(&other) => waits[index].push(other),
                None => {
                    let guess = guess(name, names.keys().copied());
                    at.bad(format!("there is no node {} beside it{guess}", shown(name)));
                }
            }
        }
    }
    if let Some(circle) = circle(&waits) {
        let way: Vec<&str> = circle.iter().map(|&index| &*place.nodes[index].1.name).collect();
        let (field, ..) = &place.nodes[circle[0]];
        field.bad(format!("waits for itself: {}", way.join(" after ")));
    }
}

/// A way from a node to itself, if there is one.
fn circle(waits: &[Vec<usize>]) -> Option<Vec<usize>> {
    // Nodes that wait for nothing are taken away until none is left, or all wait for another.
    let mut left: Vec<usize> = waits.iter().map(Vec::len).collect();
    let mut waited: Vec<Vec<usize>> = vec![Vec::new(); waits.len()];
    for (index, others) in waits.iter().enumerate() {
        for &other in others {
            waited[other].push(index);
        }
    }
    let mut ready: Vec<usize> = (0..waits.len()).filter(|&index| left[index] == 0).collect();
    while let Some(index) = ready.pop() {
        for &next in &waited[index] {
            left[next] -= 1;
            if left[next] == 0 {
                ready.push(next);
            }
        }
    }
    let mut at = (0..waits.len()).find(|&index| left[index] > 0)?;
    let mut way = Vec::new();
    loop {
        if let Some(start) = way.iter().position(|&index| index == at) {
            way.drain(..start);
            way.push(at);
            return Some(way);
        }
        way.push(at);
        at = waits[at].iter().copied().find(|&other| left[other] > 0)?;
    }
}

/// Files are left by tasks, texts by what is made of tasks.
fn outputs(place: &Place<'_, '_>) {
    let is_task = matches!(place.template.body, Body::Task(_));
    for (name, source) in &place.template.outputs.parameters {
        let right = match source {
            OutputSource::Path { .. } => is_task,
            OutputSource::Text(_) => !is_task,
        };
        if !right {
            let at = place.field.peek("outputs").unwrap_or_else(|| place.field.clone());
            at.bad(match is_task {
                true => format!("{} must come from a path: a task leaves files", shown(name)),
                false => format!("{} must come from a node: only a task leaves files", shown(name)),
            });
        }
    }
}

/// Tells tasks what others will ask them for.
fn keep(workflow: &mut Workflow, results: &BTreeSet<String>) {
    for template in &mut workflow.templates {
        let Body::Task(leaf) = &mut template.body else { continue };
        for (name, source) in &template.outputs.parameters {
            if let OutputSource::Path { path, .. } = source {
                leaf.task.outputs.insert(name.clone(), path.clone());
            }
        }
        if leaf.task.capture_bytes == 0 && results.contains(&template.name) {
            leaf.task.capture_bytes = RESULT_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph with a circle never ends, and one without must not be refused.
    #[test]
    fn circles_are_found_and_only_circles() {
        assert_eq!(circle(&[vec![], vec![0], vec![0, 1]]), None);
        assert_eq!(circle(&[vec![0]]), Some(vec![0, 0]));
        assert_eq!(circle(&[vec![], vec![2, 0], vec![3], vec![1]]), Some(vec![1, 2, 3, 1]));
        assert_eq!(circle(&[vec![1], vec![2], vec![1]]), Some(vec![1, 2, 1]));
    }
}
