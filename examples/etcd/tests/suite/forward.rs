//! The TCP gateway: `gateway start`, beside etcd's own.
//!
//! | room | asks |
//! |---|---|
//! | [`commands`] | whether it starts, refuses and says what etcd's does |
//! | [`carriage`] | whether bytes get through: both ways, to their end, and no more than fit |
//! | [`members`] | whether clients go on while members come and go |

mod carriage;
mod commands;
mod members;

use std::path::Path;

use tempfile::TempDir;

use crate::support::programs;
use crate::support::server::{clean_command, free_port};
use crate::tls::secured::Started;

/// A gateway's process.
struct Gateway {
    process: Started,
    port: u16,
    _folder: TempDir,
}

impl Gateway {
    fn start(program: &Path, endpoints: &[String], flags: &[&str]) -> Gateway {
        let (folder, port) = (tempfile::tempdir().expect("a folder can be made"), free_port());
        let mut command = clean_command(program);
        command.args(["gateway", "start", &format!("--listen-addr=127.0.0.1:{port}")]);
        command.arg(format!("--endpoints={}", endpoints.join(","))).args(flags);
        let mut process = Started::new(command, &folder.path().join("log"));
        process.wait_until("ready to proxy client requests");
        Gateway { process, port, _folder: folder }
    }

    /// Ours.
    fn ours(endpoints: &[String], flags: &[&str]) -> Gateway {
        Gateway::start(&programs::ours(), endpoints, flags)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}
