//! Builds the programs that a node needs besides its agent, to carry them inside.

#[path = "build/nested.rs"]
mod nested;

use nested::Program;

fn main() {
    for path in ["build.rs", "build", "../shim/src", "../shim/Cargo.toml", "../../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    nested::build(&[
        Program { package: "mason-shim", binary: "mason-shim" },
        Program { package: "mason-shim", binary: "mason-init" },
    ]);
}
