//! A server: stands for election, copies the store, and decides while it holds office.

use drystone_sim::NodeId;
use mason_core::keys::{Key, Keys};
use mason_core::leader::{Config, FlightId, Leader, Order, Outcome};
use mason_core::mirror::Mirror;
use mason_core::protocol::Office;
use mason_core::txn::{Compare, Op, Txn};
use mason_core::types::Revision;

use crate::caller::{Caller, Out};
use crate::checks::{self, Duties};
use crate::flaw::Flaw;
use crate::message::{CallId, Request, Response};

/// How long a server's lease lasts.
const TTL: u64 = 5_000;
/// How often it is renewed.
const RENEW: u64 = 1_500;

/// What a question was about.
#[derive(Debug)]
enum About {
    Lease,
    Candidacy,
    Renewal(i64),
    End,
    List,
    Changes,
    /// In which of its terms, and which.
    Flight(u64, FlightId),
}

/// Where it stands in the election.
#[derive(Debug)]
enum Seat {
    /// It has no lease.
    Nothing,
    /// It has a lease, and its key is being made.
    Lease(i64),
    /// Its key is there: it is the leader when no older one is.
    Candidate { lease: i64, renew_at: u64 },
    /// It gives up: nothing is decided until the store has forgotten it.
    Leaving(i64),
}

/// A server.
#[derive(Debug)]
pub struct Server {
    mirror: Mirror,
    is_listed: bool,
    seat: Seat,
    leader: Option<Leader>,
    calls: Caller<About>,
    /// What people call the time, less what its clock shows.
    pub wall_offset: u64,
    now: u64,
    term: u64,
    /// How often it came to office.
    pub terms: u64,
    /// How often it had to list anew because what it had missed was not kept.
    pub gaps: u64,
    /// What is broken about it.
    pub flaw: Flaw,
    duties: Duties,
    /// The newest revision of a transaction of its that was done.
    done_at: Revision,
    /// What a leader decided and is not sent yet.
    slow: Vec<(u64, Order)>,
}

impl Server {
    /// At its start.
    pub fn new((life, flaw): (u64, Flaw), wall_offset: u64, now: u64, out: &mut Out<'_>) -> Server {
        let mut server = Server {
            mirror: Mirror::new(Keys::default()),
            is_listed: false,
            seat: Seat::Nothing,
            leader: None,
            calls: Caller::new(life),
            wall_offset,
            now,
            term: 0,
            terms: 0,
            gaps: 0,
            flaw,
            duties: Duties::default(),
            done_at: 0,
            slow: Vec::new(),
        };
        server.advance(out);
        server
    }

    /// Its leader, while it believes to be in office.
    pub fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// Gossip says something about a node.
    pub fn suspect(&mut self, node: &mason_core::types::NodeId, suspected: bool) {
        if let Some(leader) = &mut self.leader {
            leader.suspect(node, suspected);
        }
    }

    /// The store answers.
    pub fn answered(&mut self, call: CallId, response: Response, now: u64, out: &mut Out<'_>) {
        self.now = now;
        let Some(about) = self.calls.answered(call) else { return };
        match (about, response) {
            (About::Lease, Response::Granted(lease)) => self.seat = Seat::Lease(lease),
            (About::Candidacy, Response::Committed { done, .. }) => {
                if let Seat::Lease(lease) = self.seat {
                    self.seat = match done {
                        true => Seat::Candidate { lease, renew_at: now + RENEW },
                        // The lease ran out on the way.
                        false => Seat::Nothing,
                    };
                }
            }
            (About::Renewal(lease), Response::Renewed(true)) => {
                // One that leaves goes on leaving: an office is held once, for what was sent under
                // it can still arrive.
                if matches!(self.seat, Seat::Candidate { .. }) {
                    self.seat = Seat::Candidate { lease, renew_at: now + RENEW };
                }
            }
            (About::Renewal(_), Response::Renewed(false)) | (About::End, Response::Revoked) => {
                self.leader = None;
                self.seat = Seat::Nothing;
            }
            (About::List, Response::Listed(revision, all)) => {
                let all: Vec<_> = all.iter().map(|it| self.flaw.shown(it)).collect();
                self.mirror.reset(revision, &all);
                self.is_listed = true;
                // What it knew is of before the gap.
                self.leave();
            }
            (About::Changes, Response::Changed(revision, changes)) => {
                let flaw = self.flaw;
                let shown = changes.iter().map(|it| flaw.shown(it));
                let keys: Vec<_> = shown.filter_map(|it| self.mirror.apply(&it)).collect();
                self.mirror.advance(revision);
                if let Some(leader) = &mut self.leader {
                    let keys = keys.iter().filter(|key| flaw.tells(key, &self.mirror));
                    keys.for_each(|key| leader.heard(&self.mirror, key));
                }
            }
            (About::Changes, Response::Compacted) => {
                self.is_listed = false;
                self.gaps += 1;
            }
            (About::Flight(term, flight), Response::Committed { done, revision }) => {
                if let Some(leader) = self.leader.as_mut().filter(|_| term == self.terms) {
                    let outcome = match done {
                        true => {
                            self.done_at = self.done_at.max(revision);
                            Outcome::Done(revision)
                        }
                        false => Outcome::Refused(revision),
                    };
                    leader.outcome(flight, outcome, &self.mirror, now + self.wall_offset);
                }
            }
            (about, response) => panic!("{about:?} is not answered by {response:?}"),
        }
        self.advance(out);
    }

    /// Time has passed.
    pub fn woken(&mut self, now: u64, out: &mut Out<'_>) {
        self.now = now;
        for about in self.calls.given_up(now) {
            match about {
                About::Lease | About::List | About::Changes | About::End => {}
                About::Flight(term, _) if term != self.terms => {}
                About::Candidacy | About::Renewal(_) | About::Flight(..) => self.leave(),
            }
        }
        self.advance(out);
    }

    /// Gives up the office, if it has one or may have one.
    fn leave(&mut self) {
        self.leader = None;
        if let Seat::Lease(lease) | Seat::Candidate { lease, .. } = self.seat {
            self.seat = Seat::Leaving(lease);
        }
    }

    fn advance(&mut self, out: &mut Out<'_>) {
        let now = self.now;
        if !self.is_listed {
            if !self.calls.is_waiting(|it| matches!(it, About::List)) {
                let prefix = self.mirror.keys().prefix().to_owned();
                self.calls.ask(now, About::List, Request::List(prefix), out);
            }
            return;
        }
        if !self.calls.is_waiting(|it| matches!(it, About::Changes | About::List)) {
            let prefix = self.mirror.keys().prefix().to_owned();
            let next = self.mirror.revision() + 1;
            self.calls.ask(now, About::Changes, Request::Poll(prefix, next), out);
        }
        self.advance_seat(out);
        let wall = now + self.wall_offset;
        if let Some(leader) = &mut self.leader {
            let late = if self.flaw == Flaw::LateClock { 60_000 } else { 0 };
            let mut orders = leader.step(&self.mirror, wall - late);
            if self.flaw == Flaw::SlowOrders {
                self.slow.extend(orders.drain(..).map(|order| (now + 10_000, order)));
                let due = self.slow.extract_if(.., |(at, _)| *at <= now);
                orders.extend(due.map(|(_, order)| order));
            }
            for mut order in orders {
                self.flaw.twist(&mut order.txn);
                checks::look_at_order(&self.mirror, &order.txn, wall);
                let about = About::Flight(self.terms, order.flight);
                self.calls.ask(now, about, Request::Commit(order.txn), out);
            }
            leader.check(&self.mirror);
            // What it has done and cannot see yet is not undone.
            if self.mirror.revision() >= self.done_at {
                self.duties.look(self.terms, &self.mirror, (now, wall));
            }
        }
    }

    fn advance_seat(&mut self, out: &mut Out<'_>) {
        let now = self.now;
        let asks = |it: &About| {
            matches!(it, About::Lease | About::Candidacy | About::Renewal(_) | About::End)
        };
        let is_asking = self.calls.is_waiting(asks);
        match self.seat {
            _ if is_asking => {}
            Seat::Nothing => self.calls.ask(now, About::Lease, Request::Grant(TTL), out),
            Seat::Lease(lease) => {
                let path = self.path(lease);
                let txn = Txn {
                    when: vec![Compare::Absent(path.clone())],
                    then: vec![Op::Put { key: path, value: b"{}".to_vec(), lease: Some(lease) }],
                };
                self.calls.ask(now, About::Candidacy, Request::Commit(txn), out);
            }
            Seat::Candidate { lease, renew_at } if renew_at <= now => {
                self.calls.ask(now, About::Renewal(lease), Request::Renew(lease), out);
            }
            Seat::Candidate { lease, .. } => self.take_office(lease, out),
            Seat::Leaving(lease) => self.calls.ask(now, About::End, Request::Revoke(lease), out),
        }
    }

    fn path(&self, lease: i64) -> String {
        self.mirror.keys().path(&Key::Lead(format!("{lease:x}").into()))
    }

    fn take_office(&mut self, lease: i64, out: &mut Out<'_>) {
        if self.leader.is_some() || self.mirror.leader() != Some(&*format!("{lease:x}")) {
            return;
        }
        let made = self.mirror.lead(&format!("{lease:x}")).expect("it leads");
        let office = Office { key: self.path(lease), made };
        self.term = out.rng().draw();
        self.terms += 1;
        self.slow.clear();
        self.leader = Some(Leader::take_over(Config::default(), office, self.term, &self.mirror));
    }

    /// When time has to be told.
    pub fn deadline(&self) -> Option<u64> {
        let renew = match self.seat {
            Seat::Candidate { renew_at, .. }
                // While it lists anew it has no time for that, and leaves the office anyway.
                if self.is_listed && !self.calls.is_waiting(|it| matches!(it, About::Renewal(_))) =>
            {
                Some(renew_at)
            }
            _ => None,
        };
        let leader = self.leader.as_ref().and_then(Leader::wake_at);
        let leader = leader.map(|at| at.saturating_sub(self.wall_offset).max(self.now + 1));
        [self.calls.deadline(), renew, leader].into_iter().flatten().min()
    }

    /// Which one it is, for people.
    pub fn name(id: NodeId) -> String {
        format!("server {id}")
    }
}
