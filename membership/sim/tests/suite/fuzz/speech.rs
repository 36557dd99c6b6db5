//! Bodies of packets, made as a script says and `message.rs`, `rumor.rs`, `broadcast.rs` and
//! `metadata.rs` of the core draw them: sound ones, as a rule, of which nothing need be true.

use drystone_membership::NodeId;

use super::script::Script;

const PING: u8 = 1;
const ASK: u8 = 4;
const GOSSIP: u8 = 5;
const WORDS: u8 = 1;
const BROADCASTS: u8 = 2;
/// Messages of this kind and above come by stream.
const STREAMS: u8 = 10;
const KINDS: u8 = 18;
/// As many packets are remembered, to be answered or said again.
const HEARD_MAX: usize = 8;

/// What a packet says, and how it comes.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) stream: bool,
    pub(crate) bytes: Vec<u8>,
}

/// What a member has said of late.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    seqs: Vec<u32>,
    bodies: Vec<Body>,
}

impl Heard {
    pub(crate) fn note(&mut self, body: Body) {
        if let Some(seq) = body.bytes.get(9..13).filter(|_| [PING, ASK].contains(&body.bytes[8])) {
            self.seqs.push(u32::from_le_bytes(seq.try_into().expect("four bytes")));
        }
        self.bodies.push(body);
        let surplus = self.seqs.len().saturating_sub(HEARD_MAX);
        self.seqs.drain(..surplus);
        let surplus = self.bodies.len().saturating_sub(HEARD_MAX);
        self.bodies.drain(..surplus);
    }

    /// The number of a question, so that an answer to it fits.
    fn seq(&self, script: &mut Script<'_>) -> Option<u32> {
        let byte = script.byte()?;
        match self.seqs.len() {
            count if count > 0 && byte < 200 => Some(self.seqs[usize::from(byte) % count]),
            _ => script.number(),
        }
    }

    /// Something that was said, from another mouth.
    pub(crate) fn echo(&self, script: &mut Script<'_>) -> Option<Body> {
        let place = usize::from(script.byte()?);
        let mut body = self.bodies.get(place % HEARD_MAX)?.clone();
        body.bytes[..8].copy_from_slice(&script.id()?.0.to_le_bytes());
        Some(body)
    }
}

/// Hurts a body in a place or two, now and then.
pub(crate) fn hurt(script: &mut Script<'_>, body: &mut Body) -> Option<()> {
    let flaws = script.byte()?.saturating_sub(250);
    for _ in 0..flaws {
        let place = script.short()? % body.bytes.len().max(1);
        match script.below(4)? {
            0 => body.bytes.truncate(place),
            1 => body.stream = !body.stream,
            2 => body.bytes.insert(place, script.byte()?),
            _ if place < body.bytes.len() => body.bytes[place] = script.byte()?,
            _ => {}
        }
    }
    Some(())
}

/// A message, and news if it is a datagram.
pub(crate) fn compose(script: &mut Script<'_>, heard: &Heard) -> Option<Body> {
    let (kind, sender) = (script.below(KINDS)? + 1, script.id()?);
    let mut out = sender.0.to_le_bytes().to_vec();
    out.push(kind);
    message(script, heard, kind, sender, &mut out)?;
    let stream = kind >= STREAMS;
    for _ in 0..if stream { 0 } else { script.below(4)? } {
        let (lane, count) = (script.below(4)? + 1, script.below(6)?);
        out.extend_from_slice(&[lane, count]);
        for _ in 0..count {
            match lane {
                WORDS => word(script, None, &mut out)?,
                BROADCASTS => {
                    let (id, life, number) = (script.id()?, script.number()?, script.number()?);
                    broadcast(id, life, number, script.bytes()?, &mut out);
                }
                _ => delta(script, &mut out)?,
            }
        }
    }
    // Probes may come by stream, too.
    let stream = stream || kind <= 2 && script.once_in(4)?;
    Some(Body { stream, bytes: out })
}

fn message(
    script: &mut Script<'_>,
    heard: &Heard,
    kind: u8,
    sender: NodeId,
    out: &mut Vec<u8>,
) -> Option<()> {
    match kind {
        1 => {
            put_u32(out, heard.seq(script)?);
            let to = if script.once_in(8)? { script.number()? } else { 1 };
            put_u32(out, to);
        }
        2 | 3 => put_u32(out, heard.seq(script)?),
        ASK => {
            put_u32(out, heard.seq(script)?);
            put_u64(out, script.id()?.0);
            addr(script, out)?;
        }
        6 => {
            put_u64(out, script.large()?);
            out.push(buckets(script)?);
            word(script, Some(sender), out)?;
        }
        8 | 10 => word(script, Some(sender), out)?,
        11 => words(script, out)?,
        12 | 18 => {
            put_u32(out, script.number()?);
            addr(script, out)?;
        }
        13 => {
            let bits = buckets(script)?;
            out.push(bits);
            out.extend(std::iter::repeat_n(script.byte()?, 4 << bits.min(10)));
        }
        14 => {
            let bits = if script.once_in(2)? { 0 } else { buckets(script)? };
            out.push(bits);
            out.extend(std::iter::repeat_n(script.byte()?, (1 << bits.min(10)) / 8));
            words(script, out)?;
        }
        15 => {
            for _ in 0..script.below(5)? {
                put_u64(out, script.id()?.0);
                put_u32(out, script.number()?);
                put_varint(out, script.large()?);
            }
        }
        16 => {
            for _ in 0..script.below(4)? {
                delta(script, out)?;
            }
        }
        17 => ring(script, out)?,
        _ => {}
    }
    Some(())
}

/// A number of buckets, as a power of two: 256, 512 or 1024, and now and then one out of bounds.
fn buckets(script: &mut Script<'_>) -> Option<u8> {
    if script.once_in(16)? { script.byte() } else { Some(8 + script.below(3)?) }
}

fn words(script: &mut Script<'_>, out: &mut Vec<u8>) -> Option<()> {
    let count = script.below(9)?;
    out.push(count);
    (0..count).try_for_each(|_| word(script, None, out))
}

/// A word about a member; alive and with a card if it introduces itself.
fn word(script: &mut Script<'_>, introduces: Option<NodeId>, out: &mut Vec<u8>) -> Option<()> {
    const CARD: u8 = 4;
    const SUSPECT: u8 = 1;
    let says = if introduces.is_some() { 0 } else { script.below(4)? };
    let has_card = says == 0 || script.once_in(3)?;
    out.push(says | if has_card { CARD } else { 0 });
    let id = if let Some(id) = introduces { id } else { script.id()? };
    put_u64(out, id.0);
    put_u32(out, script.number()?);
    put_varint(out, script.number()?.into());
    if has_card {
        addr(script, out)?;
        for letter in [b'z', b'n'] {
            let len = usize::from(script.byte()?).saturating_sub(180);
            put_slice(out, &vec![letter; len]);
        }
        put_varint(out, script.number()?.into());
        put_varint(out, script.large()?);
    }
    if says == SUSPECT {
        let count = script.below(15)?;
        out.push(count);
        for _ in 0..count {
            put_u64(out, script.id()?.0);
        }
    }
    Some(())
}

fn broadcast(id: NodeId, life: u32, number: u32, payload: &[u8], out: &mut Vec<u8>) {
    put_u64(out, id.0);
    put_u32(out, life);
    put_varint(out, number.into());
    put_slice(out, b"topic");
    put_slice(out, payload);
}

/// A change of somebody's metadata.
fn delta(script: &mut Script<'_>, out: &mut Vec<u8>) -> Option<()> {
    put_u64(out, script.id()?.0);
    put_u32(out, script.number()?);
    put_varint(out, script.large()?);
    let version = script.large()?;
    put_varint(out, version);
    let count = script.below(6)?;
    out.push(count);
    for _ in 0..count {
        put_slice(out, &vec![b'a' + script.below(26)?; usize::from(script.below(4)?)]);
        put_varint(out, version.saturating_sub(script.below(8)?.into()));
        out.push(script.below(2)?);
        if out.last() == Some(&1) {
            put_slice(out, script.bytes()?);
        }
    }
    Some(())
}

fn ring(script: &mut Script<'_>, out: &mut Vec<u8>) -> Option<()> {
    put_u64(out, script.large()?);
    let count = script.below(10)?;
    out.extend_from_slice(&[count, script.below(count + 1)?]);
    for _ in 0..count {
        out.extend_from_slice(&[script.below(8)?; 32]);
    }
    Some(())
}

fn addr(script: &mut Script<'_>, out: &mut Vec<u8>) -> Option<()> {
    let addr = script.addr()?;
    match addr.ip() {
        std::net::IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        std::net::IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&addr.port().to_le_bytes());
    Some(())
}

/// Very much of one thing: a member that is alive again and again, members that come and leave,
/// broadcasts without end.
pub(crate) fn flood(script: &mut Script<'_>) -> Option<Vec<Body>> {
    const ENTRIES: u32 = 64;
    let (what, id, from) = (script.below(3)?, script.id()?, script.number()?);
    let sender = script.id()?;
    let mut bodies = Vec::new();
    for first in 0..u32::from(script.below(16)?) + 1 {
        let mut out = sender.0.to_le_bytes().to_vec();
        out.extend_from_slice(&[GOSSIP, if what == 2 { BROADCASTS } else { WORDS }]);
        out.push(ENTRIES as u8);
        for number in 0..ENTRIES {
            let number = from.saturating_add(first * ENTRIES + number);
            match what {
                0 => alive(id, number, &mut out),
                1 if number % 2 == 0 => alive(NodeId(u64::from(number) << 8), 0, &mut out),
                1 => {
                    out.push(3);
                    put_u64(&mut out, u64::from(number - 1) << 8);
                    put_u32(&mut out, 1);
                    out.push(0);
                }
                _ => broadcast(id, 1, number, b"", &mut out),
            }
        }
        bodies.push(Body { stream: false, bytes: out });
    }
    Some(bodies)
}

fn alive(id: NodeId, count: u32, out: &mut Vec<u8>) {
    out.push(4);
    put_u64(out, id.0);
    put_u32(out, 1);
    put_varint(out, count.into());
    out.extend_from_slice(&[4, 10, 0, 0, id.0 as u8]);
    out.extend_from_slice(&7946_u16.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
