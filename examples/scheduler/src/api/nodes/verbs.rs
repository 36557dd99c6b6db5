//! Verbs on nodes.
//!
//! | verb | does |
//! |---|---|
//! | `cordon`, `uncordon` | nothing new is placed there; takes that back |
//! | `drain`, `undrain` | what runs there goes elsewhere `within` so long; takes that back |
//! | `interrupt` | the same, as a cloud's notice has it: attempts that it ends are not counted |
//! | `taint`, `untaint` | keeps tasks away that do not tolerate it |
//! | `label` | a label with a domain; those without are its agent's |
//! | `confirm-dead` | an operator swears that it is off: its runs are lost at once |
//! | `forget` | it is gone for good |

use mason_core::keys::Key;
use mason_core::manifest::{check_label, check_label_value};
use mason_core::mirror::{Mirror, Node};
use mason_core::record::{Drain, NOTICE, NodeRecord, Taint, encode};
use mason_core::txn::{Compare, Txn};
use mason_core::types::{Ms, NodeId};

use super::unknown;
use crate::api::change::Decision;
use crate::api::refuse::{Refused, shown};
use crate::api::wire::NodeChange;
use crate::server::unix_now;

/// How long a drain may take, if nobody says.
const DRAIN: Ms = 600_000;
/// The longest that anybody may say.
const WITHIN_MAX: Ms = 7 * 24 * 3_600_000;
/// Taints, and labels, of a node at most.
const MARKS_MAX: usize = 256;

const VERBS: [&str; 10] = [
    "cordon",
    "uncordon",
    "drain",
    "undrain",
    "interrupt",
    "taint",
    "untaint",
    "label",
    "confirm-dead",
    "forget",
];

/// Whether a verb is asked for with what it takes, and with nothing else.
pub(super) fn check_fields(verb: &str, change: &NodeChange) -> Result<(), Refused> {
    if !VERBS.contains(&verb) {
        let error = format!("{} is no verb of a node; there are {}", shown(verb), VERBS.join(", "));
        return Err(Refused::missing(error));
    }
    let NodeChange { within, key, value, effect } = change;
    let mut problems = Vec::new();
    let mut surplus = |name: &str, given: bool, of: &[&str]| {
        if given && !of.contains(&verb) {
            problems.push(format!("{name}: has no meaning for {verb}"));
        }
    };
    surplus("within", within.is_some(), &["drain", "interrupt"]);
    surplus("key", !key.is_empty(), &["taint", "untaint", "label"]);
    surplus("value", value.is_some(), &["taint", "label"]);
    surplus("effect", effect.is_some(), &["taint", "untaint"]);
    if within.is_some_and(|within| within > WITHIN_MAX) {
        problems.push("within: is longer than a week".to_owned());
    }
    if matches!(verb, "taint" | "untaint" | "label") {
        check_key(verb, change, &mut problems);
    }
    if verb == "taint" && effect.is_none() {
        problems.push("effect: is missing: no-schedule, prefer-no-schedule or no-execute".into());
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::problems(format!("{verb} cannot be done so"), problems)),
    }
}

fn check_key(verb: &str, change: &NodeChange, problems: &mut Vec<String>) {
    let NodeChange { key, value, .. } = change;
    match check_label(key) {
        _ if key.is_empty() => problems.push("key: is missing".to_owned()),
        Err(why) => problems.push(format!("key: {why}")),
        Ok(()) if verb == "label" && !key.contains('/') => problems.push(format!(
            "key: a label without a domain is the agent's, which would take it back at its next \
             start: write it as example.com/{key}, or give it to the agent"
        )),
        Ok(()) => {}
    }
    if let Some(why) = value.as_deref().and_then(|value| check_label_value(value).err()) {
        problems.push(format!("value: {why}"));
    }
}

/// What becomes of the node, and what there is to say.
pub(super) fn decide(
    mirror: &Mirror,
    id: &NodeId,
    verb: &str,
    change: &NodeChange,
) -> Result<Decision<String>, Refused> {
    let node = mirror.node(id).ok_or_else(|| unknown(id))?;
    let entry = node.record.as_ref().ok_or_else(|| unknown(id))?;
    let path = mirror.keys().path(&Key::Node(id.clone()));
    let txn = Txn::new().when(Compare::Changed(path.clone(), entry.changed));
    let alive = mirror.keys().path(&Key::Alive(id.clone()));
    if verb == "forget" {
        may_be_forgotten(id, node)?;
        let txn = txn.when(Compare::Absent(alive)).delete(path);
        return Ok(Decision::Write(txn, format!("node {id} is forgotten")));
    }
    let mut record = entry.value.clone();
    let message = edit(id, &mut record, verb, change)?;
    if record == entry.value {
        return Ok(Decision::Keep(format!("{message} already")));
    }
    if verb == "confirm-dead" {
        if let Some(alive) = &node.alive {
            let error = format!(
                "node {id} lives: its agent at {} renews its lease; stop that, or drain the node",
                alive.value.address
            );
            return Err(Refused::conflict(error));
        }
        let txn = txn.when(Compare::Absent(alive)).put(path, encode(&record));
        return Ok(Decision::Write(txn, message));
    }
    Ok(Decision::Write(txn.put(path, encode(&record)), message))
}

fn may_be_forgotten(id: &NodeId, node: &Node) -> Result<(), Refused> {
    if node.alive.is_some() {
        let why = "lives: it would be back at once; stop its agent first";
        return Err(Refused::conflict(format!("node {id} {why}")));
    }
    match node.runs.len() {
        0 => Ok(()),
        some => {
            let why = "that are not taken to account yet; if it is off for good, confirm-dead it";
            Err(Refused::conflict(format!("node {id} has {some} runs {why}")))
        }
    }
}

fn edit(
    id: &NodeId,
    record: &mut NodeRecord,
    verb: &str,
    change: &NodeChange,
) -> Result<String, Refused> {
    let NodeChange { within, key, value, effect } = change;
    let drain =
        |within: Ms, interrupted| Drain { until: unix_now().saturating_add(within), interrupted };
    let seconds = |within: Ms| within.div_ceil(1000);
    let message = match verb {
        "cordon" => {
            record.cordoned = true;
            format!("node {id} takes nothing new")
        }
        "uncordon" => {
            record.cordoned = false;
            format!("node {id} takes tasks")
        }
        "drain" => {
            let within = within.unwrap_or(DRAIN);
            record.drain = Some(drain(within, false));
            format!("what runs on node {id} goes elsewhere within {} s", seconds(within))
        }
        "interrupt" => {
            let within = within.unwrap_or(NOTICE);
            record.drain = Some(drain(within, true));
            format!("node {id} is taken away in {} s: its tasks go elsewhere", seconds(within))
        }
        "undrain" => {
            record.drain = None;
            format!("node {id} is not drained")
        }
        "taint" => {
            let effect = effect.expect("checked before");
            record.taints.retain(|it| it.key != *key || it.effect != effect);
            let value = value.clone().unwrap_or_default();
            record.taints.push(Taint { key: key.clone(), value, effect });
            record.taints.sort_by(|a, b| a.key.cmp(&b.key));
            format!("node {id} has the taint {key}")
        }
        "untaint" => {
            record
                .taints
                .retain(|it| it.key != *key || effect.is_some_and(|effect| it.effect != effect));
            format!("node {id} has no such taint {key}")
        }
        "label" => match value {
            Some(value) => {
                record.labels.insert(key.clone(), value.clone());
                format!("node {id} has the label {key}={value}")
            }
            None => {
                record.labels.remove(key);
                format!("node {id} has no label {key}")
            }
        },
        _ => {
            record.confirmed_dead = true;
            format!("node {id} is taken for dead: its runs are lost, and start elsewhere")
        }
    };
    if record.taints.len() > MARKS_MAX || record.labels.len() > MARKS_MAX {
        let error = format!("node {id} would have more than {MARKS_MAX} taints or labels");
        return Err(Refused::conflict(error));
    }
    Ok(message)
}
