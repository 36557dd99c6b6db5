//! What happens, a line each: for people, or as JSON for programs.
//!
//! A line of JSON has `at`, milliseconds since 1970, `event`, and what belongs to it; members are
//! called by their names there too.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use drystone_membership::runtime::Membership;
use drystone_membership::{Event, Member, Node, NodeId, Swim};
use serde_json::{Value, json};

/// Prints to standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    pub(crate) json: bool,
}

impl Printer {
    /// One line: what, about whom or what for people, and the fields for programs.
    fn line(self, event: &str, text: &str, mut fields: Value) -> io::Result<()> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let mut out = io::stdout().lock();
        if self.json {
            fields["at"] = at.into();
            fields["event"] = event.into();
            writeln!(out, "{fields}")
        } else {
            writeln!(out, "{}  {event:<11}  {text}", time_of_day(at))
        }?;
        out.flush()
    }

    pub(crate) fn complain(self, text: &str) -> io::Result<()> {
        self.line("sorry", text, json!({ "text": text }))
    }

    pub(crate) fn listening(self, membership: &Membership) -> io::Result<()> {
        let (me, local) = (membership.me(), membership.local_addr());
        let text = if me.addr == local { String::new() } else { format!(", bound to {local}") };
        let fields = json!({ "name": me.name, "id": me.id.to_string(), "addr": me.addr.to_string(),
            "local": local.to_string() });
        self.line("listening", &format!("{}{text}", describe(&me)), fields)
    }

    pub(crate) fn members(self, membership: &Membership) -> io::Result<()> {
        let members = membership.members();
        if self.json {
            let list: Vec<Value> = members.iter().map(member).collect();
            return self.line("members", "", json!({ "members": list }));
        }
        self.line("members", &members.len().to_string(), json!({}))?;
        for Member { node, state, incarnation } in &members {
            let meta = membership.meta_all(node.id);
            let meta = meta.iter().filter(|(key, _)| !key.starts_with('_'));
            let meta: String =
                meta.map(|(key, value)| format!(" {key}={}", abridged(value))).collect();
            let text = format!("{}, {state}, incarnation {incarnation}{meta}", describe(node));
            writeln!(io::stdout(), "              {text}")?;
        }
        Ok(())
    }

    pub(crate) fn meta(self, membership: &Membership, name: &str, key: &str) -> io::Result<()> {
        let value = membership.meta(NodeId::named(name), key);
        let text = value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned());
        let line = format!("{name} {key}={}", text.as_deref().unwrap_or("(nothing)"));
        self.line("meta", &line, json!({ "name": name, "key": key, "value": text }))
    }

    pub(crate) fn stats(self, membership: &Membership) -> io::Result<()> {
        let (core, metrics) = (membership.look(Swim::stats), membership.metrics());
        let fields = json!({
            "datagrams_in": metrics.datagrams_in, "datagrams_out": metrics.datagrams_out,
            "datagram_bytes": core.datagram_bytes, "refused": core.refused,
            "frames_in": metrics.frames_in, "frames_out": metrics.frames_out,
            "frames_unsent": metrics.frames_unsent, "stream_bytes": core.stream_bytes,
            "probes_failed": core.probes_failed, "probes_void": core.probes_void,
            "accused": core.accused, "health": membership.look(Swim::health),
        });
        self.line("stats", &format!("{core:?} {metrics:?}"), fields)
    }

    pub(crate) fn event(self, membership: &Membership, event: &Event) -> io::Result<()> {
        let name = |id: NodeId| name(membership, id);
        let about = |what, id| {
            let name = name(id);
            self.line(what, &name, json!({ "name": name }))
        };
        match event {
            Event::Admitted { by } => {
                let by = name(*by);
                self.line("admitted", &format!("by {by}"), json!({ "by": by }))
            }
            Event::Joined(node) => self.line("joined", &describe(node), card(node)),
            Event::Restarted(node) => self.line("restarted", &describe(node), card(node)),
            Event::Suspected { id, by } => {
                let (id, by) = (name(*id), name(*by));
                let fields = json!({ "name": id, "by": by });
                self.line("suspected", &format!("{id} by {by}"), fields)
            }
            Event::Recovered { id, .. } => about("recovered", *id),
            Event::Unreachable(id) => about("unreachable", *id),
            Event::Failed(id) => about("failed", *id),
            Event::Left(id) => about("left", *id),
            Event::Updated { id, keys } => {
                let id = name(*id);
                let fields = json!({ "name": id, "keys": keys });
                self.line("updated", &format!("{id} {}", keys.join(" ")), fields)
            }
            Event::Broadcast { from, topic, payload } => {
                let (from, text) = (name(*from), String::from_utf8_lossy(payload));
                let fields = json!({ "name": from, "topic": topic, "text": text });
                self.line("broadcast", &format!("{from} {topic}: {text}"), fields)
            }
            Event::Conflict { id, owner, claimant } => {
                let id = name(*id);
                let fields = json!({ "name": id, "owner": owner.to_string(),
                    "claimant": claimant.to_string() });
                let text = format!("{id} is at {owner}, and {claimant} says the same of itself");
                self.line("conflict", &text, fields)
            }
            Event::Keys { number, fingerprints } => {
                let prints: Vec<String> =
                    fingerprints.iter().map(|it| format!("{it:08x}")).collect();
                let text = format!("ring {number}: {}", prints.join(" "));
                self.line("keys", &text, json!({ "number": number, "fingerprints": prints }))
            }
            other => self.line("event", &format!("{other:?}"), json!({})),
        }
    }
}

/// What a member is called, or its id if nobody knows.
fn name(membership: &Membership, id: NodeId) -> String {
    let me = membership.me();
    let node = if id == me.id { Some(me) } else { membership.of(id).map(|member| member.node) };
    let name = node.map(|node| node.name).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| id.to_string())
}

fn describe(node: &Node) -> String {
    let zone = if node.zone.is_empty() { String::new() } else { format!(" in {}", node.zone) };
    format!("{} {}{zone}", node.name, node.addr)
}

fn card(node: &Node) -> Value {
    json!({ "name": node.name, "id": node.id.to_string(), "addr": node.addr.to_string(),
        "zone": node.zone })
}

fn member(member: &Member) -> Value {
    let mut value = card(&member.node);
    value["state"] = member.state.to_string().into();
    value["incarnation"] = member.incarnation.to_string().into();
    value
}

/// A value, as much of it as fits a line.
fn abridged(value: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(value).chars().take(40).collect();
    if value.len() > 40 { format!("{text}… ({} bytes)", value.len()) } else { text }
}

/// The time of day in UTC, which needs no calendar.
fn time_of_day(at: u64) -> String {
    let (seconds, ms) = (at / 1000 % 86_400, at % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
