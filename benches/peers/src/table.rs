//! The tables: what is started for each, in which order, and how it is told.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::Command;
use std::time::Instant;

use crate::children::{Helper, Sink, command};
use crate::machine;
use crate::pipeline::{Producer, Transport};
use crate::request::median;
use crate::rows::{Mode, Subject};

#[derive(Clone, Copy)]
pub(crate) enum Table {
    Request,
    EndToEnd,
    Pipeline,
    Encode,
    Scale,
}

impl Table {
    pub(crate) const ALL: [Self; 5] =
        [Self::Request, Self::EndToEnd, Self::Pipeline, Self::Encode, Self::Scale];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::EndToEnd => "end-to-end",
            Self::Pipeline => "pipeline",
            Self::Encode => "encode",
            Self::Scale => "scale",
        }
    }

    fn print(self) {
        match self {
            Self::Request => request(),
            Self::EndToEnd => end_to_end(),
            Self::Pipeline => pipeline(),
            Self::Encode => encode(),
            Self::Scale => scale(),
        }
    }
}

pub(crate) fn print(tables: &[Table]) {
    println!("Measured on {}, at {}, by", machine::description(), machine::commit());
    println!("`cargo run --release --manifest-path benches/peers/Cargo.toml`.");
    let began = Instant::now();
    for table in tables {
        table.print();
        eprintln!("{}: done after {:.0} s", table.name(), began.elapsed().as_secs_f64());
    }
}

/// A layer and what becomes of the requests.
type Row = (Subject, Mode);

fn request() {
    let sink = Sink::start(0);
    let rows = request_rows();
    let timed = passes(REQUEST_PASSES, &rows, |&(subject, mode)| {
        let arguments = [format!("{subject:?}"), format!("{mode:?}"), sink.address.to_string()];
        let [subject, mode, sink] = &arguments;
        Helper::start("time", &[subject, mode, sink, REQUEST_PAIRS]).figures::<5>()
    });
    let counted = instructions(&rows, &sink);

    println!("\n### A request, in process\n");
    println!("| layer | requests | × bare | all threads × bare | allocations | instructions |");
    println!("|---|---|--:|--:|--:|--:|");
    let bare = median(&mut timed.iter().flatten().map(|figures| figures[1]).collect::<Vec<_>>());
    for ((subject, mode), (timed, counted)) in rows.iter().zip(timed.iter().zip(&counted)) {
        let [ratio, others, allocations, exported] = [0, 2, 3, 4].map(|column| of(timed, column));
        let mark = if sampled(*mode) && exported < 0.99 && spans_of(*subject) {
            format!(" (exported {:.0} %)", exported * 100.0)
        } else {
            String::new()
        };
        let all = ratio + others / bare;
        let counted = counted.as_ref().map_or("–".to_owned(), |count| thousands(*count));
        println!(
            "| {} | {}{mark} | {ratio:.2} | {all:.2} | {allocations:.0} | {counted} |",
            subject.name(),
            word(*mode),
        );
    }
    println!("\nThe bare route takes {bare:.0} ns here.");
    if counted.iter().all(Option::is_none) {
        println!("Instructions are counted where there is valgrind.");
    }
}

fn request_rows() -> Vec<Row> {
    let mut rows = vec![
        (Subject::Nothing, Mode::Unsampled),
        (Subject::Wrapping, Mode::Unsampled),
        (Subject::TowerHttp, Mode::Unsampled),
        (Subject::Ours, Mode::Off),
    ];
    for mode in [Mode::Unsampled, Mode::Sampled, Mode::Forced] {
        rows.push((Subject::Ours, mode));
        if sampled(mode) {
            rows.push((Subject::OursSilent, mode));
        }
        rows.extend(Subject::PEERS.map(|peer| (peer, mode)));
    }
    rows
}

/// Instructions that each row adds to a request, on the thread of the request.
fn instructions(rows: &[Row], sink: &Sink) -> Vec<Option<f64>> {
    let (bare, with_header) = (
        instructions_of((Subject::Bare, Mode::Unsampled), sink),
        instructions_of((Subject::Bare, Mode::Forced), sink),
    );
    let count = |&(subject, mode): &Row| {
        let bare = if mode == Mode::Forced { with_header } else { bare };
        Some(instructions_of((subject, mode), sink)? - bare?)
    };
    rows.iter().map(count).collect()
}

/// `None` where there is no valgrind.
fn instructions_of((subject, mode): Row, sink: &Sink) -> Option<f64> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let arguments = [format!("{subject:?}"), format!("{mode:?}"), sink.address.to_string()];
    let [subject, mode, sink] = &arguments;
    let counted = command("count", &[subject, mode, sink, COUNTED_REQUESTS]);
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
    Some(total / COUNTED_REQUESTS.parse::<f64>().expect("a number"))
}

fn end_to_end() {
    let mut rows = vec![
        (Subject::Bare, Mode::Unsampled),
        (Subject::Wrapping, Mode::Unsampled),
        (Subject::Ours, Mode::Unsampled),
        (Subject::Fastrace, Mode::Unsampled),
        (Subject::InstrumentationTowerTraces, Mode::Unsampled),
        (Subject::Ours, Mode::Sampled),
    ];
    rows.extend(Subject::PEERS.map(|peer| (peer, Mode::Sampled)));
    let sink = Sink::start(0);
    let measured = passes(END_TO_END_PASSES, &rows, |&row| served(row, &sink));

    println!("\n### Requests over loopback, end to end\n");
    println!("| layer | requests | requests/s × bare | server CPU × bare | exported |");
    println!("|---|---|--:|--:|--:|");
    let bare = measured[0].clone();
    for ((subject, mode), measured) in rows.iter().zip(&measured).skip(1) {
        // Of the same pass.
        let ratio = |column: usize| {
            let ratios = measured.iter().zip(&bare).map(|(row, bare)| row[column] / bare[column]);
            median(&mut ratios.collect::<Vec<_>>())
        };
        let exported = match mode {
            Mode::Sampled => format!("{:.0} %", of(measured, 2) * 100.0),
            _ => String::new(),
        };
        println!(
            "| {} | {} | {:.2} | {:.2} | {exported} |",
            subject.name(),
            word(*mode),
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
fn served((subject, mode): Row, sink: &Sink) -> [f64; 3] {
    let arguments = [format!("{subject:?}"), format!("{mode:?}"), sink.address.to_string()];
    let [subject, mode, sink] = &arguments;
    let mut server = Helper::start("server", &[subject, mode, sink]);
    let address = server.hear::<String>().remove(0);
    let [warm_up, _] = Helper::start("load", &[&address, WARM_UP]).figures();
    server.say("CPU?");
    let [before] = server.figures();
    let [answers, seconds] = Helper::start("load", &[&address, LOAD]).figures();
    server.end();
    let [after, exported] = server.figures();
    [answers / seconds, (after - before) / answers, exported / (warm_up + answers)]
}

fn pipeline() {
    println!("\n### Spans of one thread at full speed\n");
    println!(
        "| made by | over | sink answers | exported spans/s | delivered | CPU s per million | made per CPU s |"
    );
    println!("|---|---|---|--:|--:|--:|--:|");
    let transports = [Transport::Grpc, Transport::Http, Transport::File];
    let producers = [Producer::Layer, Producer::Processor, Producer::Sdk];
    for (delay, transports) in [(0, &transports[..]), (10, &transports[..2])] {
        let sink = Sink::start(delay);
        let rows: Vec<_> = transports
            .iter()
            .flat_map(|transport| producers.map(|producer| (producer, *transport)))
            .collect();
        let measured = passes(PIPELINE_PASSES, &rows, |&row| produced(row, &sink));
        for ((producer, transport), measured) in rows.iter().zip(&measured) {
            let [per_second, delivered, cpu, made] =
                [0, 1, 2, 3].map(|column| of(measured, column));
            let answers = match (transport, delay) {
                (Transport::File, _) => "",
                (_, 0) => "at once",
                _ => "after 10 ms",
            };
            println!(
                "| {} | {} | {answers} | {} | {:.0} % | {cpu:.2} | {} |",
                maker(*producer, *transport),
                way(*transport),
                thousands(per_second),
                delivered * 100.0,
                thousands(made),
            );
        }
    }
}

/// Exported spans a second, the share that was exported, seconds of CPU time of all threads but the
/// producer's per million, and spans made a second.
fn produced((producer, transport): (Producer, Transport), sink: &Sink) -> [f64; 4] {
    // Files in memory, where there is such a directory: it is not the disk that is measured.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let directory = directory.expect("a directory");
    let path = directory.path().to_str().expect("a name");
    let arguments = [format!("{producer:?}"), format!("{transport:?}"), sink.address.to_string()];
    let [producer, transport, sink] = &arguments;
    let mut producing = Helper::start("produce", &[producer, transport, sink, path, PRODUCING]);
    let [made, exported, seconds, by_thread, others] = producing.figures();
    [exported / seconds, exported / made, others / 1e3 / exported, made * 1e9 / by_thread]
}

fn encode() {
    let sink = Sink::start(0);
    let address = sink.address.to_string();
    let rows = [()];
    let measured =
        passes(ENCODE_PASSES, &rows, |()| Helper::start("encode", &[&address]).figures::<5>());
    let [ours, our_allocations, theirs, their_allocations, ratio] =
        [0, 1, 2, 3, 4].map(|column| of(&measured[0], column));
    println!("\n### An ended span of the SDK becomes OTLP bytes\n");
    println!("| | ns | allocations |");
    println!("|---|--:|--:|");
    println!("| `OtlpSpanProcessor`: encoded and queued | {ours:.0} | {our_allocations:.1} |");
    println!(
        "| opentelemetry-otlp: cloned, transformed, encoded | {theirs:.0} | {their_allocations:.1} |"
    );
    println!("\nThe median of the ratios is {ratio:.1}.");
}

fn scale() {
    let sink = Sink::start(0);
    let sink = &*sink.address.to_string();
    println!("\n### Scale\n");
    println!("| | |");
    println!("|---|--:|");
    let sizes = ["1", "100", "10000"];
    let added = passes(SCALE_PASSES, &sizes, |size| {
        Helper::start("in-flight", &[size, sink]).figures::<1>()
    });
    for (size, added) in sizes.iter().zip(&added) {
        println!("| added to a sampled request, {size} in flight | {:.0} ns |", of(added, 0));
    }
    let [sampled, unsampled] = Helper::start("threads", &[sink]).figures();
    println!("| spans of two threads, × those of one in the same CPU time | {sampled:.2} |");
    println!("| the same, unsampled | {unsampled:.2} |");
    let [made, exported, lost] = Helper::start("offered", &[sink]).figures();
    println!(
        "| {} spans in 10 s, 500,000 a second at most | {} exported, {} lost |",
        thousands(made),
        thousands(exported),
        thousands(lost)
    );
}

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

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "tracing is off",
        Mode::Unsampled => "unsampled",
        Mode::Sampled => "sampled",
        Mode::Forced => "sampled by the caller",
    }
}

fn sampled(mode: Mode) -> bool {
    matches!(mode, Mode::Sampled | Mode::Forced)
}

fn spans_of(subject: Subject) -> bool {
    matches!(subject, Subject::Ours | Subject::OursSilent) || Subject::PEERS.contains(&subject)
}

fn maker(producer: Producer, transport: Transport) -> &'static str {
    match (producer, transport) {
        (Producer::Layer, _) => "`TraceLayer`",
        (Producer::Processor, _) => "SDK spans, `OtlpSpanProcessor`",
        (Producer::Sdk, Transport::File) => {
            "SDK spans, batch processor, opentelemetry-proto as JSON"
        }
        (Producer::Sdk, _) => "SDK spans, batch processor, opentelemetry-otlp",
    }
}

fn way(transport: Transport) -> &'static str {
    match transport {
        Transport::Grpc => "gRPC",
        Transport::Http => "HTTP",
        Transport::File => "file",
    }
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

const REQUEST_PASSES: usize = 3;
/// Of blocks, in each pass.
const REQUEST_PAIRS: &str = "80";
const COUNTED_REQUESTS: &str = "1000";
const END_TO_END_PASSES: usize = 5;
/// Milliseconds.
const WARM_UP: &str = "300";
const LOAD: &str = "1500";
const PIPELINE_PASSES: usize = 3;
const PRODUCING: &str = "2000";
const ENCODE_PASSES: usize = 3;
const SCALE_PASSES: usize = 3;
