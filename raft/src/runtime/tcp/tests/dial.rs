//! Connections that the caller makes and takes.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::runtime::tcp::{Dial, Dialling, Wire};

/// What the caller's own protocol begins with.
const PASSWORD: &[u8; 6] = b"sesame";

/// Says the password before anything else.
#[derive(Debug)]
struct Polite;

impl Dial for Polite {
    fn dial<'a>(&'a self, address: &'a str) -> Dialling<'a> {
        Box::pin(async move {
            let address = address.strip_prefix("polite://").ok_or(io::ErrorKind::InvalidInput)?;
            let mut socket = TcpStream::connect(address).await?;
            socket.write_all(PASSWORD).await?;
            Ok(Box::new(socket) as Box<dyn Wire>)
        })
    }
}

/// A caller that secures connections on its own, as under TLS of its making, must get its bytes
/// through unchanged, and its own form of addresses.
#[test]
fn caller_makes_and_takes_connections() {
    in_time(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tcp, inbound) = Tcp::behind(address, config(2));
        let mut two = Seat { tcp, inbound };
        let door = two.tcp.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, from)) = listener.accept().await {
                let mut said = [0; PASSWORD.len()];
                if socket.read_exact(&mut said).await.is_ok() && said == *PASSWORD {
                    door.take_wire(Box::new(socket), from);
                }
            }
        });
        let one = Seat::new(config(1).dial(Arc::new(Polite))).await;
        one.tcp.peer(2, Some(format!("polite://{address}")));
        one.reach(2, &mut two).await;
    });
}
