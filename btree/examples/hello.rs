//! Writes on every run, and shows what the runs before left behind.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use drystone_btree::{Db, Options};
use drystone_vfs::OsVfs;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let path = dir.join("drystone-btree-hello.db");
    let db = Db::open(Arc::new(OsVfs::new()), &path, Options::default())?;
    let visits = db.tree("visits")?;

    println!("{}: {} visits", path.display(), db.read().len(visits)?);
    for record in db.read().iter(visits) {
        let (key, text) = record?;
        println!("  {}: {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&text));
    }

    let before = db.read();
    let mut w = db.write()?;
    let number = w.len(visits)? + 1;
    let text = format!("process {} says hello", std::process::id());
    w.put(visits, format!("visit {number:06}").as_bytes(), text.as_bytes())?;
    let commit = w.commit()?;
    println!("visit {number} is seen by whoever reads from now on");
    assert_eq!(before.len(visits)? + 1, db.read().len(visits)?);
    println!("and is durable as of transaction {}", commit.wait()?);
    db.close()?;
    Ok(())
}
