//! What can be seen to be wrong with a workflow before any of it runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::graph::Graph;
use super::items::{self, FANOUT_MAX, Format};
use super::{text, when};
use crate::control::Problem;
use crate::spec::{Body, Items, Node, OutputSource, Template, Workflow};

/// So many problems are told at most.
const PROBLEMS_MAX: usize = 100;

/// What is wrong with a workflow: names that name nothing, conditions that do not read, values that
/// nobody can have by then.
pub fn check(workflow: &Workflow) -> Vec<Problem> {
    let templates = workflow.templates.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut check = Check { workflow, templates, problems: Vec::new() };
    check.whole();
    for (at, template) in workflow.templates.iter().enumerate() {
        check.template(&format!("templates[{at}]"), template);
    }
    check.endless();
    check.problems.truncate(PROBLEMS_MAX);
    check.problems
}

/// Names of nodes whose `outputs.result` is named anywhere.
pub(super) fn asked(workflow: &Workflow) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let value = serde_json::to_value(workflow).expect("a workflow is JSON");
    each_text("", &value, &mut |_, text| {
        for tag in text::tags(text) {
            let mut parts = tag.split('.');
            if let (Some("steps" | "tasks"), Some(name)) = (parts.next(), parts.next())
                && tag.ends_with(".outputs.result")
            {
                names.insert(name.to_owned());
            }
        }
    });
    names
}

/// All texts within a value, and where they are.
fn each_text(path: &str, value: &Value, found: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => found(path, text),
        Value::Array(all) => {
            for (at, one) in all.iter().enumerate() {
                each_text(&format!("{path}[{at}]"), one, found);
            }
        }
        Value::Object(fields) => {
            for (name, one) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                each_text(&format!("{path}{dot}{name}"), one, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

struct Check<'a> {
    workflow: &'a Workflow,
    templates: BTreeMap<&'a str, &'a Template>,
    problems: Vec<Problem>,
}

/// What texts at one place may name.
struct Known<'a> {
    template: &'a Template,
    kind: &'static str,
    /// Siblings that have ended by then.
    siblings: BTreeMap<&'a str, &'a Node>,
    item: bool,
    leaf: bool,
}

impl<'a> Check<'a> {
    fn add(&mut self, path: &str, message: String) {
        self.problems.push(Problem { path: path.to_owned(), message });
    }

    fn whole(&mut self) {
        let workflow = self.workflow;
        if !self.templates.contains_key(workflow.entrypoint.as_str()) {
            self.add("entrypoint", format!("there is no template `{}`", workflow.entrypoint));
        }
        if let Some(name) = workflow.on_exit.as_deref()
            && !self.templates.contains_key(name)
        {
            self.add("on_exit", format!("there is no template `{name}`"));
        }
        let mut names = BTreeSet::new();
        for (at, template) in workflow.templates.iter().enumerate() {
            if !names.insert(&template.name) {
                let message = format!("there are two templates `{}`", template.name);
                self.add(&format!("templates[{at}].name"), message);
            }
        }
        for (at, parameter) in workflow.arguments.parameters.iter().enumerate() {
            if parameter.value.is_none() && parameter.default.is_none() {
                let path = format!("arguments.parameters[{at}]");
                self.add(&path, format!("`{}` has no value", parameter.name));
            }
        }
        // Those that nobody calls are told the arguments of the workflow.
        let given: BTreeSet<&str> =
            workflow.arguments.parameters.iter().map(|it| it.name.as_str()).collect();
        for (path, name) in
            [("entrypoint", Some(&workflow.entrypoint)), ("on_exit", workflow.on_exit.as_ref())]
        {
            let template = name.and_then(|name| self.templates.get(name.as_str()).copied());
            if let Some(template) = template {
                self.bound(path, template, &given);
            }
        }
    }

    /// Whether a template is told all that it asks for.
    fn bound(&mut self, path: &str, template: &Template, given: &BTreeSet<&str>) {
        for parameter in &template.inputs.parameters {
            let own = parameter.value.is_some() || parameter.default.is_some();
            if !own && !given.contains(parameter.name.as_str()) {
                let message =
                    format!("`{}` is not told its input `{}`", template.name, parameter.name);
                self.add(path, message);
            }
        }
    }

    fn template(&mut self, path: &str, template: &'a Template) {
        let mut known = Known {
            template,
            kind: "",
            siblings: BTreeMap::new(),
            item: false,
            leaf: matches!(template.body, Body::Task(_)),
        };
        if !known.leaf && template.retry.attempts > 1 {
            let message = "only tasks are retried, not steps or graphs".to_owned();
            self.add(&format!("{path}.retry"), message);
        }
        match &template.body {
            Body::Task(leaf) => {
                let value = serde_json::to_value(leaf).expect("a leaf is JSON");
                self.texts(&format!("{path}.task"), &value, &known);
            }
            Body::Suspend { .. } => {}
            Body::Steps(groups) => {
                known.kind = "steps";
                self.steps(path, groups, &mut known);
            }
            Body::Dag(nodes) => {
                known.kind = "tasks";
                self.dag(path, nodes, &mut known);
            }
        }
        for (name, source) in &template.outputs.parameters {
            let at = format!("{path}.outputs.parameters.{name}");
            match source {
                OutputSource::Path { .. } if !known.leaf => {
                    self.add(&at, "only a task has files".to_owned());
                }
                OutputSource::Text(_) if known.leaf => {
                    self.add(&at, "a task tells the text of a file".to_owned());
                }
                OutputSource::Path { path: text, .. } | OutputSource::Text(text) => {
                    self.text(&at, text, &known);
                }
            }
        }
    }

    fn steps(&mut self, path: &str, groups: &'a [Vec<Node>], known: &mut Known<'a>) {
        let mut names = BTreeSet::new();
        for (number, group) in groups.iter().enumerate() {
            for (at, node) in group.iter().enumerate() {
                let path = format!("{path}.steps[{number}][{at}]");
                if !names.insert(node.name.as_str()) {
                    self.add(&format!("{path}.name"), format!("there are two `{}`", node.name));
                }
                if node.depends.is_some() {
                    let message = "steps go one after another; a graph has this".to_owned();
                    self.add(&format!("{path}.depends"), message);
                }
                self.node(&path, node, known);
            }
            known.siblings.extend(group.iter().map(|node| (node.name.as_str(), node)));
        }
    }

    fn dag(&mut self, path: &str, nodes: &'a [Node], known: &mut Known<'a>) {
        let graph = match Graph::new(nodes) {
            Ok(graph) => graph,
            Err(message) => return self.add(&format!("{path}.dag"), message),
        };
        for (at, node) in nodes.iter().enumerate() {
            let before =
                graph.ancestors[at].iter().map(|&of| (nodes[of].name.as_str(), &nodes[of]));
            known.siblings = before.collect();
            self.node(&format!("{path}.dag[{at}]"), node, known);
        }
        known.siblings = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    }

    fn node(&mut self, path: &str, node: &'a Node, known: &mut Known<'a>) {
        let plain = |next: char| next.is_ascii_alphanumeric() || next == '-' || next == '_';
        if node.name.is_empty() || node.name.len() > 63 || !node.name.chars().all(plain) {
            let message = format!("`{}`: only letters, digits, - and _, 63 at most", node.name);
            self.add(&format!("{path}.name"), message);
        }
        match self.templates.get(node.template.as_str()).copied() {
            None => {
                let message = format!("there is no template `{}`", node.template);
                self.add(&format!("{path}.template"), message);
            }
            Some(template) => {
                let given = &node.arguments.parameters;
                let given = given
                    .iter()
                    .filter(|it| it.value.is_some() || it.default.is_some())
                    .map(|it| it.name.as_str());
                self.bound(&format!("{path}.arguments"), template, &given.collect());
            }
        }
        if let Some(items) = &node.items {
            self.items(&format!("{path}.items"), items, known);
        }
        known.item = node.items.is_some();
        for (at, parameter) in node.arguments.parameters.iter().enumerate() {
            if let Some(value) = &parameter.value {
                self.text(&format!("{path}.arguments.parameters[{at}].value"), value, known);
            }
        }
        if let Some(condition) = &node.when {
            let path = format!("{path}.when");
            self.text(&path, condition, known);
            // A condition that is one tag is read when it has a value.
            let tag = condition.trim();
            let whole = matches!(text::pieces(tag).as_slice(), [text::Piece::Tag(_)]);
            if !whole && let Err(message) = when::parse(condition) {
                self.add(&path, message);
            }
        }
        known.item = false;
    }

    fn items(&mut self, path: &str, items: &Items, known: &Known<'_>) {
        let value = serde_json::to_value(items).expect("items are JSON");
        self.texts(path, &value, known);
        let is_plain = |text: &Option<String>| {
            text.as_deref().is_none_or(|text| text::tags(text).next().is_none())
        };
        match items {
            Items::List(all) if all.len() > FANOUT_MAX => {
                self.add(path, format!("{} items, and {FANOUT_MAX} are the most", all.len()));
            }
            Items::List(_) => {}
            Items::Param(text) => {
                if text::tags(text).next().is_none()
                    && let Err(message) = items::expand(items, &|_| None)
                {
                    self.add(path, message);
                }
            }
            Items::Sequence { count, start, end, format } => {
                if let Some(format) = format.as_deref().filter(|_| is_plain(format))
                    && let Err(message) = Format::parse(format)
                {
                    self.add(&format!("{path}.sequence.format"), message);
                } else if [count, start, end, format].into_iter().all(is_plain)
                    && let Err(message) = items::expand(items, &|_| None)
                {
                    self.add(path, message);
                } else if count.is_some() == end.is_some() {
                    let message = "a sequence has a count or an end, and not both".to_owned();
                    self.add(path, message);
                }
            }
        }
    }

    fn texts(&mut self, path: &str, value: &Value, known: &Known<'_>) {
        let mut found = Vec::new();
        each_text(path, value, &mut |path, text| found.push((path.to_owned(), text.to_owned())));
        for (path, text) in found {
            self.text(&path, &text, known);
        }
    }

    fn text(&mut self, path: &str, text: &str, known: &Known<'_>) {
        for tag in text::tags(text) {
            if let Err(why) = self.tag(tag, known) {
                self.add(path, format!("`{{{{{tag}}}}}`: {why}"));
            }
        }
    }

    /// Whether a tag can have a value.
    fn tag(&self, tag: &str, known: &Known<'_>) -> Result<(), String> {
        let no = |why: &str| Err(why.to_owned());
        let (root, rest) = tag.split_once('.').unwrap_or((tag, ""));
        match root {
            "workflow" => self.global(rest),
            "inputs" => {
                let name = rest.strip_prefix("parameters.");
                let own = &known.template.inputs.parameters;
                match name.is_some_and(|name| own.iter().any(|it| it.name == name)) {
                    true => Ok(()),
                    false => no("the template has no such input"),
                }
            }
            "item" if known.item => Ok(()),
            "item" => no("there are no items here"),
            "pod" if known.leaf && rest == "name" => Ok(()),
            "steps" | "tasks" if root == known.kind => self.sibling(rest, known),
            "steps" | "tasks" => no("such nodes are not known here"),
            _ => no("not supported"),
        }
    }

    fn global(&self, rest: &str) -> Result<(), String> {
        let arguments = &self.workflow.arguments.parameters;
        let named = |name: &str| arguments.iter().any(|it| it.name == name);
        match rest {
            "name" | "namespace" | "uid" | "parameters" => Ok(()),
            "status" | "duration" if self.workflow.on_exit.is_some() => Ok(()),
            _ if rest.strip_prefix("parameters.").is_some_and(named) => Ok(()),
            _ => Err("the workflow has no such value".to_owned()),
        }
    }

    fn sibling(&self, rest: &str, known: &Known<'_>) -> Result<(), String> {
        let (name, what) = rest.split_once('.').unwrap_or((rest, ""));
        let Some(node) = known.siblings.get(name) else {
            return Err(format!("`{name}` has not ended by then"));
        };
        let template = self.templates.get(node.template.as_str());
        match what {
            "status" => Ok(()),
            "outputs.result" | "exitCode" | "outputs.exitCode" => {
                // Of one that is done for several items, results are a list, whoever it calls.
                let leaf = template.is_none_or(|it| matches!(it.body, Body::Task(_)));
                let ok = leaf || node.items.is_some() && what == "outputs.result";
                if ok { Ok(()) } else { Err(format!("`{name}` is no task")) }
            }
            _ => {
                let output = what.strip_prefix("outputs.parameters.");
                let has = |it: &&Template| {
                    output.is_some_and(|output| it.outputs.parameters.contains_key(output))
                };
                match template.is_none_or(has) {
                    true => Ok(()),
                    false => Err(format!("`{name}` has no such output")),
                }
            }
        }
    }

    /// Templates that call themselves whatever happens: they can only end at the bound of depth.
    fn endless(&mut self) {
        let always = |template: &Template| -> Vec<String> {
            let unconditional = |node: &&Node| {
                node.when.is_none() && node.items.is_none() && node.depends.is_none()
            };
            let nodes: Vec<&Node> = match &template.body {
                Body::Steps(groups) => groups.iter().flatten().collect(),
                Body::Dag(nodes) => nodes.iter().collect(),
                Body::Task(_) | Body::Suspend { .. } => Vec::new(),
            };
            nodes.into_iter().filter(unconditional).map(|node| node.template.clone()).collect()
        };
        let calls: BTreeMap<&str, Vec<String>> =
            self.templates.iter().map(|(&name, template)| (name, always(template))).collect();
        for (at, template) in self.workflow.templates.iter().enumerate() {
            let mut seen = BTreeSet::new();
            let mut next = vec![template.name.as_str()];
            while let Some(name) = next.pop() {
                for call in calls.get(name).into_iter().flatten() {
                    if seen.insert(call.as_str()) {
                        next.push(call);
                    }
                }
            }
            if seen.contains(template.name.as_str()) {
                let message = format!("`{}` calls itself without a condition", template.name);
                self.add(&format!("templates[{at}]"), message);
            }
        }
    }
}
