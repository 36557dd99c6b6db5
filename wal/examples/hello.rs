//! Appends on every run, and shows what the runs before left behind.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use drystone_vfs::OsVfs;
use drystone_wal::{Options, Wal};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join("drystone-wal-hello");
    let (wal, recovered) = Wal::open(Arc::new(OsVfs::new()), &dir, Options::default())?;

    println!("{}: {:?}", dir.display(), recovered.report());
    for record in recovered {
        let (lsn, text) = record?;
        println!("  record {lsn}: {}", String::from_utf8_lossy(&text));
    }

    let pid = std::process::id();
    let commit = wal.append(&[format!("process {pid} says hello").as_bytes(), b"and goodbye"])?;
    println!("appended up to record {}", commit.lsn());
    println!("durable up to record {}", commit.wait()?);
    wal.close()?;
    Ok(())
}
