//! The core alone, driven by hand: three members on three threads, joined by std's channels.
//!
//! What is not here is a disk. A real driver writes what `Effect::Write` says and syncs it before
//! it answers `Stored`; this one answers at once, and its members must not be restarted.
//!
//! `cargo run -p drystone-raft --no-default-features --example drive`

#![expect(clippy::disallowed_methods, reason = "a program at the edge: the clock is its own")]

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use drystone_raft::{
    Boot, Config, Configuration, Effect, Error, Index, Input, Message, Payload, Raft, Role, Ticket,
};

/// What is put into a member's mailbox.
enum Mail {
    Message(Message),
    /// Propose this, if you lead.
    Command(&'static str),
    Stop,
}

fn drive(
    id: u64,
    mailbox: &Receiver<Mail>,
    others: &[(u64, Sender<Mail>)],
) -> Result<Vec<String>, Error> {
    let (began, boot) = (Instant::now(), Boot::new(Configuration::voters([1, 2, 3])));
    let mut raft = Raft::restore(id, Config::new(100), boot, 0, id)?;
    let (mut inputs, mut effects) = (Vec::new(), Vec::new());
    let (mut applied, mut log) = (Index(0), Vec::new());
    loop {
        // A tick is a millisecond. Wait for mail, or until the core wants to be woken.
        let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wait = raft.deadline().map_or(1000, |at| at.saturating_sub(now));
        if inputs.is_empty() {
            match mailbox.recv_timeout(Duration::from_millis(wait)) {
                Ok(Mail::Message(message)) => inputs.push(Input::Peer(message)),
                Ok(Mail::Command(text)) if raft.role() == Role::Leader => {
                    inputs.push(Input::Propose { ticket: Ticket(1), data: text.into() });
                }
                Ok(Mail::Command(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Mail::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(log),
            }
        }
        let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        raft.step(now, inputs.drain(..), &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(message) => {
                    let to = others.iter().find(|(other, _)| *other == message.to);
                    if let Some((_, mailbox)) = to {
                        // A member that is gone hears nothing; the protocol lives with that.
                        drop(mailbox.send(Mail::Message(message)));
                    }
                }
                Effect::Write(write) => inputs.push(Input::Stored(write.id)),
                Effect::Commit { through } => {
                    let entries = raft.entries(applied.next()..through.next());
                    for entry in entries.expect("what was just committed is in memory") {
                        if let Payload::Data(data) = &entry.payload {
                            log.push(String::from_utf8_lossy(data).into_owned());
                        }
                    }
                    applied = through;
                }
                Effect::Answer { ticket, result } => println!("node {id}: {ticket:?} {result:?}"),
                Effect::Leader { term, leader: Some(leader) } if leader == id => {
                    println!("node {id} leads in term {term}");
                }
                _ => {}
            }
        }
    }
}

fn main() {
    let boxes: Vec<(u64, Sender<Mail>, Receiver<Mail>)> = (1..=3)
        .map(|id| {
            let (sender, receiver) = channel();
            (id, sender, receiver)
        })
        .collect();
    let senders: Vec<(u64, Sender<Mail>)> =
        boxes.iter().map(|(id, sender, _)| (*id, sender.clone())).collect();
    let mut members = Vec::new();
    for (id, _, mailbox) in boxes {
        let others = senders.clone();
        members.push(thread::spawn(move || drive(id, &mailbox, &others)));
    }
    let everyone = |mail: fn() -> Mail| {
        for (_, mailbox) in &senders {
            mailbox.send(mail()).expect("the members run");
        }
    };
    // Time to elect, to commit, and to tell the followers.
    thread::sleep(Duration::from_millis(500));
    everyone(|| Mail::Command("set stone granite"));
    thread::sleep(Duration::from_millis(200));
    everyone(|| Mail::Stop);
    for (member, (id, _)) in members.into_iter().zip(&senders) {
        let applied = member.join().expect("it does not panic").expect("its configuration holds");
        println!("node {id} applied {applied:?}");
        assert_eq!(applied, ["set stone granite"]);
    }
}
