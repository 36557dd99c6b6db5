//! All of it in one world.

use drystone_sim::{Input, InputOf, NodeId as Place, OutboxOf, Process, Rng};

use crate::flaw::Flaw;
use crate::host::{Disk, Host};
use crate::message::{Event, Message};
use crate::server::Server;
use crate::store::Store;

/// What a place in the world is.
#[derive(Debug)]
pub enum Part {
    /// The store.
    Store(Store),
    /// A server.
    Server(Box<Server>),
    /// A machine.
    Host(Box<Host>),
}

/// What is left of it after a crash.
#[derive(Debug)]
pub enum Rest {
    /// All of it.
    Store(Store),
    /// Nothing; how often it was started, and how far off its time of day is.
    Server {
        /// How often it was started.
        life: u64,
        /// What people call the time, less what its clock shows.
        wall_offset: u64,
        /// What is broken about it.
        flaw: Flaw,
    },
    /// A disk.
    Host(Disk),
}

/// A place in the world.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub part: Part,
    life: u64,
}

impl Process for Node {
    type Message = Message;
    type Event = Event;
    type Disk = Rest;

    fn start(_: Place, rest: Rest, now: u64, out: &mut OutboxOf<'_, Self>) -> Node {
        match rest {
            Rest::Store(mut store) => {
                store.restarted(now);
                Node { part: Part::Store(store), life: 0 }
            }
            Rest::Server { life, wall_offset, flaw } => {
                let server = Server::new((life + 1, flaw), wall_offset, now, out);
                Node { part: Part::Server(Box::new(server)), life: life + 1 }
            }
            Rest::Host(disk) => {
                Node { part: Part::Host(Box::new(Host::start(disk, now, out))), life: 0 }
            }
        }
    }

    fn step(&mut self, now: u64, input: InputOf<Self>, out: &mut OutboxOf<'_, Self>) {
        match &mut self.part {
            Part::Store(store) => step_store(store, now, input, out),
            Part::Server(server) => match input {
                Input::Message { message: Message::Answer(call, response), .. } => {
                    server.answered(call, response, now, out);
                }
                Input::Event(Event::Suspect(node, suspected)) => server.suspect(&node, suspected),
                Input::Event(Event::Jump(by)) => {
                    server.wall_offset = server.wall_offset.saturating_add_signed(by);
                }
                Input::Message { .. } | Input::Event(_) => {}
                Input::Wake => server.woken(now, out),
            },
            Part::Host(host) => match input {
                Input::Message { message: Message::Answer(call, response), .. } => {
                    host.answered(call, response, now, out);
                }
                Input::Message { .. } => {}
                Input::Event(event) => host.happened(event, now, out),
                Input::Wake => host.woken(now, out),
            },
        }
    }

    fn deadline(&self) -> Option<u64> {
        match &self.part {
            Part::Store(store) => store.deadline(),
            Part::Server(server) => server.deadline(),
            Part::Host(host) => host.deadline(),
        }
    }

    fn crash(self, rng: &mut Rng) -> Rest {
        match self.part {
            Part::Store(store) => Rest::Store(store),
            Part::Server(server) => {
                let Server { wall_offset, flaw, .. } = *server;
                Rest::Server { life: self.life, wall_offset, flaw }
            }
            Part::Host(host) => {
                let keeps = usize::try_from(rng.below(4)).expect("it is small");
                Rest::Host(host.power_loss(keeps))
            }
        }
    }
}

fn step_store(store: &mut Store, now: u64, input: InputOf<Node>, out: &mut OutboxOf<'_, Node>) {
    let answers = match input {
        Input::Message { from, message: Message::Ask(call, request) } => {
            let mut answers = store.tick(now);
            let is_late = matches!(&request, crate::message::Request::Commit(txn)
                if txn.then.iter().any(|op| matches!(op,
                    mason_core::txn::Op::Put { lease: Some(lease), .. }
                        if !store.has_lease(*lease))));
            // A put under a lease that is gone is an error, which changes nothing.
            if is_late {
                let revision = store.revision();
                let response = crate::message::Response::Committed { done: false, revision };
                answers.push((from, call, response));
            } else {
                answers.extend(store.ask((from, call), request, now));
            }
            answers
        }
        Input::Event(Event::Write(txn)) => {
            store.commit(&txn);
            store.tick(now)
        }
        Input::Event(Event::Compact(keep)) => {
            store.compact(usize::try_from(keep).expect("it is small"));
            store.tick(now)
        }
        Input::Event(Event::Depose) => {
            store.depose();
            store.tick(now)
        }
        Input::Event(Event::Lag(lasts)) => {
            store.lag(now + lasts);
            store.tick(now)
        }
        Input::Event(Event::Cut) => {
            store.cut();
            store.tick(now)
        }
        Input::Message { .. } | Input::Event(_) | Input::Wake => store.tick(now),
    };
    for (to, call, response) in answers {
        out.stream(to, Message::Answer(call, response));
    }
}
