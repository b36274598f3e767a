//! A command-line tool and the two servers behind it, all over mTLS, in one program.
//!
//!     cargo run --all-features --example tsh -- --trace ls
//!     cargo run --all-features --example tsh -- --trace-exporter=file:///tmp/own ls
//!     cargo run --all-features --example tsh -- ls
//!
//! `tsh` asks auth, and auth asks backend. Both servers record nothing on their own. With `--trace`
//! you should see one trace in the files of the servers: its first two spans are the tool's, which
//! has sent them through auth, and say for whom (`tower_otlp.forwarded.for`). With
//! `--trace-exporter` these two stand in the tool's own file instead. Without either there are none.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod auth;
mod backend;
mod client;
mod pki;
mod rpc;
mod server;

use std::error::Error;
use std::path::{self, PathBuf};
use std::process::Termination;

use clap::{Parser, Subcommand};
use tower_otlp::TraceArgs;

use crate::pki::Authority;

/// Lists the nodes of a cluster that starts and ends with this program
#[derive(Parser)]
#[command(name = "tsh")]
struct Cli {
    #[command(flatten)]
    trace: TraceArgs,
    /// Where the servers write their traces, each in a directory of its own
    #[arg(long, value_name = "DIRECTORY")]
    traces: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List nodes
    Ls,
}

#[tokio::main]
async fn main() -> Result<impl Termination, Box<dyn Error>> {
    let cli = Cli::parse();
    // Tonic leaves it to the program, where there is more than one.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "there is one already")?;
    let traces = match cli.traces {
        Some(directory) => path::absolute(directory)?,
        None => tempfile::Builder::new().prefix("tsh-").tempdir()?.keep().join("traces"),
    };
    let authority = Authority::new()?;
    let alice = authority.user("alice")?;
    let backend = backend::start(&authority, &traces).await?;
    let auth = auth::start(&authority, &traces, backend.address, &alice).await?;

    // From here on it is the tool, and could be another program.
    let trace = cli.trace.start("tsh");
    let finished = match cli.command {
        Command::Ls => {
            trace
                .named("tsh ls")
                .run(async |trace| client::ls(trace, &alice, auth.address).await)
                .await
        }
    };

    println!("auth:    {}", auth.shutdown().await?);
    println!("backend: {}", backend.shutdown().await?);
    println!("the servers' spans are in {}", traces.display());
    Ok(finished)
}
