//! What becomes of a database of a thousand records, each synced, when its file is damaged: a
//! table.
//!
//! ```sh
//! cargo run -p drystone-btree --example corruption_matrix
//! ```
//!
//! Every row writes the damage into a fresh copy of a real database on the real file system, opens
//! it, and asks for every record. The suite asserts every cell (`tests/suite/matrix.rs`).

mod cases;
#[path = "../../tests/suite/forge.rs"]
#[expect(dead_code, reason = "the suite needs more of it")]
mod forge;
mod lab;

use std::process::ExitCode;

use lab::Lab;

fn main() -> ExitCode {
    let lab = Lab::new();
    println!("| damage | state | what the database does | what it reports | right? |");
    println!("|---|---|---|---|---|");
    let mut wrong = 0;
    for row in cases::all() {
        let patient = lab.patient(row.state);
        let expected = (row.expected)(&patient.forge());
        (row.hurt)(&lab, &patient);
        let found = lab.judge(&patient, row.min_txn);
        wrong += usize::from(found != expected);
        println!("{}", cases::line(&row, &expected, &found));
    }
    println!("\nOthers, put through the first rows earlier, with their defaults:\n");
    println!("| damage | state | {} |", cases::PEERS.join(" | "));
    println!("|---|---|---|---|");
    for row in cases::shared() {
        if let Some(peers) = row.peers {
            let state = format!("{:?}", row.state).to_lowercase();
            println!("| {} | {state} | {} |", row.damage, peers.join(" | "));
        }
    }
    if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
