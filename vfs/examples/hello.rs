//! Writes a file so that both its bytes and its name outlive a crash, then asks what a crash leaves
//! when the second half is forgotten.

use std::io::{self, IoSlice};
use std::path::Path;

use drystone_vfs::{OpenMode, SimVfs, Vfs};

fn main() -> io::Result<()> {
    let disk = SimVfs::new(7);
    let dir = Path::new("/db");
    disk.create_dir_all(dir)?;

    for (path, careful) in [("/db/careful", true), ("/db/careless", false)] {
        let file = disk.open(Path::new(path), OpenMode::Create)?;
        file.write_at(&[IoSlice::new(b"fitted stones, no mortar")], 0)?;
        if careful {
            file.sync_data()?;
            disk.sync_dir(dir)?;
        }
    }

    // Each seed is one way in which the power can fail.
    for seed in 0..8 {
        let after = disk.crash_copy(seed);
        println!("seed {seed}: {:?} survived", after.list(dir)?);
        let mut text = [0; 24];
        after.open(Path::new("/db/careful"), OpenMode::Read)?.read_exact_at(&mut text, 0)?;
        assert_eq!(&text, b"fitted stones, no mortar");
    }
    Ok(())
}
