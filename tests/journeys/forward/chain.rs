//! Forwarders that export to each other: how far spans get, and that none goes round.

use std::net;

use tower_otlp::Acknowledge;

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::logs::Log;
use crate::sinks::script::Script;
use crate::sinks::serve_large;

/// What is between two forwarders, and between them and a collector.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Grpc,
    Http,
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

impl Protocol {
    fn url(self, address: SocketAddr) -> String {
        match self {
            Self::Grpc => format!("grpc://{address}"),
            Self::Http => format!("http://{address}/v1/traces"),
        }
    }
}

/// One forwarder. Its senders hear what became of their spans.
struct Hop {
    tracing: TracingService,
    forwarder: SpanForwarder,
    forwarding: Forwarding,
}

impl Hop {
    async fn start(exporter_url: &str) -> Self {
        let tracing = tracing_to(exporter_url);
        let forwarder = tracing.forwarder(SpanForwarder::allow_anonymous);
        let forwarder = forwarder.acknowledge(Acknowledge::WhenDelivered);
        let forwarding = Forwarding::start(&forwarder).await;
        Self { tracing, forwarder, forwarding }
    }

    fn url(&self, protocol: Protocol) -> String {
        protocol.url(match protocol {
            Protocol::Grpc => self.forwarding.grpc,
            Protocol::Http => self.forwarding.http,
        })
    }

    /// Requests that came, those of them that were taken, and those that were refused as going
    /// round.
    fn requests(&self) -> (u64, u64, u64) {
        let stats = self.forwarder.stats();
        (stats.requests, stats.taken, stats.refused.looping)
    }
}

/// Stats of spans that were delivered, rejected by whom they were exported to, and failed.
fn stats(delivered: u64, rejected: u64, failed: u64) -> Stats {
    let mut stats = Stats::default();
    stats.accepted = delivered + rejected + failed;
    (stats.delivered, stats.rejected, stats.dropped.failed) = (delivered, rejected, failed);
    stats
}

fn rejected(told: ExportTraceServiceResponse) -> (i64, String) {
    let partial = told.partial_success.expect("a partial success");
    (partial.rejected_spans, partial.error_message)
}

#[tokio::test]
async fn spans_pass_nine_forwarders_and_the_tenth_refuses_them() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(Script::Ok);
        // From the last one to the first.
        let mut hops = vec![Hop::start(&protocol.url(collector.address())).await];
        for _ in 1..9 {
            let next = hops.last().expect("a hop").url(protocol);
            hops.push(Hop::start(&next).await);
        }
        let first = &hops[8];
        let told = export(first.forwarding.channel(), "-", request(1, 2)).await;
        assert_eq!(told.unwrap(), ExportTraceServiceResponse::default(), "{protocol:?}");
        let received = collector.received();
        assert_eq!(received.len(), 1, "{protocol:?}");
        let via = received[0].headers["tower-otlp-via"].clone();
        let names: std::collections::BTreeSet<_> = via.to_str().unwrap().split(',').collect();
        assert_eq!(names.len(), 9, "{via:?}");

        hops.push(Hop::start(&hops[8].url(protocol)).await);
        let before_the_last = Log::about(&hops[0].url(protocol));
        let told = export(hops[9].forwarding.channel(), "-", request(2, 3)).await.unwrap();
        let words = "spans were rejected by the backend".to_owned();
        assert_eq!(rejected(told), (3, words), "{protocol:?}");
        assert_eq!(collector.received().len(), 1, "{protocol:?}: no further");
        let lines = before_the_last.lines();
        let words = "the spans have come through more than 8 forwarders";
        assert!(lines.iter().any(|line| line.contains(words)), "{protocol:?}: {lines:?}");

        let last = &hops[0];
        assert_eq!(last.requests(), (2, 1, 1), "{protocol:?}");
        assert_eq!(refused_directly(&last.forwarding, words).await, 2);
        assert_eq!(last.requests(), (4, 1, 3), "{protocol:?}");
        assert!(hops[1..9].iter().all(|hop| hop.requests() == (2, 2, 0)), "{protocol:?}");

        // The one that asked the last was told in an error, and the others in a partial success.
        let expected = [stats(2, 0, 0), stats(2, 0, 3)].into_iter();
        let expected = expected.chain([stats(2, 3, 0); 7]).chain([stats(0, 3, 0)]);
        for (hop, expected) in hops.into_iter().zip(expected) {
            assert_eq!(hop.tracing.shutdown(LONG).await, expected, "{protocol:?}");
        }
    }
}

/// Sends spans that came through nine others, over gRPC and HTTP. Returns how many requests that
/// were.
async fn refused_directly(forwarding: &Forwarding, words: &str) -> u64 {
    let via = |mut request: Request<Body>| {
        let via = ["0123456789abcdef"; 9].join(",");
        request.headers_mut().insert("tower-otlp-via", via.parse().unwrap());
        request
    };
    let mut client = Client::connect(Version::HTTP_2, forwarding.grpc).await;
    let mut request = post("-", "application/grpc", vec![0; 5]);
    *request.uri_mut() = EXPORT.parse().unwrap();
    let answer = client.fetch(via(request)).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let said = ["grpc-status", "grpc-message"].map(|name| answer.headers()[name].to_str().unwrap());
    assert_eq!(said, ["9", words]);
    assert!(!answer.headers().contains_key("grpc-status-details-bin"), "not to be tried again");

    let answer = forwarding.post(Version::HTTP_11, via(post("-", JSON, "{}"))).await;
    assert_eq!(answer.status().as_u16(), 508);
    assert_eq!(answer.body(), &format!(r#"{{"code":9,"message":"{words}"}}"#));
    assert!(!answer.headers().contains_key("retry-after"), "not to be tried again");
    2
}

#[tokio::test]
async fn two_forwarders_that_export_to_each_other_stop_at_the_second_turn() {
    for protocol in PROTOCOLS {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = protocol.url(listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let other = Hop::start(&own).await;
        let one = Hop::start(&other.url(protocol)).await;
        match protocol {
            Protocol::Grpc => {
                let server = Server::builder().add_service(one.forwarder.grpc());
                tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
            }
            Protocol::Http => {
                let app = Router::new().route_service("/v1/traces", one.forwarder.http());
                tokio::spawn(async { axum::serve(listener, app).await });
            }
        }
        let log = Log::about(&own);

        let told = export(one.forwarding.channel(), "-", request(1, 3)).await.unwrap();
        let words = "spans were rejected by the backend".to_owned();
        assert_eq!(rejected(told), (3, words), "{protocol:?}");
        assert_eq!(one.requests(), (2, 1, 1), "{protocol:?}: what was sent, and what came back");
        assert_eq!(other.requests(), (1, 1, 0), "{protocol:?}");
        // And one of the first one's own.
        let _ = serve_large(&one.tracing, 1);
        assert_eq!(one.tracing.flush(LONG).await, stats(0, 4, 0), "{protocol:?}");
        assert_eq!(one.requests(), (3, 1, 2), "{protocol:?}");
        assert_eq!(other.requests(), (2, 2, 0), "{protocol:?}");

        let words = "this forwarder gets its own exports: exporter_url leads back to it";
        assert!(log.lines().iter().any(|line| line.contains(words)), "{:?}", log.lines());
        assert_eq!(other.tracing.shutdown(LONG).await, stats(0, 0, 4), "{protocol:?}");
        assert_eq!(one.tracing.shutdown(LONG).await, stats(0, 4, 0), "{protocol:?}");
    }
}
