//! Leniency: what is not supported is ignored, and said.

use mason_core::manifest::{Options, read};

use super::{GOOD, refused};

/// Every ignored field is named: whoever asked for leniency still learns what they go without.
#[test]
fn every_ignored_field_is_a_warning_with_its_path() {
    let text = "{kind: Job, name: a, image: x, gang: 1, hooks: {}, task: {sidecars: [1]}, nmae: b}";
    let problems = refused(text);
    assert_eq!(problems.lines().count(), 4, "{problems}");
    let objects = read(text, &Options { lenient: true }).unwrap();
    let warnings = objects[0].warnings.join("\n");
    for path in ["gang", "hooks", "task.sidecars", "nmae"] {
        assert!(warnings.contains(&format!("{path}: ignored: ")), "{path} in {warnings}");
    }
    assert!(warnings.contains("did you mean `name`"), "{warnings}");
}

/// Leniency must not change what is read of a manifest that needs none.
#[test]
fn good_manifests_are_read_alike() {
    for (name, text) in GOOD {
        let strict = read(text, &Options::default()).unwrap();
        let lenient = read(text, &Options { lenient: true }).unwrap();
        assert!(strict == lenient, "{name}");
    }
}

/// Without a template a node is nothing, and a template without a body would wait for ever: to go
/// on without those is not what leniency is for.
#[test]
fn what_carries_the_rest_is_not_ignored() {
    let workflow = |templates: &str| {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: a}}\n\
             spec: {{entrypoint: m, templates: [{templates}]}}\n"
        )
    };
    let task = "{name: t, container: {image: x}}";
    let lenient = |text: &str| read(text, &Options { lenient: true });
    lenient(&workflow(&format!("{{name: m, steps: [[{{name: a, template: t}}]]}}, {task}")))
        .unwrap();
    for (template, path) in [
        (
            "{name: m, steps: [[{name: a, templateRef: {name: x, template: y}}]]}",
            "steps[0][0].template",
        ),
        ("{name: m, resource: {action: create}}", "templates[0]"),
        ("{name: m, http: {url: x}}", "templates[0]"),
    ] {
        let problems = lenient(&workflow(&format!("{template}, {task}"))).unwrap_err().to_string();
        assert!(problems.contains(path), "{path} is not in {problems}");
    }
    assert!(lenient("{kind: Queue, name: a}").is_err(), "an object is no field");
    assert!(lenient("{apiVersion: v1, kind: Service, metadata: {name: a}}").is_err());
}
