//! Three members in one process: they find each other, talk, and one of them dies.
//!
//! `cargo run -p drystone-membership --example hello`

use std::error::Error;
use std::time::Duration;

use drystone_membership::runtime::{Membership, Watch};
use drystone_membership::{Config, Event, NodeId};
use tokio::time::timeout;

/// Waits for an event, and prints those before it.
async fn wait(watch: &mut Watch, wanted: impl Fn(&Event) -> bool) -> Result<Event, Box<dyn Error>> {
    loop {
        let event = timeout(Duration::from_secs(30), watch.next()).await?;
        let event = event.ok_or("the member has stopped")??;
        println!("  a: {event:?}");
        if wanted(&event) {
            return Ok(event);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let member = |name| -> Result<_, std::net::AddrParseError> {
        let builder = Membership::bind("127.0.0.1:0".parse()?).name(name);
        Ok(builder.config(Config::local()))
    };
    let a = member("a")?.start().await?;
    let mut watch = a.watch();

    println!("b and c ask a to let them in:");
    let b = member("b")?.join([a.addr()]).await?;
    let c = member("c")?.join([a.addr()]).await?;
    let (b_id, c_id) = (b.id(), c.id());
    wait(&mut watch, |event| matches!(event, Event::Joined(node) if node.id == c_id)).await?;
    assert_eq!(a.members().len(), 3);

    println!("b says what it is, and tells everyone something:");
    b.set_meta("role", Some("database".into())).await?;
    wait(&mut watch, |event| matches!(event, Event::Updated { id, .. } if *id == b_id)).await?;
    assert_eq!(a.meta(b_id, "role").as_deref(), Some(&b"database"[..]));
    b.broadcast("news", "stones need no mortar").await?;
    let heard = wait(&mut watch, |event| matches!(event, Event::Broadcast { .. })).await?;
    let payload = "stones need no mortar".into();
    assert_eq!(heard, Event::Broadcast { from: b_id, topic: "news".into(), payload });

    println!("c is gone without a word:");
    drop(c);
    wait(&mut watch, |event| *event == Event::Failed(c_id)).await?;
    assert_eq!(a.members().len(), 2);

    println!("b leaves:");
    b.leave().await?;
    wait(&mut watch, |event| *event == Event::Left(b_id)).await?;
    let left: Vec<NodeId> = a.members().iter().map(|member| member.node.id).collect();
    assert_eq!(left, [a.id()]);
    println!("a is alone again");
    Ok(())
}
