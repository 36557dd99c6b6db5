//! A backup that is killed, at whatever it is doing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{add, files, restored};
use crate::migration::{run_ours, text, word};
use crate::support::calls::{client_of, get, in_a_runtime, put, runtime};
use crate::support::programs::ours;
use crate::support::server::{Server, clean_command};

const ROUNDS: usize = 12;

// Machines that make backups crash as well; what was said to be there must be there, whole, and
// the next backup must go on with it.
#[test]
fn a_backup_that_is_killed_goes_on() {
    let test = "backup::crash::a_backup_that_is_killed_goes_on";
    let mut rng = ChaCha8Rng::seed_from_u64(crate::support::seed(test));
    let server = Server::start(&ours(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let runtime = runtime();
    let client = runtime.block_on(client_of(&server));
    let (mut number, mut counted) = (0, 0);
    for _ in 0..ROUNDS {
        let mut command = clean_command(&ours());
        command.args(["backup", "--endpoints", &server.client_url(), "--dir", word(dir)]);
        command.args(["--every=1ms", "--full-after=100ms", "--keep=3"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut backup = command.spawn().unwrap();
        // Until it is at it, and then some.
        let (begin, lines) = (Instant::now(), rng.random_range(0..6));
        let target = manifest_lines(dir) + lines;
        while manifest_lines(dir) < target && begin.elapsed() < Duration::from_secs(20) {
            number += 1;
            runtime.block_on(put(&client, &format!("key/{}", number % 7), vec![b'v'; 3000], 0));
            // Old chains go, and their lines.
            counted += 1;
            if counted > 60 {
                counted = 0;
                break;
            }
        }
        backup.kill().unwrap();
        backup.wait().unwrap();
        let listed = run_ours(&["backup", "list", word(dir), "--verify"]);
        let known = text(&listed.stdout);
        assert!(listed.status.success() || known.is_empty(), "{listed:?}");
    }
    add(&server, dir);
    assert_eq!(files(dir, ".part"), [""; 0]);
    let listed = run_ours(&["backup", "list", word(dir), "--verify"]);
    let known = text(&listed.stdout);
    assert!(listed.status.success() && known.contains(" sound"), "{listed:?}");
    assert_eq!(
        files(dir, ".db").len() + files(dir, ".increment").len(),
        known.matches(" sound").count()
    );
    let server = restored(dir, &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(get(&client, &format!("key/{}", number % 7)).await.kvs.len(), 1);
    });
}

fn manifest_lines(dir: &std::path::Path) -> usize {
    let text = std::fs::read(dir.join("manifest")).unwrap_or_default();
    text.iter().filter(|byte| **byte == b'\n').count()
}
