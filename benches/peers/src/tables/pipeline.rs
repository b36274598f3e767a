//! Spans that leave the process while one thread makes them at full speed.

use super::{Effort, of, passes, thousands};
use crate::children::{Helper, Sink};
use crate::pipeline::{Producer, Transport};

pub(super) fn print(effort: Effort) {
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
        let measured = passes(effort.passes(PASSES), &rows, |&row| produced(row, &sink, effort));
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
fn produced((producer, transport): (Producer, Transport), sink: &Sink, effort: Effort) -> [f64; 4] {
    // Files in memory, where there is such a directory: it is not the disk that is measured.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let directory = directory.expect("a directory");
    let arguments = [
        format!("{producer:?}"),
        format!("{transport:?}"),
        sink.address.to_string(),
        directory.path().to_str().expect("a name").to_owned(),
        effort.share(PRODUCING).to_string(),
    ];
    let mut producing = Helper::start("produce", &arguments.each_ref().map(String::as_str));
    let [made, exported, seconds, by_thread, others] = producing.figures();
    [exported / seconds, exported / made, others / 1e3 / exported, made * 1e9 / by_thread]
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

const PASSES: usize = 3;
/// Milliseconds.
const PRODUCING: u64 = 1500;
