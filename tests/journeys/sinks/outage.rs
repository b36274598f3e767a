//! A real collector, rotel, that is killed and comes back while spans are made.
//!
//! The long outage takes more than a minute, and is not part of every run:
//!
//! ```text
//! cargo test --all-features --test journeys -- --ignored --nocapture an_outage_of_a_minute
//! ```

use std::thread;
use std::time::{Duration, Instant};

use tower_otlp::{QueueConfig, RetryConfig, Stats, TracingService, TracingServiceConfig};

use super::rotel::Rotel;
use super::{LONG, serve};

#[test]
fn an_outage_of_rotel_under_load_loses_no_span() {
    // Side by side, for each is mostly waiting.
    thread::scope(|scope| {
        for scheme in ["grpc", "http"] {
            scope.spawn(move || {
                let outage = Outage {
                    before: Duration::from_millis(500),
                    lasts: Duration::from_secs(2),
                    spans_a_second: 500,
                };
                let retry = RetryConfig::default().max(Duration::from_millis(200));
                let config = |config: TracingServiceConfig| config.retry(retry);
                let Some((stats, failed)) = outage.happen(scheme, config) else { return };
                assert_eq!(stats.delivered, stats.accepted, "{scheme}: {stats}");
                assert!(stats.accepted > 1000, "{scheme}: {stats}");
                assert!(failed.pending > 500, "{scheme}: nothing waited for rotel: {failed}");
            });
        }
    });
}

#[test]
#[ignore = "takes more than a minute; the short outage above is part of every run"]
#[expect(clippy::print_stderr, reason = "how far the queue was filled is worth knowing")]
fn an_outage_of_a_minute_at_5000_spans_a_second_loses_no_span_of_160_mib() {
    thread::scope(|scope| {
        for scheme in ["grpc", "http"] {
            scope.spawn(move || {
                let outage = Outage {
                    before: Duration::from_secs(5),
                    lasts: Duration::from_secs(60),
                    spans_a_second: 5_000,
                };
                let queue = QueueConfig::default().max_bytes(160 << 20);
                let config = |config: TracingServiceConfig| config.queue(queue);
                let Some((stats, failed)) = outage.happen(scheme, config) else { return };
                eprintln!("{scheme}, at the end of the outage: {failed}");
                eprintln!("{scheme}, in the end: {stats}");
                assert_eq!(stats.delivered, stats.accepted, "{scheme}: {stats}");
            });
        }
    });
}

struct Outage {
    before: Duration,
    lasts: Duration,
    spans_a_second: u32,
}

impl Outage {
    /// Makes spans before, during and after it, and tells the numbers in the end and those at the
    /// end of the outage. `None` where there is no rotel.
    fn happen(
        &self,
        scheme: &str,
        config: impl FnOnce(TracingServiceConfig) -> TracingServiceConfig,
    ) -> Option<(Stats, Stats)> {
        let rotel = Rotel::start(&["blackhole"])?;
        let (grpc, http) = (rotel.grpc, rotel.http);
        let url = match scheme {
            "grpc" => format!("grpc://{grpc}"),
            _ => format!("http://{http}"),
        };
        let tracing = TracingServiceConfig::new(url.parse().unwrap());
        let tracing = config(tracing.sampling_rate_per_million(1_000_000)).start("outage").unwrap();
        self.load(&tracing, self.before);
        // Killed, and not asked to stop: it must be in the middle of something.
        drop(rotel);
        self.load(&tracing, self.lasts);
        let failed = tracing.stats();
        let _rotel = Rotel::start_on(grpc, http, &["blackhole"])?;
        self.load(&tracing, self.before);
        let stats = tracing.flush_blocking(LONG);
        assert_eq!(stats.pending, 0, "{scheme}: {stats}");
        Some((tracing.shutdown_blocking(LONG), failed))
    }

    /// Makes spans for so long, at an even pace.
    fn load(&self, tracing: &TracingService, lasts: Duration) {
        let (began, mut served) = (Instant::now(), 0);
        while began.elapsed() < lasts {
            let due = (began.elapsed().as_secs_f64() * f64::from(self.spans_a_second)) as usize;
            serve(tracing, due.saturating_sub(served));
            served = served.max(due);
            thread::sleep(Duration::from_millis(5));
        }
    }
}
