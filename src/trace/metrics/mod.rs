//! What is counted of requests: durations, those under way, sizes of bodies.
//!
//! A [`Measured`] is the part of an [`Exchange`](super::exchange::Exchange) that counts. It finds
//! the attribute sets it needs ready made: [`series`] keeps those of HTTP, by method and route, and
//! [`calls`] those of gRPC, by method; both in a [`table`] that is bounded and has no locks, so no
//! lock of ours is held while an instrument, which is the user's, is called.

mod calls;
mod endings;
mod instruments;
mod series;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;

use self::calls::{Callee, Calls};
use self::instruments::Instruments;
pub(crate) use self::instruments::meter;
use self::series::{AllSeries, Series};
use super::exchange::content_length;
use super::layer::{Settings, Side};
use super::semconv::{Code, Outcome, Protocol, RequestHead, http, server_address};

/// What a layer measures: nothing, until it is told with what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    kit: Option<Arc<Kit>>,
    body_sizes: bool,
}

/// Instruments, and the attribute sets that they are used with.
#[derive(Debug)]
struct Kit {
    instruments: Instruments,
    series: AllSeries,
    calls: Calls,
}

/// A request that is counted as under way until this is dropped, which [`Measured::end`] does.
#[derive(Debug)]
pub(in crate::trace) struct Measured {
    kit: Arc<Kit>,
    subject: Subject,
}

/// What the measurements are of.
#[derive(Debug)]
enum Subject {
    Http { series: Series, sizes: Option<Sizes> },
    Grpc(Callee),
}

/// Bytes of bodies.
#[derive(Debug)]
struct Sizes {
    request: Option<u64>,
    response: u64,
}

impl Metrics {
    pub(super) fn measure_with(&mut self, side: Side, provider: &(impl MeterProvider + ?Sized)) {
        let names = match side {
            Side::Server => &instruments::SERVER,
            Side::Client => &instruments::CLIENT,
        };
        self.kit = Some(Arc::new(Kit {
            instruments: Instruments::new(provider, names),
            series: AllSeries::default(),
            calls: Calls::new(side),
        }));
    }

    #[cfg(feature = "reqwest")]
    pub(super) fn are_measured(&self) -> bool {
        self.kit.is_some()
    }

    pub(super) fn body_sizes(&mut self, body_sizes: bool) {
        self.body_sizes = body_sizes;
    }
}

impl Measured {
    /// Counts a request as under way, if anything is measured.
    pub(in crate::trace) fn start(settings: &Settings, request: &RequestHead<'_>) -> Option<Self> {
        let kit = Arc::clone(settings.metrics.kit.as_ref()?);
        let (set, capture) = (settings.server_address.as_ref(), &settings.capture);
        let side = settings.role.side();
        let subject = match Protocol::of(request.method, request.headers) {
            Protocol::Grpc => {
                // What a server is called is for its clients to say, and so without end.
                let address = match side {
                    Side::Server => None,
                    Side::Client => server_address::of(set, request),
                };
                let path = request.uri().path();
                if capture.is_known_grpc_method(path.strip_prefix('/').unwrap_or(path)) {
                    Subject::Grpc(kit.calls.find(path, address))
                } else {
                    Subject::Grpc(Callee::Other)
                }
            }
            Protocol::Http => {
                let series = match side {
                    Side::Server => kit.series.served(request, capture),
                    Side::Client => {
                        let address = http::client::address(request, set);
                        kit.series.sent(request, capture, address)
                    }
                };
                if let Some(active) = &kit.instruments.active {
                    active.add(1, kit.series.under_way(&series));
                }
                let sizes = settings.metrics.body_sizes.then(|| {
                    let length = content_length(request.headers).or(request.length);
                    Sizes { request: length, response: 0 }
                });
                Subject::Http { series, sizes }
            }
        };
        Some(Self { kit, subject })
    }

    /// So many bytes of the response's body are passed on.
    pub(in crate::trace) fn passed(&mut self, bytes: usize) {
        if let Subject::Http { sizes: Some(sizes), .. } = &mut self.subject {
            sizes.response += bytes as u64;
        }
    }

    /// Records a request that has ended so, `elapsed` nanoseconds after its start.
    pub(in crate::trace) fn end(self, outcome: &Outcome<'_>, elapsed: u64) {
        let instruments = &self.kit.instruments;
        let seconds = Duration::from_nanos(elapsed).as_secs_f64();
        match &self.subject {
            Subject::Http { series, sizes } => {
                let attributes = &*self.kit.series.ended(series, outcome);
                instruments.http_duration.record(seconds, attributes);
                let Some(sizes) = sizes else { return };
                if let Some(bytes) = sizes.request {
                    instruments.request_size.record(bytes as f64, attributes);
                }
                if let Some(Code::Http(_)) = outcome.code {
                    instruments.response_size.record(sizes.response as f64, attributes);
                }
            }
            Subject::Grpc(callee) => {
                let attributes = &*self.kit.calls.ended(callee, outcome);
                instruments.rpc_duration.record(seconds, attributes);
            }
        }
    }
}

impl Drop for Measured {
    /// Counts the request as under way no more: here, and not at its end, so that nothing that
    /// happens there can leave it counted.
    fn drop(&mut self) {
        if let (Subject::Http { series, .. }, Some(active)) =
            (&self.subject, &self.kit.instruments.active)
        {
            active.add(-1, self.kit.series.under_way(series));
        }
    }
}
