//! The smallest useful program: write a key, read it, write it again, read the past.

use std::error::Error;
use std::sync::Arc;

use drystone_kv::{Command, KeyRange, Kv, Options, Put, RangeRequest};
use drystone_vfs::{MemVfs, OsClock};

fn main() -> Result<(), Box<dyn Error>> {
    // `OsVfs` in place of `MemVfs` keeps the data on a real disk.
    let (disk, clock) = (Arc::new(MemVfs::new()), Arc::new(OsClock::new()));
    let kv = Kv::open(disk, clock, "data".as_ref(), Options::default())?;

    let put = |value: &'static str| kv.propose(Command::Put(Put::new("greeting", value)));
    put("hello").wait()?;
    let first = kv.revision();
    put("hello again").wait()?;

    let mut request = RangeRequest::new(KeyRange::prefix("greet"));
    println!("now: {:?}", kv.range(&request)?.kvs[0].value);
    request.revision = Some(first);
    println!("at revision {first}: {:?}", kv.range(&request)?.kvs[0].value);
    Ok(())
}
