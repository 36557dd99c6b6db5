//! Why a task waits and what would help, or why it is where it is.

use serde::{Deserialize, Serialize};

use crate::spec::{Resources, Strategy};
use crate::types::{JobKey, NodeId};

use super::books::Books;
use super::class::{Class, ClassId, Plan};
use super::cluster::Cluster;
use super::decide::{Ask, Outlook};
use super::node::NodeIx;
use super::obstacle::{Kind, Obstacle};
use super::rejections::{NearMiss, Rejections, SAMPLE_COUNT, Verdict, is_short};
use super::score::{ONE, Rank, Score, Term, evenness, health, rank};

/// What there is to say about where a task goes. It prints as text for people, and goes over the
/// wire as JSON, so that who asks can print it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whose task.
    pub job: JobKey,
    /// Which.
    pub index: u32,
    /// What it asks for.
    pub request: Resources,
    /// How its tasks lie to each other.
    pub strategy: Strategy,
    /// Where it is, if it is asked about a task that has a node.
    pub at: Option<At>,
    /// The nodes that would take it now, the best first: at most [`CANDIDATES_COUNT`].
    pub candidates: Vec<Candidate>,
    /// What keeps it from the others.
    pub rejections: Rejections,
    /// What would let it go somewhere, if nothing does.
    pub helps: Vec<Help>,
}

/// So many nodes are compared.
pub const CANDIDATES_COUNT: usize = 4;

/// Where a task is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At {
    /// The node.
    pub node: NodeId,
    /// How good it is, were it to be chosen now; none if it would not be.
    pub candidate: Option<Candidate>,
    /// Why it would not be: what has come up since.
    pub obstacles: Vec<Obstacle>,
}

/// A node that would take a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// How good it is.
    pub score: Score,
    /// What that is made of: terms that say nothing about such a task are left out.
    pub terms: Vec<(Term, f64)>,
}

/// What would let a task go somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Help {
    /// These nodes lack nothing but this.
    Without {
        /// What is in the way.
        obstacle: Obstacle,
        /// On how many nodes.
        count: usize,
        /// Some of them, the first by name.
        nodes: Vec<NodeId>,
    },
    /// This node lacks nothing but so much.
    More(NearMiss),
    /// It would fit on this node if so many tasks of this job ended there.
    Ends {
        /// The job.
        job: JobKey,
        /// How many of its tasks.
        count: u32,
        /// The node.
        node: NodeId,
    },
}

impl Cluster {
    /// Why a task that has no node waits; or where it would go.
    pub fn explain(&mut self, class: ClassId, ask: Ask) -> Explanation {
        let (outlook, room) = self.outlook(class.0, ask);
        let books = &self.books;
        let verdicts = books.verdicts(class.0, &outlook);
        let rejections = books.rejections(class.0, &verdicts, room);
        let candidates = books.candidates(class.0, &outlook, &verdicts);
        let helps = if candidates.is_empty() {
            books.helps(class.0, &verdicts, rejections.nearest.as_ref())
        } else {
            Vec::new()
        };
        let shape = books.classes.key(class.0);
        Explanation {
            job: shape.job.clone(),
            index: ask.index,
            request: shape.request,
            strategy: shape.placement.strategy.clone(),
            at: None,
            candidates,
            rejections,
            helps,
        }
    }

    /// Why a task that has a node is there: how that node and the others would do if it were to be
    /// placed now. None if no task of its class is there.
    pub fn explain_at(&mut self, class: ClassId, index: u32, node: NodeIx) -> Option<Explanation> {
        // Taken out and put back, so that it is not in its own way.
        self.books.take(class.0, node.0).then_some(())?;
        let mut found = self.explain(class, Ask::one(index));
        let (outlook, _) = self.outlook(class.0, Ask::one(index));
        let books = &self.books;
        let known = books.nodes.all[node.0 as usize].record.is_some();
        let obstacles = if known { books.obstacles(class.0, &outlook, node.0) } else { Vec::new() };
        let candidate =
            (known && obstacles.is_empty()).then(|| books.candidate(class.0, &outlook, node.0));
        let id = books.nodes.all[node.0 as usize].id.clone();
        found.helps.clear();
        found.at = Some(At { node: id, candidate, obstacles });
        self.books.put(class.0, node.0);
        Some(found)
    }
}

impl Books {
    /// The best of the nodes that fit.
    fn candidates(&self, class: u32, outlook: &Outlook, verdicts: &[Verdict]) -> Vec<Candidate> {
        let fit = verdicts.iter().filter(|(_, obstacles)| obstacles.is_empty());
        let mut ranks: Vec<(Rank, u32)> =
            fit.map(|&(node, _)| (self.full_rank(class, outlook, node), node)).collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        ranks.truncate(CANDIDATES_COUNT);
        ranks.into_iter().map(|(_, node)| self.candidate(class, outlook, node)).collect()
    }

    fn full_rank(&self, class: u32, outlook: &Outlook, node: u32) -> Rank {
        let terms = self.terms(class, outlook, node);
        let points = terms.iter().map(|&(term, value)| term.points(value)).sum();
        rank(points, self.nodes.ties[node as usize])
    }

    fn candidate(&self, class: u32, outlook: &Outlook, node: u32) -> Candidate {
        let shown = |&(term, _): &(Term, u32)| self.says_something(class, term);
        let terms = self.terms(class, outlook, node);
        let share = |value: u32| f64::from(value) / f64::from(ONE);
        Candidate {
            node: self.nodes.all[node as usize].id.clone(),
            score: Score::of(self.full_rank(class, outlook, node)),
            terms: terms.into_iter().filter(shown).map(|(t, value)| (t, share(value))).collect(),
        }
    }

    fn says_something(&self, class: u32, term: Term) -> bool {
        let (shape, kind) = (self.classes.key(class), &self.classes[class]);
        match term {
            Term::Untainted => self.nodes.known().any(|node| {
                let record = self.nodes.all[node as usize].record.as_ref();
                record.is_some_and(|record| self.profiles.key(kind.profile).is_unwelcome(record))
            }),
            Term::Domain | Term::Node => kind.plan.is_spread(),
            Term::Prefer => !shape.placement.prefer.is_empty(),
            Term::Health => !kind.failures.is_empty(),
            Term::Image => self.images[kind.image].total() > 0,
            Term::Steady => self.nodes.known().any(|node| {
                let record = self.nodes.all[node as usize].record.as_ref();
                record.is_some_and(|record| record.interruptible)
            }),
            Term::Fit | Term::Balance => true,
        }
    }

    /// Every term of a node's score: the sum that decisions keep in parts, in one piece.
    pub(crate) fn terms(&self, class: u32, outlook: &Outlook, node: u32) -> Vec<(Term, u32)> {
        let kind: &Class = &self.classes[class];
        let (slot, at) = (&self.nodes.slots[node as usize], &self.nodes.all[node as usize]);
        let record = at.record.as_ref().expect("only nodes with a record are candidates");
        let demand = self.profiles.key(kind.profile);
        let (fit, balance) = slot.suits(&kind.request, kind.plan.is_spread());
        let (mut domain, mut alone) = (0, 0);
        if let (Plan::Spread { key, by_domain, by_node, .. }, Outlook::Least(least)) =
            (&kind.plan, outlook)
        {
            let count =
                |relation: u32, domain: u32| self.relations.all[relation].matched.at(domain);
            let more = count(*by_domain, self.domains.of(*key, node)).saturating_sub(*least);
            domain = evenness(more);
            alone = evenness(count(*by_node, node + 1));
        }
        let mut prefer = demand.preferred(&at.id, record);
        for &(points, wished, relation) in &kind.prefer {
            let key = self.relations.all.key(relation).key;
            if self.avoids(relation, self.domains.of(key, node)) == wished {
                prefer += points / Term::Prefer.weight();
            }
        }
        let failures = kind.failures.get(&node).copied().unwrap_or(0);
        let yes = |yes: bool| if yes { ONE } else { 0 };
        vec![
            (Term::Untainted, yes(!demand.is_unwelcome(record))),
            (Term::Domain, domain),
            (Term::Node, alone),
            (Term::Fit, fit),
            (Term::Prefer, prefer),
            (Term::Health, health(failures)),
            (Term::Balance, balance),
            (Term::Image, self.images[kind.image].at(node)),
            (Term::Steady, yes(!record.interruptible)),
        ]
    }

    fn helps(&self, class: u32, verdicts: &[Verdict], nearest: Option<&NearMiss>) -> Vec<Help> {
        let mut helps: Vec<Help> = Vec::new();
        let id = |node: u32| self.nodes.all[node as usize].id.clone();
        let mut singles: std::collections::BTreeMap<&Obstacle, Vec<u32>> = Default::default();
        for (node, obstacles) in verdicts {
            if let [only] = obstacles.as_slice()
                && only.remedy().is_some()
            {
                singles.entry(only).or_default().push(*node);
            }
        }
        for (obstacle, nodes) in singles {
            let count = nodes.len();
            let nodes = nodes.into_iter().take(SAMPLE_COUNT).map(id).collect();
            helps.push(Help::Without { obstacle: obstacle.clone(), count, nodes });
        }
        helps.sort_by_key(|help| match help {
            Help::Without { count, .. } => std::cmp::Reverse(*count),
            Help::More(_) | Help::Ends { .. } => std::cmp::Reverse(0),
        });
        if let Some(nearest) = nearest.filter(|nearest| nearest.obstacles.is_empty()) {
            helps.push(Help::More(nearest.clone()));
        }
        helps.extend(self.ends(class, verdicts));
        helps
    }

    /// The fewest tasks of one job on one node whose end would make room.
    fn ends(&self, class: u32, verdicts: &[Verdict]) -> Option<Help> {
        let request = &self.classes[class].request;
        let mut best: Option<(u32, u32, u32)> = None;
        for (node, obstacles) in verdicts {
            if obstacles.is_empty() || !obstacles.iter().all(is_short) {
                continue;
            }
            let at = *node as usize;
            for &(other, count) in &self.nodes.all[at].residents {
                let gives = &self.classes[other].request;
                let short = (0..Kind::ALL.len()).filter(|&kind| request[kind] > 0);
                let needs = short.map(|kind| {
                    let short = request[kind] - self.nodes.slots[at].free[kind];
                    match (short, gives[kind]) {
                        (..=0, _) => 0,
                        (_, 0) => u32::MAX,
                        (short, gives) => parts(short, gives),
                    }
                });
                let needs = needs.max().unwrap_or(0);
                if needs <= count && best.is_none_or(|(least, ..)| needs < least) {
                    best = Some((needs, *node, other));
                }
            }
        }
        best.map(|(count, node, other)| Help::Ends {
            job: self.classes.key(other).job.clone(),
            count,
            node: self.nodes.all[node as usize].id.clone(),
        })
    }
}

/// How many times `gives` make up for `short`.
fn parts(short: i64, gives: i64) -> u32 {
    u32::try_from((short + gives - 1) / gives).unwrap_or(u32::MAX)
}
