//! Whom a request came from: the peer, and those for whom a trusted peer speaks.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get as get_route;
use http::Version;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tower::{Layer, ServiceBuilder};
use tower_otlp::{Network, RecordedSpan, TraceLayer, TracingService};

use crate::support::echo::{self, Echo};
use crate::support::server::{VERSIONS, fetch, get, request};
use crate::support::spans::{next, summary, text};

/// Serves as `axum::serve` does, which tells who the peer is. The response's body is what it told.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn app() -> Router {
    let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    Router::new().route("/", get_route(peer))
}

fn loopback() -> [Network; 2] {
    ["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]
}

/// `client.address | server.address:server.port | url.scheme`, where `-` stands for what is
/// missing.
fn origin(span: &RecordedSpan) -> String {
    let [client, host, port, scheme] =
        ["client.address", "server.address", "server.port", "url.scheme"]
            .map(|key| text(span, key).unwrap_or_else(|| "-".to_owned()));
    format!("{client} | {host}:{port} | {scheme}")
}

#[tokio::test]
async fn a_span_says_who_is_at_the_other_end_of_the_connection() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let around = Router::new().fallback_service(trace.layer(app()));
    for (app, place) in [(app().layer(trace), "in the router"), (around, "around it")] {
        let address = serve(app).await;
        for version in VERSIONS {
            let response = fetch(version, address, get("/")).await;
            let peer: SocketAddr = str::from_utf8(response.body()).unwrap().parse().unwrap();

            let span = next(&mut spans).await;
            for key in ["client.address", "network.peer.address"] {
                assert_eq!(text(&span, key).unwrap(), "127.0.0.1", "{version:?} {place}: {key}");
            }
            let port = text(&span, "network.peer.port").unwrap();
            assert_eq!(port, peer.port().to_string(), "{version:?} {place}");
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_the_client_and_nobody_else_does() {
    // Headers, origin if the peer is trusted, reason. The server's own is `SELF`.
    type Row = (&'static [(&'static str, &'static str)], &'static str, &'static str);
    let rows: [Row; 9] = [
        (&[], "127.0.0.1 | SELF | http", "nothing is said: the peer itself"),
        (&[("x-forwarded-for", "192.0.2.7")], "192.0.2.7 | SELF | http", "the client"),
        (
            &[("x-forwarded-for", "203.0.113.9, 192.0.2.7, 127.0.0.2")],
            "192.0.2.7 | SELF | http",
            "what a stranger has written to the left of his own address counts for nothing",
        ),
        (
            &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.7")],
            "192.0.2.7 | SELF | http",
            "nor does a field of his own",
        ),
        (
            &[("x-forwarded-host", "shop.example:8443"), ("x-forwarded-proto", "https")],
            "127.0.0.1 | shop.example:8443 | https",
            "whom the client asked, and how",
        ),
        (
            &[("forwarded", "for=\"[2001:db8::7]:4711\";host=shop.example;proto=https")],
            "2001:db8::7 | shop.example:- | https",
            "the standard's own header",
        ),
        (
            &[("forwarded", "for=203.0.113.9, for=192.0.2.7;proto=https")],
            "192.0.2.7 | SELF | https",
            "is read from the right, too",
        ),
        (
            &[("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "192.0.2.8")],
            "192.0.2.7 | SELF | http",
            "and goes before the others",
        ),
        (&[("x-forwarded-for", "<script>")], "127.0.0.1 | SELF | http", "no address"),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let stranger: Network = "10.0.0.0/8".parse().unwrap();
    let believing = serve(app().layer(trace.clone().trusted_proxies(loopback()))).await;
    let doubting = serve(app().layer(trace.clone())).await;
    let elsewhere = serve(app().layer(trace.trusted_proxies([stranger]))).await;
    for (headers, expected, reason) in rows {
        let told =
            |address: SocketAddr, expected: &str| expected.replace("SELF", &address.to_string());
        fetch(Version::HTTP_11, believing, request("GET", "/", headers)).await;
        let span = next(&mut spans).await;
        assert_eq!(origin(&span), told(believing, expected), "{reason}");
        assert_eq!(text(&span, "network.peer.address").unwrap(), "127.0.0.1", "{reason}");

        for address in [doubting, elsewhere] {
            fetch(Version::HTTP_11, address, request("GET", "/", headers)).await;
            let found = origin(&next(&mut spans).await);
            assert_eq!(found, told(address, "127.0.0.1 | SELF | http"), "not trusted: {reason}");
        }
    }
}

#[tokio::test]
async fn without_connect_info_there_is_no_peer_and_nobody_to_trust() {
    let (tracing, mut spans) = TracingService::in_memory();
    let everybody: [Network; 2] = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    let trace = TraceLayer::server(&tracing).trusted_proxies(everybody);
    let app = Router::new().route("/", get_route(async || "hello")).layer(trace);
    let address = crate::support::server::serve(app).await;
    let headers = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")];
    fetch(Version::HTTP_11, address, request("GET", "/", &headers)).await;

    let span = next(&mut spans).await;
    assert_eq!(origin(&span), format!("- | {address} | http"));
    assert_eq!(text(&span, "network.peer.address"), None);
    assert_eq!(text(&span, "network.peer.port"), None);
}

#[tokio::test]
async fn a_call_to_a_tonic_server_says_its_peer_and_what_a_trusted_one_was_asked_for() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::server(&tracing);
    let forwarding =
        ServiceBuilder::new().map_request(|mut request: http::Request<tonic::body::Body>| {
            let forwarded = "for=192.0.2.7;host=\"shop.example:8443\"".parse().unwrap();
            request.headers_mut().insert("forwarded", forwarded);
            request
        });
    for (trace, host) in
        [(trace.clone(), None), (trace.trusted_proxies(loopback()), Some("shop.example:8443"))]
    {
        let mut server = Server::builder().layer(forwarding.clone().into_inner()).layer(trace);
        let address = echo::serve(server.add_service(Echo::default())).await;
        echo::Client::connect(address).await.call("/test.Echo/Chat", &["a", "b"]).await;

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Server | test.Echo/Chat | OK | unset | -");
        let host = host.map_or_else(|| address.to_string(), str::to_owned);
        assert_eq!(origin(&span), format!("- | {host} | -"), "a call has no client.address");
        assert_eq!(text(&span, "network.peer.address").unwrap(), "127.0.0.1");
        let port: u16 = text(&span, "network.peer.port").unwrap().parse().unwrap();
        assert_ne!(port, address.port(), "the client's");
    }
}
