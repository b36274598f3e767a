//! A program whose subscriber makes spans of everything exports its spans: what its exporter does
//! becomes none.
//!
//! The exporter has a thread of its own, so the subscriber has to be that of a whole process: the
//! test runs this binary again, as that program.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::TracerProvider;
use tokio::net::TcpSocket;
use tokio::runtime;
use tonic::transport::Endpoint;
use tower_otlp::WithTraceIds;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::script::Answer;
use super::*;

const REQUESTS: u64 = 5;

#[test]
fn the_exporter_s_own_activity_is_not_traced() {
    if let (Ok(url), Ok(outcome)) = (env::var(URL), env::var(OUTCOME)) {
        return program(&url, &outcome);
    }

    let well = Collector::start(Script::Ok);
    run(&well.grpc_url(), "delivered");
    assert_expected(&well);
    let well = Collector::start(Script::Ok);
    run(&well.http_url(), "delivered");
    assert_expected(&well);
    let directory = tempfile::tempdir().unwrap();
    run(&format!("file://{}", directory.path().display()), "delivered");

    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    over_tls();

    let well = Collector::start(Script::Ok);
    run(&format!("{CHANNEL_TO}{}", well.address()), "delivered");
    assert_expected(&well);

    let ill = Collector::start(Answer::grpc("13"));
    run(&ill.grpc_url(), "failed");
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    run(&format!("grpc://{}", nobody.local_addr().unwrap()), "pending");
    run(&format!("http://localhost:{}", nobody.local_addr().unwrap().port()), "pending");
}

/// Neither handshakes nor reading certificates again make spans.
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
fn over_tls() {
    use crate::support::pki::{Authority, Server};
    let authority = Authority::new("ours");
    let directory = tempfile::tempdir().unwrap();
    let ca_certs = directory.path().join("ca.pem");
    std::fs::write(&ca_certs, authority.pem()).unwrap();
    let server = Server::new(&authority.server(&["127.0.0.1"])).config();
    for scheme in ["grpcs", "https"] {
        let well = Collector::start(Script::Ok);
        well.use_tls(Arc::clone(&server));
        let address = well.address();
        run_with(&format!("{scheme}://{address}"), "delivered", &[(CA_CERTS, &*ca_certs)]);
        assert_expected(&well);
        let stranger = Collector::start(Script::Ok);
        stranger.use_tls(Server::new(&Authority::new("theirs").server(&["127.0.0.1"])).config());
        let address = stranger.address();
        run_with(&format!("{scheme}://{address}"), "pending", &[(CA_CERTS, &*ca_certs)]);
    }
}

/// What arrived is what the program did.
fn assert_expected(collector: &Collector) {
    let mut names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    names.sort_unstable();
    assert_eq!(names, [["GET"; REQUESTS as usize], ["handle"; REQUESTS as usize]].concat());
}

/// Runs the program.
fn run(url: &str, outcome: &str) {
    run_with(url, outcome, &[]);
}

/// Runs the program with these variables, too.
fn run_with(url: &str, outcome: &str, variables: &[(&str, &Path)]) {
    let name = "sinks::no_loop::the_exporter_s_own_activity_is_not_traced";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name])
        .env(URL, url)
        .env(OUTCOME, outcome)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{url}: {text}");
    assert!(text.contains("1 passed"), "{url}: {text}");
}

/// Serves requests, and accounts for every span after each.
fn program(url: &str, outcome: &str) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let mut filter = "trace";
    let tracing = match url.strip_prefix(CHANNEL_TO) {
        Some(address) => {
            // The connection is the program's, so that what its tasks do is, too.
            filter = "trace,h2=off";
            let _entered = runtime.enter();
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            let config = TracingServiceConfig::disabled().enabled(true);
            let config = config.sampling_rate_per_million(1_000_000);
            config.start_forwarding("sinks", endpoint.connect_lazy()).unwrap()
        }
        None => TracingServiceConfig::new(url.parse().unwrap())
            .sampling_rate_per_million(1_000_000)
            .ca_certs(env::var_os(CA_CERTS))
            .start("sinks")
            .unwrap(),
    };
    let lines = Lines::default();
    tracing_subscriber::registry()
        .with(EnvFilter::new(filter))
        .with(tracing_opentelemetry::layer().with_tracer(tracing.tracer_provider().tracer("app")))
        .with(
            tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .map_event_format(WithTraceIds::from)
                .with_writer(lines.clone()),
        )
        .init();

    for request in 1..=REQUESTS {
        call(&tracing, || tracing::info_span!("handle").in_scope(|| tracing::info!("handled")));
        let (deadline, expected) = match outcome {
            "delivered" => (LONG, settled(2 * request, 0)),
            "failed" => (LONG, settled(0, 2 * request)),
            // Each flush is an attempt.
            _ => (SHORT, pending(2 * request)),
        };
        // Would a span come of each export, each flush would bring more.
        for _ in 0..3 {
            assert_eq!(tracing.flush_blocking(deadline), expected);
        }
    }
    let stats = tracing.stats();
    let expected = if stats.pending > 0 { shut_down(stats.pending) } else { stats };
    assert_eq!(tracing.shutdown_blocking(LONG), expected);

    let lines = lines.0.lock().unwrap();
    let lines = str::from_utf8(&lines).unwrap();
    let about = |words: &str| lines.lines().filter(|line| line.contains(words)).count();
    assert_eq!(about(" handled "), usize::try_from(REQUESTS).unwrap());
    if url.starts_with("grpc") && outcome == "delivered" {
        assert!(about("TRACE") > 0, "the libraries are heard, for whoever asks for it");
    }
    assert_eq!(about("cannot export to ") > 0, outcome != "delivered", "{lines}");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

const CA_CERTS: &str = "TOWER_OTLP_TEST_CA_CERTS";
/// Before the address of a server, a URL for a channel of the program's.
const CHANNEL_TO: &str = "channel://";
const URL: &str = "TOWER_OTLP_TEST_URL";
const OUTCOME: &str = "TOWER_OTLP_TEST_OUTCOME";
