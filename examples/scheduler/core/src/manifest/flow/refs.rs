//! Each `{{…}}` of a template: whether it names something that is there.
//!
//! | text | where | is |
//! |---|---|---|
//! | `workflow.parameters.X` | everywhere | an argument of the workflow |
//! | `workflow.name`, `.namespace`, `.uid`, `.status` | everywhere | about the workflow |
//! | `inputs.parameters.X` | everywhere | what the template was told |
//! | `steps.N.outputs.result` | a later group, outputs | what N printed |
//! | `steps.N.outputs.parameters.X` | a later group, outputs | what N left |
//! | `steps.N.status`, `.exitCode` | a later group, outputs | how N ended |
//! | `tasks.N.…` | a node that waits for N, outputs | the same in a graph |
//! | `item`, `item.X` | a node with items | one of these |

use std::collections::{BTreeMap, BTreeSet};

use super::super::cursor::{Field, guess};
use super::super::problem::shown;
use super::{Depends, Place};
use crate::spec::{Body, Node, Template, Workflow};

/// Checks the references of one template. Templates whose result somebody asks for are put into
/// `results`.
pub(super) fn check(
    place: &Place<'_, '_>,
    workflow: &Workflow,
    names: &BTreeMap<&str, &Template>,
    results: &mut BTreeSet<String>,
) {
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, (_, node, _)) in place.nodes.iter().enumerate() {
        index.entry(&node.name).or_insert(at);
    }
    let waits = place.nodes.iter().map(|(_, node, _)| {
        let depends = node.depends.as_deref().and_then(|text| Depends::parse(text).ok());
        let names = depends.map(|depends| depends.names().to_vec()).unwrap_or_default();
        names.iter().filter_map(|name| index.get(name).copied()).collect()
    });
    let waits = waits.collect();
    let scope = Scope { place, workflow, names, index, waits };
    let whole = Who { node: None, before: vec![true; place.nodes.len()] };
    match &place.template.body {
        Body::Task(_) | Body::Suspend { .. } => scope.walk(&place.field, &whole, results),
        Body::Steps(_) | Body::Dag(_) => {
            for (index, (field, node, _)) in place.nodes.iter().enumerate() {
                let before = scope.before(index);
                scope.walk(field, &Who { node: Some(node), before }, results);
            }
            if let Some(outputs) = place.field.peek("outputs") {
                scope.walk(&outputs, &whole, results);
            }
        }
    }
}

struct Scope<'s, 'w, 'a> {
    place: &'s Place<'w, 'a>,
    workflow: &'s Workflow,
    names: &'s BTreeMap<&'s str, &'s Template>,
    /// Where each node is among its siblings.
    index: BTreeMap<&'s str, usize>,
    /// What each node of a graph waits for.
    waits: Vec<Vec<usize>>,
}

/// Who refers, and which nodes have ended by then.
struct Who<'w> {
    node: Option<&'w Node>,
    before: Vec<bool>,
}

impl Scope<'_, '_, '_> {
    /// Which nodes have ended when this one starts.
    fn before(&self, index: usize) -> Vec<bool> {
        let nodes = &self.place.nodes;
        if let Body::Steps(_) = self.place.template.body {
            return nodes.iter().map(|(.., group)| *group < nodes[index].2).collect();
        }
        let mut before = vec![false; nodes.len()];
        let mut next = vec![index];
        while let Some(index) = next.pop() {
            for &other in &self.waits[index] {
                if !before[other] {
                    before[other] = true;
                    next.push(other);
                }
            }
        }
        before
    }

    fn walk(&self, field: &Field<'_>, who: &Who<'_>, results: &mut BTreeSet<String>) {
        field.scalars(&mut |field, text| {
            let mut rest = text;
            while let Some((_, tail)) = rest.split_once("{{") {
                let Some((inner, tail)) = tail.split_once("}}") else {
                    field.bad("has {{ and no }} behind it");
                    return;
                };
                rest = tail;
                match self.one(inner.trim(), who) {
                    Ok(Some(template)) => {
                        results.insert(template);
                    }
                    Ok(None) => {}
                    Err(Wrong::Bad(why)) => field.bad(format!("{{{{{}}}}}: {why}", plain(inner))),
                    Err(Wrong::Later(why)) => {
                        field.unsupported(format!("{{{{{}}}}}: {why}", plain(inner)));
                    }
                }
            }
        });
    }

    /// The template whose result is asked for, if one is.
    fn one(&self, text: &str, who: &Who<'_>) -> Result<Option<String>, Wrong> {
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            [first, ..] if first.starts_with('=') => {
                Err(Wrong::Later("expressions are not supported yet".to_owned()))
            }
            ["workflow", "parameters", name] => {
                let known = self.workflow.arguments.parameters.iter();
                let known = known.map(|parameter| &*parameter.name);
                find("the workflow has no argument", name, known).map(|()| None)
            }
            ["workflow", "name" | "namespace" | "uid" | "status"] => Ok(None),
            ["inputs", "parameters", name] => {
                let known = self.place.template.inputs.parameters.iter();
                let known = known.map(|parameter| &*parameter.name);
                find("the template has no input", name, known).map(|()| None)
            }
            ["item", ..] if parts.len() <= 2 => {
                match who.node.is_some_and(|node| node.items.is_some()) {
                    true => Ok(None),
                    false => Err(Wrong::Bad("only a node with items has an item".to_owned())),
                }
            }
            ["steps", name, what @ ..] => match self.place.template.body {
                Body::Steps(_) => self.node(name, what, who),
                _ => Err(Wrong::Bad("there are no steps here".to_owned())),
            },
            ["tasks", name, what @ ..] => match self.place.template.body {
                Body::Dag(_) => self.node(name, what, who),
                _ => Err(Wrong::Bad("there is no dag here".to_owned())),
            },
            _ => Err(Wrong::Later("names nothing that is known here".to_owned())),
        }
    }

    fn node(&self, name: &str, what: &[&str], who: &Who<'_>) -> Result<Option<String>, Wrong> {
        let nodes = &self.place.nodes;
        let Some(&index) = self.index.get(name) else {
            let known = nodes.iter().map(|(_, node, _)| &*node.name);
            return find("there is no node", name, known).map(|()| None);
        };
        if !who.before[index] {
            let why = format!("{} need not have ended by then", shown(name));
            return Err(Wrong::Bad(why));
        }
        let template = self.names.get(&*nodes[index].1.template);
        match what {
            ["outputs", "result"] => Ok(template.map(|template| template.name.clone())),
            ["status" | "exitCode"] => Ok(None),
            ["outputs", "parameters", output] => {
                let Some(template) = template else { return Ok(None) };
                let known = template.outputs.parameters.keys().map(String::as_str);
                let what = format!("the template {} has no output", shown(&template.name));
                find(&what, output, known).map(|()| None)
            }
            _ => Err(Wrong::Later("names nothing that is known of a node".to_owned())),
        }
    }
}

enum Wrong {
    Bad(String),
    Later(String),
}

fn find<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Result<(), Wrong> {
    let known: Vec<&str> = known.collect();
    match known.contains(&name) {
        true => Ok(()),
        false => Err(Wrong::Bad(format!("{what} {}{}", shown(name), guess(name, known)))),
    }
}

/// A reference inside a message.
fn plain(text: &str) -> String {
    let text = shown(text);
    text.trim_matches('"').to_owned()
}
