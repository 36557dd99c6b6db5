//! The lies about watches, told where messages come in.
//!
//! A lie that only the next message can give away keeps the stream open until that has come.

use std::sync::Arc;

use crate::history::{Message, Refusal, Said};
use crate::lie::{Liar, Lie};

/// Changes what one stream says.
pub(super) struct Forger {
    liar: Arc<Liar>,
    /// A message that is to come after the next.
    late: Option<Message>,
    /// An event is missing, and nothing has come since that shows it.
    dropped: bool,
    honest: bool,
}

impl Forger {
    /// Nobody lies about the chronicle, which lies are held against.
    pub(super) fn new(liar: Arc<Liar>, honest: bool) -> Forger {
        Forger { liar, late: None, dropped: false, honest }
    }

    /// Whether a lie is half told.
    pub(super) fn is_waiting(&self) -> bool {
        self.late.is_some() || self.dropped
    }

    /// What is written down in place of a message.
    pub(super) fn bend(&mut self, mut message: Message) -> Vec<Message> {
        let now = message.at;
        if self.honest {
            return vec![message];
        }
        let Said::Events(events) = &mut message.said else { return vec![message] };
        if let Some(late) = self.late.take() {
            return vec![message, late];
        }
        self.dropped = false;
        if self.liar.strikes(Lie::SwapEvents, now) {
            self.late = Some(message);
            return Vec::new();
        }
        if self.liar.strikes(Lie::DropEvent, now) {
            events.remove(0);
            self.dropped = true;
            return if events.is_empty() { Vec::new() } else { vec![message] };
        }
        if self.liar.strikes(Lie::ForgeEvent, now) {
            events[0].kv.version += 1;
        } else if self.liar.strikes(Lie::RepeatEvent, now) {
            return vec![message.clone(), message];
        } else if self.liar.strikes(Lie::FalseCompaction, now) {
            let (reason, compacted) = (Refusal::COMPACTED.to_owned(), message.revision);
            let said = Said::Canceled { reason, compacted };
            let canceled = Message { said, revision: 0, at: now };
            return vec![message, canceled];
        } else if self.liar.strikes(Lie::FalseProgress, now) {
            let progress = Message { said: Said::Progress, ..message.clone() };
            return vec![progress, message];
        }
        vec![message]
    }
}
