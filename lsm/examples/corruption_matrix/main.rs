//! What becomes of a database of a thousand records, each synced, when its files are damaged: a table.
//!
//! ```sh
//! cargo run -p drystone-lsm --example corruption_matrix
//! ```
//!
//! Every row writes the damage into a fresh copy of a real database on the real file system, opens it
//! and reads every record. The suite asserts every cell (`tests/suite/matrix.rs`).

mod cases;
mod lab;

use std::process::ExitCode;

use lab::Lab;

fn main() -> ExitCode {
    let lab = Lab::new();
    println!("| damage | state | what the database does | what it reports | right? |");
    println!("|---|---|---|---|---|");
    let mut wrong = 0;
    for row in cases::all() {
        let patient = lab.patient(row.shape, row.state);
        (row.hurt)(&lab, &patient);
        let found = lab.judge(&patient);
        wrong += usize::from(found != row.expected);
        println!("{}", cases::line(&row, &found));
    }
    println!("\nOthers, put through the first rows earlier, with their defaults:\n");
    println!("| damage | state | {} |", cases::PEERS.join(" | "));
    println!("|---|---|---|---|");
    for row in cases::all() {
        if let Some(peers) = row.peers {
            let state = format!("{:?}", row.state).to_lowercase();
            println!("| {} | {state} | {} |", row.damage, peers.join(" | "));
        }
    }
    if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
