//! A container of a pod, or of an Argo template.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::native::task::{capabilities, within};
use super::super::quantity::{parse_bytes, parse_cpu};
use super::super::rules;
use super::volume::Volumes;
use super::{CAPABILITIES, env, flag, only, probe};
use crate::spec::{PullPolicy, Resources, Security, Task};

/// What a pod says for all its containers.
#[derive(Default)]
pub(in super::super) struct Defaults {
    user: Option<u32>,
    group: Option<u32>,
    non_root: bool,
}

impl Defaults {
    /// From the `securityContext` of a pod.
    pub(in super::super) fn of_pod(map: &Map<'_>) -> Defaults {
        let Some(field) = map.get("securityContext") else { return Defaults::default() };
        let read = |map: &Map<'_>| {
            seccomp(map);
            map.not_yet(&["fsGroup", "fsGroupChangePolicy", "supplementalGroups", "sysctls"]);
            map.not_yet(&["seLinuxOptions", "windowsOptions", "appArmorProfile"]);
            Defaults {
                user: map.get("runAsUser").and_then(|field| field.u32()),
                group: map.get("runAsGroup").and_then(|field| field.u32()),
                non_root: flag(map, "runAsNonRoot").unwrap_or(false),
            }
        };
        field.map(read).unwrap_or_default()
    }

    /// From the `securityContext` of something within a whole that has one, too.
    pub(in super::super) fn within(map: &Map<'_>, outer: &Defaults) -> Defaults {
        let own = Defaults::of_pod(map);
        Defaults {
            user: own.user.or(outer.user),
            group: own.group.or(outer.group),
            non_root: own.non_root || outer.non_root,
        }
    }
}

/// Reads a container, but for its name.
pub(in super::super) fn container(
    map: &Map<'_>,
    volumes: &Volumes<'_>,
    defaults: &Defaults,
    labels: &BTreeMap<String, String>,
) -> Task {
    let mut task = Task::new("", &[]);
    let image = map.need("image");
    task.image = image.and_then(|field| rules::image(&field)).unwrap_or_default();
    task.pull = pull(map, &task.image);
    task.command = map.get("command").map(|field| words(&field)).unwrap_or_default();
    task.args = map.get("args").map(|field| words(&field)).unwrap_or_default();
    task.workdir = map.get("workingDir").and_then(|field| rules::absolute(&field));
    task.env = map.get("env").map(|field| env::vars(&field, labels)).unwrap_or_default();
    task.env_from = map.get("envFrom").map(|field| env::whole(&field)).unwrap_or_default();
    task.ports = map.get("ports").map(|field| ports(&field)).unwrap_or_default();
    (task.request, task.limit) = resources(map);
    task.mounts = volumes.mounts(map);
    (task.ready, task.live) = probe::probes(map, &task.ports);
    task.security = security(map, defaults);
    for key in ["stdin", "stdinOnce", "tty"] {
        only(map, key, &["false"]);
    }
    only(map, "terminationMessagePath", &["/dev/termination-log"]);
    only(map, "terminationMessagePolicy", &["File"]);
    map.not_yet(&["lifecycle", "volumeDevices", "resizePolicy", "restartPolicy"]);
    task
}

/// The `source` of a script, beside what a container has.
pub(in super::super) fn scripted(map: &Map<'_>) -> Option<String> {
    map.need("source").and_then(|field| field.text())
}

/// The words of a command.
fn words(field: &Field<'_>) -> Vec<String> {
    field.texts().iter().map(|word| undoubled(word)).collect()
}

/// There, two dollars are one wherever they stand; here, only before a name in parentheses, where
/// they are left as they are.
pub(super) fn undoubled(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('$') {
        let count = rest[at..].bytes().take_while(|byte| *byte == b'$').count();
        let end = at + count;
        let dropped = if rest[end..].starts_with('(') { 0 } else { count / 2 };
        out.push_str(&rest[..end - dropped]);
        rest = &rest[end..];
    }
    out + rest
}

/// An image whose name means something else every day is asked for every time.
fn pull(map: &Map<'_>, image: &str) -> PullPolicy {
    let given = map.get("imagePullPolicy").and_then(|field| {
        field.one_of(&[
            ("Always", PullPolicy::Always),
            ("IfNotPresent", PullPolicy::Missing),
            ("Never", PullPolicy::Never),
        ])
    });
    let last = image.rsplit('/').next().unwrap_or(image);
    let floats = !last.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    given.unwrap_or(if floats { PullPolicy::Always } else { PullPolicy::Missing })
}

fn ports(field: &Field<'_>) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    for item in field.list() {
        item.map(|map| {
            let port = map.need("containerPort").and_then(|field| rules::port(&field));
            let name = map.get("name").and_then(|field| rules::name(&field));
            if let Some(protocol) = map.get("protocol") {
                protocol.one_of(&[("TCP", ()), ("UDP", ()), ("SCTP", ())]);
            }
            map.not_yet(&["hostPort", "hostIP"]);
            let Some(port) = port else { return };
            let name = name.unwrap_or_else(|| port.to_string());
            if ports.insert(name, port).is_some_and(|before| before != port) {
                map.field().bad("has the name of a port before it");
            }
        });
    }
    ports
}

/// Requests and limits. What has a limit alone is set aside so much, as there; what has neither is
/// set aside a little, so that a node does not take infinitely many.
fn resources(map: &Map<'_>) -> (Resources, Resources) {
    let small = (Resources::SMALL, Resources::default());
    let Some(field) = map.get("resources") else { return small };
    let read = |map: &Map<'_>| {
        let amounts =
            |key| map.get(key).and_then(|field: Field<'_>| field.map(amounts)).unwrap_or_default();
        let (request, limit) = (amounts("requests"), amounts("limits"));
        let set_aside = Resources {
            cpu: request.0.or(limit.0).unwrap_or(Resources::SMALL.cpu),
            memory: request.1.or(limit.1).unwrap_or(Resources::SMALL.memory),
            disk: request.2.or(limit.2).unwrap_or(Resources::SMALL.disk),
            pids: Resources::SMALL.pids,
        };
        let bound = Resources {
            cpu: limit.0.unwrap_or(0),
            memory: limit.1.unwrap_or(0),
            disk: limit.2.unwrap_or(0),
            pids: 0,
        };
        map.not_yet(&["claims"]);
        within(&map.get("limits").unwrap_or_else(|| map.field().clone()), set_aside, bound);
        (set_aside, bound)
    };
    field.map(read).unwrap_or(small)
}

type Amounts = (Option<u32>, Option<u64>, Option<u64>);

fn amounts(map: &Map<'_>) -> Amounts {
    let cpu = map.get("cpu").and_then(|field| field.parse(parse_cpu));
    let bytes = |key| map.get(key).and_then(|field: Field<'_>| field.parse(parse_bytes));
    (cpu, bytes("memory"), bytes("ephemeral-storage"))
}

fn seccomp(map: &Map<'_>) {
    if let Some(field) = map.get("seccompProfile") {
        field.map(|map| only(map, "type", &["RuntimeDefault"]));
    }
}

fn security(map: &Map<'_>, defaults: &Defaults) -> Security {
    let mut security = Security {
        user: defaults.user,
        group: defaults.group,
        read_only_root: false,
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        non_root: defaults.non_root,
    };
    let Some(field) = map.get("securityContext") else { return security };
    field.map(|map| {
        seccomp(map);
        let id = |key| map.get(key).and_then(|field: Field<'_>| field.u32());
        security.user = id("runAsUser").or(security.user);
        security.group = id("runAsGroup").or(security.group);
        security.non_root = flag(map, "runAsNonRoot").unwrap_or(security.non_root);
        security.read_only_root = flag(map, "readOnlyRootFilesystem").unwrap_or(false);
        only(map, "privileged", &["false"]);
        only(map, "allowPrivilegeEscalation", &["false"]);
        only(map, "procMount", &["Default"]);
        map.not_yet(&["seLinuxOptions", "windowsOptions", "appArmorProfile"]);
        let Some(field) = map.get("capabilities") else { return };
        field.map(|map| kept(map, &mut security.capabilities));
    });
    security
}

/// Drops, then adds.
fn kept(map: &Map<'_>, kept: &mut Vec<String>) {
    for field in map.get("drop").map(|field| field.list()).unwrap_or_default() {
        let Some(name) = field.text() else { continue };
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        kept.retain(|known| known != name && name != "ALL");
    }
    let added = map.get("add").map(|field| capabilities(&field)).unwrap_or_default();
    kept.extend(added);
    kept.sort();
    kept.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest that doubles its dollars, as it must there, means the same here.
    #[test]
    fn two_dollars_are_one_unless_a_name_follows() {
        for (text, expected) in [
            ("kill $$$$; echo $$HOME $A $", "kill $$; echo $HOME $A $"),
            ("$$(A) $(A) $$$(A)", "$$(A) $(A) $$$(A)"),
            ("$$$x", "$$x"),
        ] {
            assert_eq!(undoubled(text), expected, "{text}");
        }
    }
}
