//! Flushes of so many pages that their record does not list them.

use drystone_btree::Sync;

use crate::support::{disk, fill, key, options, records, try_open};

// A record that lists no pages is believed without a look at them: they have to be durable before
// it is written. (Scenarios 38 and 39, for a large flush.)
#[test]
fn a_large_flush_is_there_whole_or_not_at_all() {
    for cut in 0.. {
        let disk = disk();
        let db = try_open(&disk, options().sync(Sync::OnRequest).memory_bytes(32 << 20)).unwrap();
        let tree = fill(&db, 100);
        let before = records(&db);
        let mut w = db.write().unwrap();
        for i in 0..1200 {
            w.put(tree, &key(i), &[7; 3900]).unwrap();
        }
        drop(w.commit().unwrap());
        let after = records(&db);
        disk.power_cut_after(cut);
        let outcome = db.persist();
        for seed in 0..4 {
            let what = format!("cut before call {cut}, crash {seed}");
            let db = try_open(&disk.crash_copy(seed), options());
            let found = records(&db.unwrap_or_else(|error| panic!("{what}: {error}")));
            assert!(found == after || (found == before && outcome.is_err()), "{what}");
        }
        if outcome.is_ok() {
            assert!(cut > 2, "pages, a sync, a record and a sync");
            break;
        }
    }
}
