//! Manifests: stories of what becomes of a text, hostile texts, and random damage.

mod hostile;
mod lenient;
mod mutate;
mod stories;

use std::fmt::Write as _;

use mason_core::manifest::{Body, Object, Options, Problems, read, show};

/// Manifests that are right, and must stay so: what users have.
pub(crate) const GOOD: [(&str, &str); 11] = [
    ("hello-workflow.yaml", include_str!("../manifests/hello-workflow.yaml")),
    ("nginx-deployment.yaml", include_str!("../manifests/nginx-deployment.yaml")),
    ("job.yaml", include_str!("../manifests/job.yaml")),
    ("service.yaml", include_str!("../manifests/service.yaml")),
    ("cron.yaml", include_str!("../manifests/cron.yaml")),
    ("workflow.yaml", include_str!("../manifests/workflow.yaml")),
    ("config.yaml", include_str!("../manifests/config.yaml")),
    ("kube-deployment.yaml", include_str!("../manifests/kube-deployment.yaml")),
    ("kube-job.yaml", include_str!("../manifests/kube-job.yaml")),
    ("argo-steps.yaml", include_str!("../manifests/argo-steps.yaml")),
    ("argo-dag.yaml", include_str!("../manifests/argo-dag.yaml")),
];

/// Reads without leniency.
pub(crate) fn strict(text: &str) -> Result<Vec<Object>, Problems> {
    read(text, &Options::default())
}

/// What is wrong with a text that must be wrong, one problem a line.
#[track_caller]
pub(crate) fn refused(text: &str) -> String {
    match strict(text) {
        Ok(objects) => panic!("is accepted: {objects:?}"),
        Err(problems) => problems.to_string(),
    }
}

const TAKES: &str = "a string takes everything";

/// An object as JSON, for people. Of a secret the keys and lengths alone.
pub(crate) fn told(object: &Object) -> String {
    let mut text = String::new();
    let namespace = object.namespace.as_deref().unwrap_or("-");
    write!(text, "{} {namespace}/{}", object.body.kind(), object.name).expect(TAKES);
    for (key, value) in &object.labels {
        write!(text, " {key}={value}").expect(TAKES);
    }
    text.push('\n');
    for warning in &object.warnings {
        writeln!(text, "warning: {warning}").expect(TAKES);
    }
    let json = match &object.body {
        Body::Work(work) => serde_json::to_string_pretty(work),
        Body::Config(config) => serde_json::to_string_pretty(config),
        Body::Secret { kind, data } => {
            let lengths: serde_json::Map<String, serde_json::Value> =
                data.iter().map(|(key, value)| (key.clone(), value.len().into())).collect();
            serde_json::to_string_pretty(&serde_json::json!({"kind": kind, "bytes": lengths}))
        }
        Body::Namespace => return text,
    };
    text.push_str(&json.expect("an object is JSON"));
    text.push('\n');
    text
}

/// What is printed of an object must be read as the same object.
#[track_caller]
pub(crate) fn check_show(object: &Object, options: &Options) {
    if matches!(object.body, Body::Secret { .. }) {
        return;
    }
    let printed = show(object);
    let again =
        read(&printed, options).unwrap_or_else(|problems| panic!("{problems}\nin\n{printed}"));
    let plain = |object: &Object| Object { warnings: Vec::new(), ..object.clone() };
    assert_eq!(again.iter().map(plain).collect::<Vec<_>>(), [plain(object)], "\n{printed}");
    assert_eq!(show(&again[0]), printed, "it is printed in one way");
}
