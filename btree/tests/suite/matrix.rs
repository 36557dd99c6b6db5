//! The corruption matrix: every kind of damage to a database of a thousand records on the real file
//! system, each cell exact. The program `corruption_matrix` prints what is asserted here.

#[path = "../../examples/corruption_matrix/cases.rs"]
mod cases;
#[path = "../../examples/corruption_matrix/lab.rs"]
mod lab;

use std::path::Path;

use crate::forge;
use lab::Lab;

/// Before the table's first row in README.md.
const HEAD: &str = concat!(
    "| damage | state | what the database does | what it reports | right? |\n",
    "|---|---|---|---|---|\n",
);

// The promise of the whole crate, case by case: never silently fewer records, never a wrong one,
// never a refusal where nothing promised is lost; and whatever is refused is left as it was. The
// table in README.md is what was found; `UPDATE=1` writes it anew.
#[test]
fn every_cell_of_the_matrix_is_right() {
    let lab = Lab::new();
    let (mut wrong, mut table) = (Vec::new(), String::new());
    for row in cases::all() {
        let patient = lab.patient(row.state);
        let expected = (row.expected)(&patient.forge());
        (row.hurt)(&lab, &patient);
        let found = lab.judge(&patient, row.min_txn);
        let line = cases::line(&row, &expected, &found);
        if found != expected {
            wrong.push(format!("{line}\n    expected {expected:?}"));
        }
        table += &format!("{line}\n");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = String::from_utf8(lab::load(&path)).unwrap();
    let (before, after) = readme.split_once(HEAD).expect("there is a table");
    let rest = after.split_once("\n\n").expect("something follows it").1;
    if std::env::var_os("UPDATE").is_some() {
        lab::store(&path, format!("{before}{HEAD}{table}\n{rest}").as_bytes());
    } else {
        assert!(after.starts_with(&table), "the table in README.md is another, see UPDATE=1");
    }
}

// The printed table also shows what others do; a row that names none of them compares nothing.
#[test]
fn the_cases_that_others_went_through_are_in_the_matrix() {
    let compared = cases::shared().iter().filter(|row| row.peers.is_some()).count();
    assert_eq!((compared, cases::PEERS.len()), (6, 2));
}
