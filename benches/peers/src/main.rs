//! tower-otlp beside its peers, in tables of Markdown.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml
//!
//! With names of tables (`request`, `ours`, `grpc`, `client`, `end-to-end`, `pipeline`, `encode`,
//! `scale`) only those. Read the ratios: times are the machine's, and what it does besides.
//! Instructions need valgrind. With `--brief` before the names each table is made in seconds, to see
//! that it works, and its figures mean nothing.
//!
//! Linux only: it asks for the CPU time of threads, and says which CPU they stay on.

mod allocations;
mod around;
mod children;
mod encode;
mod end_to_end;
mod exporters;
mod machine;
mod nothing;
mod pipeline;
mod request;
mod scale;
mod setup;
mod sink;
mod spans;
mod subject;
mod tables;
#[path = "../../overhead/nothing.rs"]
mod wrapping;

use std::env;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::children::CHILD;
use crate::tables::{Effort, Table};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [CHILD, role, ref arguments @ ..] => child(role, arguments),
        [BRIEF, ref names @ ..] => tables::print(&named(names), Effort::Brief),
        ref names => tables::print(&named(names), Effort::Full),
    }
}

/// All where none is named.
fn named(names: &[&str]) -> Vec<Table> {
    if names.is_empty() {
        return Table::ALL.to_vec();
    }
    let named = |name: &&str| Table::ALL.into_iter().find(|table| table.name() == *name);
    let tables = names.iter().map(|name| named(name).ok_or(name));
    tables.collect::<Result<_, _>>().unwrap_or_else(|name| panic!("no such table: {name}"))
}

/// What the processes do that the tables start.
fn child(role: &str, arguments: &[&str]) {
    match (role, arguments) {
        ("sink", [delay]) => sink::run(milliseconds(delay)),
        ("time", [around, subject, mode, sink, pairs]) => request::time(
            parsed(around),
            parsed(subject),
            parsed(mode),
            parsed(sink),
            parsed(pairs),
        ),
        ("count", [around, subject, mode, sink, requests]) => request::count(
            parsed(around),
            parsed(subject),
            parsed(mode),
            parsed(sink),
            parsed(requests),
        ),
        ("encode", [sink, rounds]) => encode::run(parsed(sink), parsed(rounds)),
        ("produce", [producer, transport, sink, directory, time]) => pipeline::run(
            parsed(producer),
            parsed(transport),
            parsed(sink),
            Path::new(directory),
            milliseconds(time),
        ),
        ("server", [subject, mode, sink]) => {
            end_to_end::serve(parsed(subject), parsed(mode), parsed(sink));
        }
        ("load", [server, time]) => {
            end_to_end::load(parsed(server), milliseconds(time));
        }
        ("in-flight", [requests, sink, rounds]) => {
            scale::in_flight(parsed(requests), parsed(sink), parsed(rounds));
        }
        ("threads", [sink, time]) => scale::threads(parsed(sink), milliseconds(time)),
        ("offered", [sink, time]) => scale::offered(parsed(sink), milliseconds(time)),
        _ => panic!("nobody asks for that: {role} {arguments:?}"),
    }
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(parsed(text))
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not understood: {text:?}"))
}

/// The first argument where nothing is to be measured.
const BRIEF: &str = "--brief";
