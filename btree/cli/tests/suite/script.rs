//! Golden scripts: a story, commands, `----`, what they print. `UPDATE=1` writes the latter.
//!
//! ```text
//!   make COUNT LEN killed|closed     a database in ./db
//!   flip FILE OFFSET                 one bit of that byte
//!   zero FILE FROM COUNT
//!   cut FILE LENGTH
//!   copy FILE TO
//!   drystone-btree ...                 the real binary: output, `! ` complaints, `= ` status
//! ```

use std::fmt::Write as _;
use std::path::Path;

use crate::lab::Lab;

/// Runs the commands of one script and returns it with what they print now.
fn replay(script: &str) -> String {
    let lab = Lab::new();
    let mut out = String::new();
    let mut skipping = false;
    let mut printed = String::new();
    for line in script.lines() {
        if skipping {
            skipping = !line.is_empty();
            if skipping {
                continue;
            }
        }
        writeln!(out, "{line}").unwrap();
        if line == "----" {
            out.push_str(&std::mem::take(&mut printed));
            skipping = true;
        } else if !line.is_empty() && !line.starts_with('#') {
            let words: Vec<&str> = line.split_whitespace().collect();
            printed.push_str(&perform(&lab, &words));
        }
    }
    assert!(printed.is_empty(), "a script ends with ---- and output");
    out
}

fn perform(lab: &Lab, words: &[&str]) -> String {
    let number = |i: usize| words[i].parse::<usize>().unwrap();
    match words[0] {
        "make" => lab.make(words[1].parse().unwrap(), number(2), words[3] == "closed"),
        "flip" => lab.edit(words[1], |bytes| bytes[number(2)] ^= 1),
        "zero" => {
            lab.edit(words[1], |bytes| bytes[number(2)..number(2) + number(3)].fill(0));
        }
        "cut" => lab.edit(words[1], |bytes| bytes.truncate(number(2))),
        "copy" => drop(std::fs::copy(lab.path(words[1]), lab.path(words[2])).unwrap()),
        "drystone-btree" => {
            let output = lab.run(&words[1..]);
            let mut text = String::from_utf8(output.stdout).unwrap();
            for line in String::from_utf8(output.stderr).unwrap().lines() {
                writeln!(text, "! {line}").unwrap();
            }
            let status = output.status.code().unwrap();
            return format!("{}= {status}\n", text.replace("\n\n", "\n"));
        }
        other => panic!("no command {other}"),
    }
    String::new()
}

// What people read, as the reviewer reads it.
#[test]
fn every_script_prints_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "{paths:?}");
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let now = replay(&script);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &now).unwrap();
        } else {
            assert!(now == script, "{}, now:\n{now}", path.display());
        }
    }
}
