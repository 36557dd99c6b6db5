//! Counts its own runs, and shows what the runs before left behind.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use drystone_lsm::{Batch, Db, KeyspaceOptions, Options};
use drystone_vfs::{OsClock, OsVfs};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join("drystone-lsm-hello");
    let options = Options::default().memory_bytes(4 << 20);
    let db = Db::open(Arc::new(OsVfs::new()), Arc::new(OsClock::new()), &dir, options)?;
    let greetings = db.keyspace("greetings", KeyspaceOptions::default())?;
    let totals = db.keyspace("totals", KeyspaceOptions::default())?;

    println!("{}:", dir.display());
    for record in db.iter(&greetings) {
        let (run, text) = record?;
        println!("  {}: {}", String::from_utf8_lossy(&run), String::from_utf8_lossy(&text));
    }

    let runs =
        db.get(&totals, b"runs")?.and_then(|count| Some(u64::from_le_bytes(*count.first_chunk()?)));
    let run = runs.unwrap_or(0) + 1;
    // Both or neither, whatever happens.
    let mut batch = Batch::new();
    let text = format!("process {} says hello", std::process::id());
    batch.put(&greetings, format!("run {run:05}").as_bytes(), text.as_bytes());
    batch.put(&totals, b"runs", &run.to_le_bytes());
    db.write(batch)?.wait()?;
    println!("run {run} is durable");
    db.close()?;
    Ok(())
}
