//! What runs in a container, as mason's own dialect has it.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::flow::checked_name;
use super::super::problem::shown;
use super::super::quantity::{parse_bytes, parse_cpu};
use super::super::{rules, twice};
use super::{mount, probe, some_span, span};
use crate::spec::{EnvFrom, EnvSource, EnvVar, PullPolicy, Resources, Security, Stop, Task};

/// The maps in which the fields of a task may lie.
pub(super) struct Sources<'m, 'a>(pub(super) &'m [&'m Map<'a>]);

impl<'a> Sources<'_, 'a> {
    /// The value of a key in the one of them that has it.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        let mut found: Vec<Field<'a>> = self.0.iter().filter_map(|map| map.get(key)).collect();
        for other in found.split_off(found.len().min(1)) {
            other.bad(format!("is given twice: at {}, too", found[0].path));
        }
        found.pop()
    }
}

/// The task of a job, service or cron: its fields lie in `map`, in its `task`, or in that's `main`.
pub(super) fn task(map: &Map<'_>) -> Task {
    let mut task = parts(map);
    // Only here: a template of a workflow has outputs of its own.
    for (name, field) in map.get("outputs").map(|field| field.pairs()).unwrap_or_default() {
        checked_name(&name, &field);
        task.outputs.extend(rules::absolute(&field).map(|path| (name, path)));
    }
    task
}

fn parts(map: &Map<'_>) -> Task {
    let Some(inner) = map.get("task") else { return read(&Sources(&[map]), map) };
    let task = inner.map(|task| {
        task.not_yet(&["sidecars"]);
        let Some(main) = task.get("main") else { return read(&Sources(&[map, task]), task) };
        main.map(|main| read(&Sources(&[map, task, main]), main))
            .unwrap_or_else(|| Task::new("", &[]))
    });
    task.unwrap_or_else(|| Task::new("", &[]))
}

/// Reads a task. `home` is where an image is missed if there is none.
pub(super) fn read(from: &Sources<'_, '_>, home: &Map<'_>) -> Task {
    let mut task = Task::new("", &[]);
    match from.get("image") {
        Some(image) => task.image = rules::image(&image).unwrap_or_default(),
        None => home.bad_at("image", "is missing"),
    }
    if let Some(pull) = from.get("pull") {
        let known = [
            ("missing", PullPolicy::Missing),
            ("always", PullPolicy::Always),
            ("never", PullPolicy::Never),
        ];
        task.pull = pull.one_of(&known).unwrap_or_default();
    }
    let words = |field: Field<'_>| field.words();
    task.command = from.get("command").map(words).unwrap_or_default();
    task.args = from.get("args").map(words).unwrap_or_default();
    task.workdir = from.get("workdir").and_then(|field| rules::absolute(&field));
    task.hostname = from.get("hostname").and_then(|field| rules::name(&field));
    task.env = from.get("env").map(|field| env(&field)).unwrap_or_default();
    task.env_from = from.get("envFrom").map(|field| env_from(&field)).unwrap_or_default();
    task.mounts = from.get("mounts").map(|field| mount::mounts(&field)).unwrap_or_default();
    task.ports = from.get("ports").map(|field| ports(&field)).unwrap_or_default();
    (task.request, task.limit) = resources(from);
    if let Some(probes) = from.get("probes") {
        (task.ready, task.live) = probe::probes(&probes, &task.ports);
    }
    task.stop = from.get("stop").and_then(|field| stop(&field)).unwrap_or_default();
    task.security = from.get("security").and_then(|field| security(&field)).unwrap_or_default();
    task.runtime = from.get("runtime").and_then(|field| rules::name(&field));
    task.timeout = from.get("timeout").and_then(|field| some_span(&field));
    match from.get("init") {
        Some(init) if init.is_list() => init.unsupported("is not supported yet: init containers"),
        Some(init) => task.init = init.bool().unwrap_or(true),
        None => {}
    }
    if let Some(capture) = from.get("capture") {
        task.capture_bytes = capture_bytes(&capture).unwrap_or(0);
    }
    task
}

/// What is kept of its output at most: results share a value of the store with all else.
const CAPTURE_MAX: u64 = 32 << 10;

fn capture_bytes(field: &Field<'_>) -> Option<u32> {
    let bytes = field.parse(parse_bytes)?;
    if bytes > CAPTURE_MAX {
        field.bad("must be at most 32Ki: a result is a small thing");
        return None;
    }
    u32::try_from(bytes).ok()
}

/// Names to values, or a list of maps with a `name` each.
fn env(field: &Field<'_>) -> Vec<EnvVar> {
    let mut vars = Vec::new();
    if !field.is_list() {
        let all = |map: &Map<'_>| {
            for (name, field) in map.all() {
                rules::variable(name, &field);
                let value = match field.is_map() {
                    true => field.map(|map| source(map)).flatten(),
                    false => field.word().map(EnvSource::Text),
                };
                vars.extend(value.map(|value| EnvVar { name: name.to_owned(), value }));
            }
        };
        field.map(all);
        return vars;
    }
    let mut named = Vec::new();
    for item in field.list() {
        item.map(|map| {
            let Some(name) = map.need("name") else { return };
            let text = name.filled().unwrap_or_default();
            rules::variable(&text, &name);
            named.push((text.clone(), name));
            if let Some(value) = source(map) {
                vars.push(EnvVar { name: text, value });
            }
        });
    }
    twice(named);
    vars
}

fn source(map: &Map<'_>) -> Option<EnvSource> {
    let text = map.get("value");
    let config = map.get("config");
    let secret = map.get("secret");
    let about = map.get("field");
    let given = [&text, &config, &secret, &about].into_iter().flatten().count();
    if given != 1 {
        map.field().bad("must have one of value, config, secret and field");
    }
    if let Some(text) = text {
        return text.word().map(EnvSource::Text);
    }
    if let Some(about) = about {
        return field_of_run(&about);
    }
    let optional = map.get("optional").and_then(|field| field.bool()).unwrap_or(false);
    let key = map.need("key").and_then(|field| {
        let key = field.text()?;
        rules::data_key(&key, &field);
        Some(key)
    })?;
    match (config, secret) {
        (Some(name), _) => rules::name(&name).map(|name| EnvSource::Config { name, key, optional }),
        (None, Some(name)) => {
            rules::name(&name).map(|name| EnvSource::Secret { name, key, optional })
        }
        (None, None) => None,
    }
}

/// What a task can be told about its run.
pub(super) const FIELDS: [&str; 7] = ["name", "namespace", "index", "node", "run", "attempt", "ip"];

fn field_of_run(field: &Field<'_>) -> Option<EnvSource> {
    let known = FIELDS.map(|name| (name, name));
    field.one_of(&known).map(|name| EnvSource::Field(name.to_owned()))
}

fn env_from(field: &Field<'_>) -> Vec<EnvFrom> {
    let read = |item: Field<'_>| {
        let one = item.map(|map| {
            let (config, secret) = (map.get("config"), map.get("secret"));
            if config.is_some() == secret.is_some() {
                map.field().bad("must have one of config and secret");
            }
            let from = secret.as_ref().or(config.as_ref())?;
            let prefix = map.get("prefix").and_then(|prefix| {
                let text = prefix.text()?;
                if !text.is_empty() {
                    rules::variable(&text, &prefix);
                }
                Some(text)
            });
            Some(EnvFrom {
                name: rules::name(from)?,
                secret: secret.is_some(),
                prefix: prefix.unwrap_or_default(),
                optional: map.get("optional").and_then(|field| field.bool()).unwrap_or(false),
            })
        });
        one.flatten()
    };
    field.list().into_iter().filter_map(read).collect()
}

/// Names to numbers, or a list of numbers.
fn ports(field: &Field<'_>) -> BTreeMap<String, u16> {
    if field.is_list() {
        let ports = field.list().into_iter().filter_map(|field| rules::port(&field));
        return ports.map(|port| (port.to_string(), port)).collect();
    }
    let mut ports = BTreeMap::new();
    for (name, field) in field.pairs() {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            field.bad(format!("{} is no name of a port", shown(&name)));
        }
        if let Some(port) = rules::port(&field) {
            ports.insert(name, port);
        }
    }
    ports
}

/// What is set aside and what may be used. What only has a limit is set aside so much; what only
/// says how many processes may use no more.
fn resources(from: &Sources<'_, '_>) -> (Resources, Resources) {
    let amounts = |field: Field<'_>| field.map(|map| amounts(map)).unwrap_or_default();
    let request = from.get("resources").map(amounts).unwrap_or_default();
    let limits = from.get("limits");
    let limit = limits.clone().map(amounts).unwrap_or_default();
    let small = Resources::SMALL;
    let resources = Resources {
        cpu: request.cpu.or(limit.cpu.filter(|&cpu| cpu > 0)).unwrap_or(small.cpu),
        memory: request.memory.or(limit.memory.filter(|&bytes| bytes > 0)).unwrap_or(small.memory),
        disk: request.disk.or(limit.disk).unwrap_or(small.disk),
        pids: request.pids.or(limit.pids).unwrap_or(small.pids),
    };
    let bounds = Resources {
        cpu: limit.cpu.unwrap_or(0),
        memory: limit.memory.unwrap_or(0),
        disk: limit.disk.unwrap_or(0),
        pids: limit.pids.unwrap_or(resources.pids),
    };
    if let Some(field) = limits {
        within(&field, resources, bounds);
    }
    (resources, bounds)
}

/// Reports limits below what is set aside.
pub(in super::super) fn within(field: &Field<'_>, request: Resources, limit: Resources) {
    let below = |what: &str, request: u64, limit: u64| {
        if limit != 0 && limit < request {
            field.bad(format!("must not be less than what is set aside: {what}"));
        }
    };
    below("cpu", request.cpu.into(), limit.cpu.into());
    below("memory", request.memory, limit.memory);
    below("disk", request.disk, limit.disk);
    below("pids", request.pids.into(), limit.pids.into());
}

#[derive(Default)]
struct Amounts {
    cpu: Option<u32>,
    memory: Option<u64>,
    disk: Option<u64>,
    pids: Option<u32>,
}

fn amounts(map: &Map<'_>) -> Amounts {
    map.not_yet(&["devices"]);
    Amounts {
        cpu: map.get("cpu").and_then(|field| field.parse(parse_cpu)),
        memory: map.get("memory").and_then(|field| field.parse(parse_bytes)),
        disk: map.get("disk").and_then(|field| field.parse(parse_bytes)),
        pids: map.get("pids").and_then(|field| field.u32()),
    }
}

fn stop(field: &Field<'_>) -> Option<Stop> {
    field.map(|map| {
        map.not_yet(&["rewrite"]);
        let usual = Stop::default();
        Stop {
            signal: map
                .get("signal")
                .and_then(|field| rules::signal(&field))
                .unwrap_or(usual.signal),
            grace: map.get("grace").and_then(|field| span(&field)).unwrap_or(usual.grace),
        }
    })
}

fn security(field: &Field<'_>) -> Option<Security> {
    field.map(|map| {
        if let Some(seccomp) = map.get("seccomp")
            && seccomp.word().as_deref() != Some("default")
        {
            seccomp.unsupported("is not supported yet, other than `default`");
        }
        let flag = |key| map.get(key).and_then(|field| field.bool()).unwrap_or(false);
        let id = |key| map.get(key).and_then(|field| field.u32());
        let capabilities = map.get("capAdd").map(|field| capabilities(&field));
        Security {
            user: id("user"),
            group: id("group"),
            read_only_root: flag("readOnlyRoot"),
            capabilities: capabilities.unwrap_or_default(),
            non_root: flag("nonRoot"),
        }
    })
}

/// Capabilities by name, with or without `CAP_`.
pub(in super::super) fn capabilities(field: &Field<'_>) -> Vec<String> {
    let read = |field: Field<'_>| {
        let text = field.text()?;
        let name = text.strip_prefix("CAP_").unwrap_or(&text).to_owned();
        let plain = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        if name == "ALL" || name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            field.bad(format!("must be one capability, as NET_BIND_SERVICE, not {}", shown(&text)));
            return None;
        }
        Some(name)
    };
    field.list().into_iter().filter_map(read).collect()
}
