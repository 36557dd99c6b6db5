//! What clients asked and what they were told, in the order of events.
//!
//! ```text
//!     client 1   ├── write 1 ──┤ ok                     events:  1      2      3     4     5
//!     client 2          ├────── read ───┤ 1                      invoke invoke ok    1     invoke
//!     client 3                             ├── write 2 ──── …    never heard of again
//! ```
//!
//! An operation takes effect at one moment between its call and its return, if it takes effect at
//! all. When the answer is lost (the leader died, the client gave up) nobody knows: it may take
//! effect at any later time, or never. That is an outcome of its own, and to write it down as a
//! failure is the classic mistake of a test: a failure *forbids* that the operation took effect.

/// The operations of a run.
///
/// Times are numbers of events: each call and each return has its own, unless a history from
/// elsewhere brings other times ([`record`](History::record)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<O, R> {
    operations: Vec<Operation<O, R>>,
    events: u64,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<O, R> {
    /// Who asked. It is shown, and means nothing else: a client may have several under way.
    pub client: u64,
    /// What for.
    pub op: O,
    /// When.
    pub invoked: u64,
    /// What came of it.
    pub outcome: Outcome<R>,
}

/// What a client knows about an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<R> {
    /// Nothing: it may take effect at any time from its call on, or never.
    Unknown,
    /// It has not taken effect and never will.
    Failed,
    /// It took effect, and this was returned.
    Returned {
        /// When.
        at: u64,
        /// What.
        ret: R,
    },
}

/// Names an operation of one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(usize);

impl<O, R> History<O, R> {
    /// No operation yet.
    pub fn new() -> History<O, R> {
        History { operations: Vec::new(), events: 0 }
    }

    /// A client asks for `op`. Until something else is said its outcome is unknown.
    pub fn invoke(&mut self, client: u64, op: O) -> OpId {
        self.events += 1;
        let (invoked, outcome) = (self.events, Outcome::Unknown);
        self.operations.push(Operation { client, op, invoked, outcome });
        OpId(self.operations.len() - 1)
    }

    /// The operation took effect and returned `ret`.
    ///
    /// # Panics
    ///
    /// If its outcome is known already.
    pub fn returned(&mut self, id: OpId, ret: R) {
        self.events += 1;
        let at = self.events;
        self.conclude(id, Outcome::Returned { at, ret });
    }

    /// The operation has certainly not taken effect.
    ///
    /// # Panics
    ///
    /// If its outcome is known already.
    pub fn failed(&mut self, id: OpId) {
        self.conclude(id, Outcome::Failed);
    }

    /// Adds an operation of a run that was recorded elsewhere, with that run's times. One that
    /// returned at the time at which another was called may come before or after it.
    ///
    /// # Panics
    ///
    /// If it returned before it was called.
    pub fn record(&mut self, operation: Operation<O, R>) -> OpId {
        let mut last = operation.invoked;
        if let Outcome::Returned { at, .. } = operation.outcome {
            assert!(operation.invoked <= at, "an operation returns after it was called");
            last = at;
        }
        self.events = self.events.max(last);
        self.operations.push(operation);
        OpId(self.operations.len() - 1)
    }

    /// All operations in the order in which they were recorded.
    pub fn operations(&self) -> &[Operation<O, R>] {
        &self.operations
    }

    fn conclude(&mut self, id: OpId, outcome: Outcome<R>) {
        let operation = &mut self.operations[id.0];
        let open = matches!(operation.outcome, Outcome::Unknown);
        assert!(open, "the outcome of an operation is told once");
        operation.outcome = outcome;
    }
}

impl<O, R> Default for History<O, R> {
    fn default() -> History<O, R> {
        History::new()
    }
}
