//! Requests over loopback.

use super::{Effort, Row, of, passes, thousands};
use crate::children::{Helper, Sink};
use crate::request::median;
use crate::subject::{Mode, Subject, Variation};

pub(super) fn print(effort: Effort) {
    let sink = Sink::start(0);
    let measured = passes(effort.passes(PASSES), &ROWS, |&row| served(row, &sink, effort));

    println!("\n### Requests over loopback, end to end\n");
    println!("| layer | requests | requests/s × bare | server CPU × bare | exported |");
    println!("|---|---|--:|--:|--:|");
    let bare = measured[0].clone();
    for ((subject, mode), measured) in ROWS.iter().zip(&measured).skip(1) {
        // Of the same pass.
        let ratio = |column: usize| {
            let ratios = measured.iter().zip(&bare).map(|(row, bare)| row[column] / bare[column]);
            median(&mut ratios.collect::<Vec<_>>())
        };
        let (requests, exported) = match mode {
            Mode::Sampled => ("sampled", format!("{:.0} %", of(measured, 2) * 100.0)),
            _ => ("unsampled", String::new()),
        };
        println!(
            "| {} | {requests} | {:.2} | {:.2} | {exported} |",
            subject.name(),
            ratio(0),
            ratio(1),
        );
    }
    println!(
        "\nBare, the server answers {} requests a second, in {:.1} µs of CPU each.",
        thousands(of(&bare, 0)),
        of(&bare, 1) / 1e3
    );
}

/// Requests a second, CPU nanoseconds of the server for each, and the share of its spans that was
/// exported.
fn served((subject, mode): Row, sink: &Sink, effort: Effort) -> [f64; 3] {
    let arguments = [format!("{subject:?}"), format!("{mode:?}"), sink.address.to_string()];
    let mut server = Helper::start("server", &arguments.each_ref().map(String::as_str));
    let address = server.hear::<String>().remove(0);
    let load = |milliseconds| {
        let milliseconds = effort.share(milliseconds).to_string();
        Helper::start("load", &[&address, &milliseconds]).figures()
    };
    let [warm_up, _] = load(WARM_UP);
    server.say("CPU?");
    let [before] = server.figures();
    let [answers, seconds] = load(LOAD);
    server.end();
    let [after, exported] = server.figures();
    [answers / seconds, (after - before) / answers, exported / (warm_up + answers)]
}

const ROWS: [Row; 12] = [
    (Subject::Bare, Mode::Unsampled),
    (Subject::Wrapping, Mode::Unsampled),
    (Subject::Ours(Variation::AsItComes), Mode::Unsampled),
    (Subject::FastraceAxum, Mode::Unsampled),
    (Subject::InstrumentationTowerTraces, Mode::Unsampled),
    (Subject::Ours(Variation::AsItComes), Mode::Sampled),
    (Subject::FastraceAxum, Mode::Sampled),
    (Subject::InstrumentationTowerTraces, Mode::Sampled),
    (Subject::InstrumentationTower, Mode::Sampled),
    (Subject::TowerOtel, Mode::Sampled),
    (Subject::AxumTracing, Mode::Sampled),
    (Subject::AxumOtel, Mode::Sampled),
];
const PASSES: usize = 5;
/// Milliseconds.
const WARM_UP: u64 = 200;
const LOAD: u64 = 1000;
