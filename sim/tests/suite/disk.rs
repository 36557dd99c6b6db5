//! A process on the hostile disk of `drystone-vfs`: a crash is a power cut there too.
//!
//! This is how the two simulators go together: the disk is the part of the process that survives,
//! and `crash` cuts its power.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use drystone_sim::{InputOf, NodeId, OutboxOf, Process, Profile, Rng, Seeds, Trouble, Woe, World};
use drystone_vfs::{File, OpenMode, SimVfs, Vfs};

const EVERY: u64 = 10;

/// Appends 1, 2, 3 and so on to a file, and syncs it at every fourth number.
struct Counter {
    disk: SimVfs,
    file: Arc<dyn File>,
    count: u64,
    next: u64,
    synced: u64,
}

/// What survives, and what the process that died had been promised by it.
struct Platter {
    disk: SimVfs,
    synced: u64,
}

impl Process for Counter {
    type Message = ();
    type Event = ();
    type Disk = Platter;

    fn start(_: NodeId, disk: Platter, now: u64, _: &mut OutboxOf<'_, Counter>) -> Counter {
        let Platter { disk, synced } = disk;
        let file = disk.open(Path::new("count"), OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        // What was not synced may be torn or garbage; numbers in their order are neither.
        let mut count = 0;
        let mut bytes = [0; 8];
        while file.read_at(&mut bytes, 8 * count).unwrap() == 8
            && u64::from_le_bytes(bytes) == count + 1
        {
            count += 1;
        }
        assert!(count >= synced, "{count} is there, and {synced} was synced");
        Counter { disk, file, count, next: now + EVERY, synced }
    }

    fn step(&mut self, now: u64, _: InputOf<Counter>, _: &mut OutboxOf<'_, Counter>) {
        self.next = now + EVERY;
        let at = 8 * self.count;
        self.count += 1;
        self.file.write_at(&[IoSlice::new(&self.count.to_le_bytes())], at).unwrap();
        if self.count.is_multiple_of(4) {
            self.file.sync_data().unwrap();
            self.synced = self.count;
        }
    }

    fn deadline(&self) -> Option<u64> {
        Some(self.next)
    }

    fn crash(self, _: &mut Rng) -> Platter {
        Platter { disk: self.disk.crash(), synced: self.synced }
    }
}

// What was synced is there after any number of crashes, and what was not is lost now and then.
#[test]
fn a_crash_of_a_node_is_a_power_cut_of_its_disk() {
    let lost = std::cell::Cell::new(0_u64);
    Seeds::new("cargo test -p drystone-sim --test suite power_cut", 20).run(|seed| {
        let profile = Profile { crash: Woe::new(40 * EVERY, 1..EVERY), ..Profile::calm() };
        let mut trouble = Trouble::new(profile, seed.rng("trouble"));
        let disk = SimVfs::new(seed.value());
        let mut world = World::<Counter>::new(seed);
        let node = world.add(Platter { disk, synced: 0 });
        let (mut before, mut most) = (0, 0);
        trouble.run(&mut world, 10_000 * EVERY, |world, _| {
            let count = world.process(node).unwrap().count;
            most = before.max(count);
            lost.set(lost.get() + u64::from(count <= before));
            before = count;
        });
        assert!(most > 1000, "{most}");
    });
    assert!(lost.get() > 100, "{lost:?}");
}
