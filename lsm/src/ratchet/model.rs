//! Every order in which batches can enter, report and be read.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::*;

const PREEMPTIONS_MAX: usize = 3;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

/// A memtable of three entries, which the checker watches.
struct Table {
    ratchet: Ratchet,
    entries: [UnsafeCell<u64>; 3],
}

impl Table {
    fn new() -> Arc<Table> {
        let entries = std::array::from_fn(|_| UnsafeCell::new(0));
        Arc::new(Table { ratchet: Ratchet::new(SeqNo(0)), entries })
    }

    /// Inserts entry `seq` and publishes it.
    fn write(&self, ticket: Ticket) {
        let seq = ticket.last.0;
        self.entries[seq as usize - 1].with_mut(|entry| write(entry, seq));
        self.ratchet.report(ticket);
        assert!(self.ratchet.visible() >= ticket.last, "visible on return");
    }

    /// Reads all that is visible.
    fn read(&self) -> u64 {
        let visible = self.ratchet.visible().0;
        for seq in 1..=visible {
            let found = self.entries[seq as usize - 1].with(|entry| read(entry));
            assert_eq!(found, seq, "what is visible has been written");
        }
        visible
    }
}

#[expect(unsafe_code, reason = "the checker's cell hands out pointers")]
fn write(entry: *mut u64, value: u64) {
    // SAFETY: the pointer is the cell's, and the checker reports whoever else uses it meanwhile.
    unsafe { *entry = value }
}

#[expect(unsafe_code, reason = "the checker's cell hands out pointers")]
fn read(entry: *const u64) -> u64 {
    // SAFETY: as above.
    unsafe { *entry }
}

// Two writers report in any order, a third thread reads: nothing shows before all that is older.
#[test]
fn nothing_is_visible_before_what_came_earlier() {
    check(|| {
        let table = Table::new();
        let tickets: [Ticket; 2] =
            std::array::from_fn(|i| table.ratchet.enter(SeqNo(i as u64 + 1)));
        let writers = tickets.map(|ticket| {
            let table = Arc::clone(&table);
            thread::spawn(move || table.write(ticket))
        });
        table.read();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(table.read(), 2, "everything is visible in the end");
    });
}

// Whoever seals a memtable waits for its last write.
#[test]
fn a_wait_ends_when_its_write_is_visible() {
    check(|| {
        let table = Table::new();
        let tickets: [Ticket; 2] =
            std::array::from_fn(|i| table.ratchet.enter(SeqNo(i as u64 + 1)));
        let writers = tickets.map(|ticket| {
            let table = Arc::clone(&table);
            thread::spawn(move || table.write(ticket))
        });
        table.ratchet.wait(SeqNo(2));
        assert_eq!(table.read(), 2);
        for writer in writers {
            writer.join().unwrap();
        }
    });
}
