//! The client layer over and under others of tower's, over sockets.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::FutureExt;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Server};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::limit::ConcurrencyLimitLayer;
use tower::load::Constant;
use tower::retry::Policy;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_otlp::{ResendCount, TraceLayer, TracingService};

use super::parents::{context_of, context_with};
use super::{get, legacy, nobody, read, told};
use crate::support::echo::{self, Echo};
use crate::support::server::{VERSIONS, serve};
use crate::support::spans::{all, next, next_summary, summary, text};

const LONG: Duration = Duration::from_secs(60);

/// Sends a request again after a server error, and counts how often.
#[derive(Clone)]
struct Attempts {
    left: u32,
    resent: u32,
}

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for Attempts {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        let has_failed =
            result.as_ref().map_or(true, |response| response.status().is_server_error());
        if !has_failed || self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.resent += 1;
        request.extensions_mut().insert(ResendCount(self.resent));
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn under_retry_each_attempt_is_a_span_and_over_it_the_whole_is_one() {
    let attempt = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempt);
    let (sender, mut heard) = mpsc::unbounded_channel();
    let app = Router::new().fallback(async move |request: Request<Body>| {
        sender.send(told(request.headers()).span_id()).unwrap();
        match counted.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    });
    let address = serve(app).await;
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let trace = TraceLayer::client(&tracing);
        let client = || {
            let mut client = Client::builder(TokioExecutor::new());
            client.http2_only(version == Version::HTTP_2).build_http::<Full<Bytes>>()
        };
        let request = || Request::get(format!("http://{address}/")).body(Full::default()).unwrap();
        let policy = Attempts { left: 5, resent: 0 };

        let under = ServiceBuilder::new().retry(policy.clone()).layer(&trace).service(client());
        read(under.oneshot(request()).await.unwrap()).await.unwrap();
        for (status, resent) in [(503, None), (503, Some("1")), (200, Some("2"))] {
            let span = next(&mut spans).await;
            assert_eq!(text(&span, "http.response.status_code").unwrap(), status.to_string());
            assert_eq!(text(&span, "http.request.resend_count").as_deref(), resent);
            assert_eq!(heard.recv().await.unwrap(), span.span_id, "{version:?}");
        }

        attempt.store(0, Ordering::Relaxed);
        let over = ServiceBuilder::new().layer(&trace).retry(policy).service(client());
        read(over.oneshot(request()).await.unwrap()).await.unwrap();
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Client | GET | 200 | unset | -");
        for _ in 0..3 {
            assert_eq!(heard.recv().await.unwrap(), span.span_id, "{version:?}");
        }
        attempt.store(0, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_an_attempt_of_its_own() {
    /// Goes elsewhere after an error of the client.
    #[derive(Clone)]
    struct Elsewhere(std::net::SocketAddr);
    impl<R, E> Policy<Request<Full<Bytes>>, Response<R>, E> for Elsewhere {
        type Future = Ready<()>;

        fn retry(
            &mut self,
            request: &mut Request<Full<Bytes>>,
            result: &mut Result<Response<R>, E>,
        ) -> Option<Ready<()>> {
            result.as_ref().err()?;
            assert!(!request.headers().contains_key("traceparent"), "the copy is as it was");
            *request.uri_mut() = format!("http://{}/", self.0).parse().unwrap();
            request.extensions_mut().insert(ResendCount(1));
            Some(ready(()))
        }

        fn clone_request(
            &mut self,
            request: &Request<Full<Bytes>>,
        ) -> Option<Request<Full<Bytes>>> {
            Some(request.clone())
        }
    }

    let address = serve(Router::new().fallback(async || "hello")).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let client = ServiceBuilder::new()
        .retry(Elsewhere(address))
        .layer(TraceLayer::client(&tracing))
        .service(client);
    let request = Request::get(format!("http://{}/", nobody())).body(Full::default()).unwrap();
    assert_eq!(read(client.oneshot(request).await.unwrap()).await.unwrap(), "hello");

    let refused = next(&mut spans).await;
    assert_eq!(text(&refused, "error.type").unwrap(), "connection_refused");
    assert_eq!(text(&refused, "http.request.resend_count"), None);
    let answered = next(&mut spans).await;
    assert_eq!(summary(&answered), "Client | GET | 200 | unset | -");
    assert_eq!(text(&answered, "http.request.resend_count").as_deref(), Some("1"));
}

#[tokio::test]
async fn under_a_balancer_each_span_says_which_endpoint_was_chosen() {
    let (tracing, mut spans) = TracingService::in_memory();
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        let address = serve(Router::new().fallback(async |request: Request<Body>| {
            // It knows its own name only from the request.
            request.headers()["host"].to_str().unwrap().to_owned()
        }))
        .await;
        let there = move |mut request: Request<Body>| {
            *request.uri_mut() = format!("http://{address}/").parse().unwrap();
            request
        };
        let endpoint = ServiceBuilder::new()
            .map_request(there)
            .layer(TraceLayer::client(&tracing))
            .service(legacy(Version::HTTP_11));
        endpoints.push(Constant::new(endpoint.boxed_clone(), 1));
    }
    let mut balanced = Balance::new(ServiceList::new(endpoints));
    for _ in 0..10 {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = balanced.ready().await.unwrap().call(request).await.unwrap();
        let answered_by = read(response).await.unwrap();
        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Client | GET | 200 | unset | -");
        let port = text(&span, "server.port").unwrap();
        assert_eq!(answered_by, format!("127.0.0.1:{port}"));
    }
}

#[tokio::test]
async fn over_and_under_limits_and_timeouts_each_request_is_one_span() {
    let address = serve(Router::new().fallback(async || "hello")).await;
    for version in VERSIONS {
        let (tracing, spans) = TracingService::in_memory();
        let trace = TraceLayer::client(&tracing);
        let limit = ConcurrencyLimitLayer::new(2);
        let over = trace.layer(limit.layer(legacy(version)));
        let under = limit.layer(trace.layer(legacy(version)));
        let within = ServiceBuilder::new()
            .timeout(LONG)
            .layer(&trace)
            .timeout(LONG)
            .service(legacy(version));
        let requests = (0..10).map(|_| async {
            read(over.clone().oneshot(get(address, "/")).await.unwrap()).await.unwrap();
            read(under.clone().oneshot(get(address, "/")).await.unwrap()).await.unwrap();
            read(within.clone().oneshot(get(address, "/")).await.unwrap()).await.unwrap();
        });
        join_all(requests).await;
        let spans = all(tracing, spans).await;
        assert_eq!(spans.len(), 30);
        for span in spans {
            assert_eq!(summary(&span), "Client | GET | 200 | unset | -", "{version:?}");
        }
    }
}

#[tokio::test]
async fn over_a_buffer_the_context_is_the_parent_and_under_it_the_extensions() {
    let address = serve(Router::new().fallback(async || "hello")).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing);
    let (context, parent) = (context_with("01", false), context_of("01"));

    let over = ServiceBuilder::new().layer(&trace).buffer(8).service(legacy(Version::HTTP_11));
    let response = over.oneshot(get(address, "/")).with_context(context).await.unwrap();
    read(response).await.unwrap();
    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Client | GET | 200 | unset | -");
    assert_eq!(span.parent_span_id, Some(parent.span_id()));

    // The buffer's worker has a task of its own, to which no context follows.
    let under = ServiceBuilder::new().buffer(8).layer(&trace).service(legacy(Version::HTTP_11));
    let mut request = get(address, "/");
    request.extensions_mut().insert(parent.clone());
    read(under.oneshot(request).await.unwrap()).await.unwrap();
    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Client | GET | 200 | unset | -");
    assert_eq!(span.parent_span_id, Some(parent.span_id()));
}

#[tokio::test]
async fn an_error_that_a_buffer_has_wrapped_is_looked_into() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing);
    let client = ServiceBuilder::new().layer(&trace).buffer(8).service(legacy(Version::HTTP_11));
    let _: BoxError = client.oneshot(get(nobody(), "/")).await.unwrap_err();
    let span = next_summary(&mut spans).await;
    assert!(span.ends_with("| connection_refused"), "{span}");
    assert!(span.contains("client error (Connect): tcp connect error: "), "{span}");
}

#[tokio::test]
async fn a_balanced_channel_goes_on_without_the_endpoint_that_is_gone() {
    let (tracing, mut spans) = TracingService::in_memory();
    let address = serve_echo().await;
    let endpoint = |address| Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = Channel::balance_list([endpoint(nobody()), endpoint(address)].into_iter());
    let layer = TraceLayer::client(&tracing).target("dns:///inventory:50051");
    let mut client = echo::Client::over(layer.layer(channel));
    let (mut answered, mut refused) = (0, 0);
    // Endpoints are chosen at random. Each call is a span that says what its caller saw.
    while answered < 3 {
        let (_, code) = client.call("/test.Echo/One", &["hello"]).await;
        let span = next(&mut spans).await;
        assert_eq!(text(&span, "server.address").unwrap(), "inventory");
        match code {
            tonic::Code::Ok => {
                assert_eq!(summary(&span), "Client | test.Echo/One | OK | unset | -");
                answered += 1;
            }
            code => {
                assert_eq!(code, tonic::Code::Unavailable);
                assert_eq!(text(&span, "error.type").unwrap(), "UNAVAILABLE");
                refused += 1;
                assert!(refused < 1000, "nobody answers");
            }
        }
    }
}

async fn serve_echo() -> std::net::SocketAddr {
    echo::serve(Server::builder().add_service(Echo::default())).await
}

#[tokio::test]
async fn a_layered_channel_composes_like_a_bare_one() {
    let (tracing, mut spans) = TracingService::in_memory();
    let address = serve_echo().await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let trace = TraceLayer::client(&tracing);
    let service = ServiceBuilder::new()
        .buffer(8)
        .timeout(LONG)
        .layer(ConcurrencyLimitLayer::new(4))
        .layer(&trace)
        .timeout(LONG)
        .layer(ConcurrencyLimitLayer::new(4))
        .service(channel);
    let mut client = echo::Client::over(service);
    for path in ["/test.Echo/One", "/test.Echo/Count", "/test.Echo/Collect", "/test.Echo/Chat"] {
        let (_, code) = client.call(path, &["hello"]).await;
        assert_eq!(code, tonic::Code::Ok, "{path}");
        let expected = format!("Client | {} | OK | unset | -", &path[1..]);
        assert_eq!(next_summary(&mut spans).await, expected);
    }
}
