//! The corruption matrix: every kind of damage to a database of a thousand records on the real file
//! system, each cell exact. The program `corruption_matrix` prints what is asserted here.

#[path = "../../examples/corruption_matrix/cases.rs"]
mod cases;
#[path = "../../examples/corruption_matrix/lab.rs"]
mod lab;

use crate::forge;
use lab::Lab;

// The promise of the whole crate, case by case: never silently fewer records, never a wrong one,
// never a refusal where nothing promised is lost; and whatever is refused is left as it was.
#[test]
fn every_cell_of_the_matrix_is_right() {
    let lab = Lab::new();
    let readme = include_str!("../../README.md");
    let mut wrong = Vec::new();
    for row in cases::all() {
        let patient = lab.patient(row.state);
        (row.hurt)(&lab, &patient);
        let found = lab.judge(&patient, row.min_txn);
        let line = cases::line(&row, &found);
        if found != row.expected {
            wrong.push(format!("{line}\n    expected {:?}", row.expected));
        }
        assert!(readme.contains(&line), "the table in README.md lacks: {line}");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

// The printed table also shows what others do; a row that names none of them compares nothing.
#[test]
fn the_cases_that_others_went_through_are_in_the_matrix() {
    let compared = cases::shared().iter().filter(|row| row.peers.is_some()).count();
    assert_eq!((compared, cases::PEERS.len()), (6, 2));
}
