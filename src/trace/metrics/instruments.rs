//! The instruments, by the semantic conventions.

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider, UpDownCounter};

use crate::trace::{SCHEMA_URL, SCOPE, VERSION};

/// The instruments of one side, client or server.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) http_duration: Histogram<f64>,
    /// Of servers only: the one that the conventions have for clients is theirs to opt into.
    pub(super) active: Option<UpDownCounter<i64>>,
    // Bytes in floating point: a client may declare any length, and a sum of integers that
    // overflows is lost.
    pub(super) request_size: Histogram<f64>,
    pub(super) response_size: Histogram<f64>,
    pub(super) rpc_duration: Histogram<f64>,
}

/// Name and description of each instrument.
pub(super) struct Names {
    http_duration: [&'static str; 2],
    active: Option<[&'static str; 2]>,
    request_size: [&'static str; 2],
    response_size: [&'static str; 2],
    rpc_duration: [&'static str; 2],
}

pub(super) const SERVER: Names = Names {
    http_duration: ["http.server.request.duration", "Duration of HTTP server requests."],
    active: Some(["http.server.active_requests", "Number of active HTTP server requests."]),
    request_size: ["http.server.request.body.size", "Size of HTTP server request bodies."],
    response_size: ["http.server.response.body.size", "Size of HTTP server response bodies."],
    rpc_duration: [
        "rpc.server.call.duration",
        "Measures the duration of an incoming Remote Procedure Call (RPC).",
    ],
};

pub(super) const CLIENT: Names = Names {
    http_duration: ["http.client.request.duration", "Duration of HTTP client requests."],
    active: None,
    request_size: ["http.client.request.body.size", "Size of HTTP client request bodies."],
    response_size: ["http.client.response.body.size", "Size of HTTP client response bodies."],
    rpc_duration: [
        "rpc.client.call.duration",
        "Measures the duration of an outgoing Remote Procedure Call (RPC).",
    ],
};

/// The meter of all that is measured here.
pub(crate) fn meter(provider: &(impl MeterProvider + ?Sized)) -> Meter {
    let scope = InstrumentationScope::builder(SCOPE)
        .with_version(VERSION)
        .with_schema_url(SCHEMA_URL)
        .build();
    provider.meter_with_scope(scope)
}

impl Instruments {
    pub(super) fn new(provider: &(impl MeterProvider + ?Sized), names: &Names) -> Self {
        let meter = meter(provider);
        let counter = |[name, description]: [&'static str; 2]| {
            let counter = meter.i64_up_down_counter(name).with_description(description);
            counter.with_unit("{request}").build()
        };
        Self {
            http_duration: histogram(&meter, names.http_duration, "s", &SECONDS),
            active: names.active.map(counter),
            request_size: histogram(&meter, names.request_size, "By", &BYTES),
            response_size: histogram(&meter, names.response_size, "By", &BYTES),
            rpc_duration: histogram(&meter, names.rpc_duration, "s", &SECONDS),
        }
    }
}

fn histogram(
    meter: &Meter,
    [name, description]: [&'static str; 2],
    unit: &'static str,
    boundaries: &[f64],
) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_description(description)
        .with_unit(unit)
        .with_boundaries(boundaries.to_vec())
        .build()
}

/// The boundaries that the conventions give for durations.
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// The conventions give none for sizes, and those that an SDK takes then are meant for
/// milliseconds: they end at 10 kB. These are 0, and 64 B to 64 MiB in steps of four.
const BYTES: [f64; 12] = [
    0.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0,
    67108864.0,
];
