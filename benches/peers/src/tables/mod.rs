//! The tables: what is started for each, in which order, and how it is told.

mod encode;
mod end_to_end;
mod in_process;
mod pipeline;
mod scale;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Instant;

use crate::machine;
use crate::request::median;
use crate::subject::{Mode, Subject};

#[derive(Clone, Copy)]
pub(crate) enum Table {
    Request,
    Ours,
    Grpc,
    Client,
    EndToEnd,
    Pipeline,
    Encode,
    Scale,
}

impl Table {
    pub(crate) const ALL: [Self; 8] = [
        Self::Request,
        Self::Ours,
        Self::Grpc,
        Self::Client,
        Self::EndToEnd,
        Self::Pipeline,
        Self::Encode,
        Self::Scale,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Ours => "ours",
            Self::Grpc => "grpc",
            Self::Client => "client",
            Self::EndToEnd => "end-to-end",
            Self::Pipeline => "pipeline",
            Self::Encode => "encode",
            Self::Scale => "scale",
        }
    }

    fn print(self, effort: Effort) {
        match self {
            Self::Request => in_process::request(effort),
            Self::Ours => in_process::ours(effort),
            Self::Grpc => in_process::grpc(effort),
            Self::Client => in_process::client(effort),
            Self::EndToEnd => end_to_end::print(effort),
            Self::Pipeline => pipeline::print(effort),
            Self::Encode => encode::print(effort),
            Self::Scale => scale::print(effort),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Effort {
    Full,
    /// As little as shows that all of it works: its figures mean nothing.
    Brief,
}

impl Effort {
    fn passes(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Brief => 1,
        }
    }

    /// Of rounds or milliseconds.
    fn share(self, full: u64) -> u64 {
        match self {
            Self::Full => full,
            Self::Brief => (full / 20).max(1),
        }
    }
}

pub(crate) fn print(tables: &[Table], effort: Effort) {
    println!("Measured on {}, at {}, by", machine::description(), machine::commit());
    println!("`cargo run --release --manifest-path benches/peers/Cargo.toml`.");
    let began = Instant::now();
    for table in tables {
        table.print(effort);
        eprintln!("{}: done after {:.0} s", table.name(), began.elapsed().as_secs_f64());
    }
}

/// A layer and what becomes of the requests.
type Row = (Subject, Mode);

/// Measures each row so many times, in another order each time.
fn passes<R, const N: usize>(
    passes: usize,
    rows: &[R],
    measure: impl Fn(&R) -> [f64; N],
) -> Vec<Vec<[f64; N]>> {
    let mut measured = vec![Vec::with_capacity(passes); rows.len()];
    for _ in 0..passes {
        let random = RandomState::new();
        let mut order: Vec<_> = (0..rows.len()).collect();
        order.sort_by_cached_key(|row| random.hash_one(row));
        for row in order {
            measured[row].push(measure(&rows[row]));
        }
    }
    measured
}

/// The median of a figure.
fn of<const N: usize>(passes: &[[f64; N]], column: usize) -> f64 {
    median(&mut passes.iter().map(|figures| figures[column]).collect::<Vec<_>>())
}

/// Rounded, and with commas.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number < -0.5 { "−".to_owned() } else { String::new() };
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
