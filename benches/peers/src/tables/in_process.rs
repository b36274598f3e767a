//! What a layer adds to a request in process: a table for each thing that layers go around, and
//! one for the parts of ours.

use std::process::Command;

use super::{Effort, Row, of, passes, thousands};
use crate::around::Around;
use crate::children::{Helper, Sink, command};
use crate::request::median;
use crate::subject::{Mode, Subject, Variation};

pub(super) fn request(effort: Effort) {
    let mut rows = without_spans(&[Subject::Nothing, Subject::Wrapping, Subject::TowerHttp]);
    rows.push((Subject::Ours(Variation::AsItComes), Mode::Off));
    for mode in MODES {
        rows.push((Subject::Ours(Variation::AsItComes), mode));
        if mode.is_sampled() {
            rows.push((Subject::Ours(Variation::Silent), mode));
        }
        rows.extend(
            [
                Subject::FastraceAxum,
                Subject::InstrumentationTowerTraces,
                Subject::InstrumentationTower,
                Subject::TowerOtel,
                Subject::AxumTracing,
                Subject::AxumOtel,
            ]
            .map(|peer| (peer, mode)),
        );
    }
    print("A request, in process", Around::Route, &rows, effort);
}

pub(super) fn ours(effort: Effort) {
    let mut rows = without_spans(&[Subject::Wrapping]);
    let [off, unsampled, sampled, forced] =
        [Mode::Off, Mode::Unsampled, Mode::Sampled, Mode::Forced];
    rows.extend(
        [
            (Variation::AsItComes, off),
            (Variation::Metrics, off),
            (Variation::Lean, unsampled),
            (Variation::AsItComes, unsampled),
            (Variation::Metrics, unsampled),
            (Variation::Lean, sampled),
            (Variation::Silent, sampled),
            (Variation::Header, sampled),
            (Variation::Extension, sampled),
            (Variation::AsItComes, sampled),
            (Variation::Metrics, sampled),
            (Variation::Lean, forced),
            (Variation::Silent, forced),
            (Variation::AsItComes, forced),
        ]
        .map(|(variation, mode)| (Subject::Ours(variation), mode)),
    );
    print("What each part of ours takes of it", Around::Route, &rows, effort);
}

pub(super) fn grpc(effort: Effort) {
    let mut rows = without_spans(&[Subject::Nothing, Subject::Wrapping, Subject::TowerHttp]);
    rows.push((Subject::Ours(Variation::AsItComes), Mode::Off));
    for mode in MODES {
        rows.extend(
            [
                Subject::Ours(Variation::Lean),
                Subject::Ours(Variation::AsItComes),
                Subject::FastraceTonic,
                Subject::InstrumentationTowerTraces,
                Subject::TowerOtel,
                Subject::TonicTracing,
            ]
            .map(|subject| (subject, mode)),
        );
    }
    print("A unary call of tonic, in process", Around::Grpc, &rows, effort);
}

pub(super) fn client(effort: Effort) {
    let mut rows = without_spans(&[Subject::Nothing, Subject::Wrapping]);
    rows.push((Subject::Ours(Variation::AsItComes), Mode::Off));
    for mode in MODES {
        rows.extend(
            [
                Subject::Ours(Variation::AsItComes),
                Subject::TowerHttpOpenTelemetry,
                Subject::TowerOtel,
            ]
            .map(|subject| (subject, mode)),
        );
    }
    print("A request of a client, answered at once", Around::Client, &rows, effort);
}

fn without_spans(subjects: &[Subject]) -> Vec<Row> {
    subjects.iter().map(|&subject| (subject, Mode::Unsampled)).collect()
}

fn print(title: &str, around: Around, rows: &[Row], effort: Effort) {
    let sink = Sink::start(0);
    let timed = passes(effort.passes(PASSES), rows, |row| {
        let arguments = arguments(around, *row, &sink, effort.share(PAIRS));
        Helper::start("time", &arguments.each_ref().map(String::as_str)).figures::<5>()
    });
    let counted = match effort {
        Effort::Full => instructions(around, rows, &sink),
        Effort::Brief => vec![None; rows.len()],
    };

    println!("\n### {title}\n");
    println!("| layer | requests | × bare | all threads × bare | allocations | instructions |");
    println!("|---|---|--:|--:|--:|--:|");
    let bare = median(&mut timed.iter().flatten().map(|figures| figures[1]).collect::<Vec<_>>());
    for ((subject, mode), (timed, counted)) in rows.iter().zip(timed.iter().zip(&counted)) {
        let [ratio, others, allocations, exported] = [0, 2, 3, 4].map(|column| of(timed, column));
        let is_as_said = match mode.is_sampled() && subject.makes_spans() {
            true => exported >= 0.99,
            false => exported == 0.0,
        };
        let mark = if is_as_said {
            String::new()
        } else {
            format!(" (exported {:.0} %)", exported * 100.0)
        };
        let all = ratio + others / bare;
        let counted = counted.as_ref().map_or("–".to_owned(), |count| thousands(*count));
        println!(
            "| {} | {}{mark} | {ratio:.2} | {all:.2} | {allocations:.0} | {counted} |",
            subject.name(),
            word(around, *mode),
        );
    }
    println!("\nThe bare {} takes {bare:.0} ns here.", around.name());
    if counted.iter().all(Option::is_none) {
        println!("Instructions are counted where there is valgrind.");
    }
}

/// Instructions that each row adds to a request, on the thread of the request.
fn instructions(around: Around, rows: &[Row], sink: &Sink) -> Vec<Option<f64>> {
    let [bare, forced] = [Mode::Unsampled, Mode::Forced]
        .map(|mode| instructions_of(around, (Subject::Bare, mode), sink));
    let count = |row: &Row| {
        let bare = if row.1 == Mode::Forced { forced } else { bare };
        Some(instructions_of(around, *row, sink)? - bare?)
    };
    rows.iter().map(count).collect()
}

/// `None` where there is no valgrind.
fn instructions_of(around: Around, row: Row, sink: &Sink) -> Option<f64> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let arguments = arguments(around, row, sink, COUNTED_REQUESTS);
    let counted = command("count", &arguments.each_ref().map(String::as_str));
    let ended = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--toggle-collect=*counted_requests*"])
        .arg(format!("--callgrind-out-file={}", file.path().display()))
        .arg(counted.get_program())
        .args(counted.get_args())
        .status();
    assert!(ended.ok()?.success(), "callgrind failed");
    let report = std::fs::read_to_string(file.path()).expect("a report");
    let total = report.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: f64 = total.and_then(|total| total.parse().ok()).expect("a sum");
    Some(total / COUNTED_REQUESTS as f64)
}

/// Of a process that makes so many requests, or blocks of them.
fn arguments(around: Around, (subject, mode): Row, sink: &Sink, amount: u64) -> [String; 5] {
    [
        format!("{around:?}"),
        format!("{subject:?}"),
        format!("{mode:?}"),
        sink.address.to_string(),
        amount.to_string(),
    ]
}

fn word(around: Around, mode: Mode) -> &'static str {
    match (mode, around) {
        (Mode::Off, _) => "tracing is off",
        (Mode::Unsampled, _) => "unsampled",
        (Mode::Sampled, _) => "sampled",
        (Mode::Forced, Around::Client) => "in a sampled trace",
        (Mode::Forced, _) => "sampled by the caller",
    }
}

/// Those in which spans are compared.
const MODES: [Mode; 3] = [Mode::Unsampled, Mode::Sampled, Mode::Forced];
const PASSES: usize = 3;
/// Of blocks, in each pass.
const PAIRS: u64 = 50;
const COUNTED_REQUESTS: u64 = 1000;
