//! Prints the tables of figures: tower-otlp beside its peers, and what each part of it takes.
//!
//!     cargo bench --bench tables
//!     cargo bench --bench tables -- ours grpc
//!
//! Without names, all of them. `benches/peers` makes them, a crate of its own, so that the peers are
//! no dev-dependencies of this one: it is built and run.

use std::env;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let (options, tables): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let asked = |what| options.iter().any(|option| option == what);
    // Cargo may only check that benches build and run.
    if !asked("--bench") || asked("--test") {
        return ExitCode::SUCCESS;
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ended = Command::new(cargo)
        .args(["run", "--release", "--locked", "--manifest-path", PEERS, "--"])
        .args(tables)
        .status();
    if ended.expect("cargo").success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/Cargo.toml");
