//! tower-otlp beside its peers, in tables of Markdown.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml
//!
//! With the name of a table (`request`, `end-to-end`, `pipeline`, `encode`, `scale`) only that one.
//! Read the ratios: times are the machine's, and what it does besides. Instructions need valgrind.
//!
//! Linux only: it asks for the CPU time of threads, and says which CPU they stay on.

mod allocations;
mod children;
mod encode;
mod end_to_end;
mod exporters;
mod machine;
mod nothing;
mod pipeline;
mod request;
mod rows;
mod scale;
mod sink;
mod spans;
mod table;
#[path = "../../overhead/nothing.rs"]
mod wrapping;

use std::env;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::children::CHILD;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [CHILD, role, ref arguments @ ..] => child(role, arguments),
        [] => table::print(&table::Table::ALL),
        [name] => match table::Table::ALL.into_iter().find(|table| table.name() == name) {
            Some(table) => table::print(&[table]),
            None => panic!("no such table: {name}"),
        },
        _ => panic!("one table, or none for all"),
    }
}

/// What the processes do that the tables start.
fn child(role: &str, arguments: &[&str]) {
    match (role, arguments) {
        ("sink", [delay]) => sink::run(Duration::from_millis(parsed(delay))),
        ("time", [subject, mode, sink, pairs]) => {
            request::time(parsed(subject), parsed(mode), parsed(sink), parsed(pairs));
        }
        ("count", [subject, mode, sink, requests]) => {
            request::count(parsed(subject), parsed(mode), parsed(sink), parsed(requests));
        }
        ("encode", [sink]) => encode::run(parsed(sink)),
        ("produce", [producer, transport, sink, directory, milliseconds]) => pipeline::run(
            parsed(producer),
            parsed(transport),
            parsed(sink),
            Path::new(directory),
            Duration::from_millis(parsed(milliseconds)),
        ),
        ("server", [subject, mode, sink]) => {
            end_to_end::serve(parsed(subject), parsed(mode), parsed(sink));
        }
        ("load", [server, milliseconds]) => {
            end_to_end::load(parsed(server), Duration::from_millis(parsed(milliseconds)));
        }
        ("in-flight", [requests, sink]) => scale::in_flight(parsed(requests), parsed(sink)),
        ("threads", [sink]) => scale::threads(parsed(sink)),
        ("offered", [sink]) => scale::offered(parsed(sink)),
        _ => panic!("nobody asks for that: {role} {arguments:?}"),
    }
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not understood: {text:?}"))
}
