//! Spans of calls by reqwest's client, whose redirects and retries are its own affair.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Redirect;
use http::{HeaderMap, Request, Version};
use opentelemetry::trace::FutureExt;
use reqwest::{Client, Method};
use tower::{Layer, Service, ServiceExt};
use tower_otlp::trace::{ReqwestFuture, Trace};
use tower_otlp::{TraceContext, TraceLayer, TracingService};

use super::failures::says;
use super::parents::context_with;
use super::{nobody, told};
use crate::support::body::{conducted, data};
use crate::support::server::{VERSIONS, serve};
use crate::support::spans::{assert_none_yet, at_rate, next, next_summary, summary, text};

fn client(version: Version) -> Client {
    let client = Client::builder();
    let client = if version == Version::HTTP_2 { client.http2_prior_knowledge() } else { client };
    client.build().unwrap()
}

fn get(url: impl AsRef<str>) -> reqwest::Request {
    reqwest::Request::new(Method::GET, url.as_ref().parse().unwrap())
}

#[tokio::test]
async fn a_call_is_one_span_that_its_server_hears_of() {
    let app = Router::new().fallback(async |headers: HeaderMap| {
        let told = told(&headers);
        format!("{} {}", told.trace_id(), told.span_id())
    });
    let address = serve(app).await;
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let mut traced: Trace<Client> = TraceLayer::client(&tracing).layer(client(version));
        let mut request = get(format!("http://{address}/a?sig=secret&x=1#part"));
        request.headers_mut().insert("traceparent", "old".parse().unwrap());
        let context = context_with("01", false);
        let ready = ServiceExt::<reqwest::Request>::ready(&mut traced).await.unwrap();
        let call: ReqwestFuture<_> = {
            let _attached = context.attach();
            Service::call(ready, request)
        };
        let response = call.await.unwrap();
        assert_eq!(response.url().as_str(), format!("http://{address}/a?sig=secret&x=1"));
        assert_eq!(response.version(), version);
        assert_eq!(response.remote_addr(), Some(address));
        let length = response.content_length();
        let ids = response.extensions().get::<TraceContext>().cloned().unwrap();
        let body = response.text().await.unwrap();
        assert_eq!(length, Some(body.len() as u64));

        let span = next(&mut spans).await;
        assert_eq!(summary(&span), "Client | GET | 200 | unset | -");
        assert_eq!(body, format!("{} {}", span.trace_id, span.span_id), "{version:?}");
        assert_eq!(ids.span_id(), span.span_id);
        assert_eq!(span.parent_span_id.unwrap().to_string(), "b7ad6b7169203331");
        let url = format!("http://{address}/a?sig=REDACTED&x=1#part");
        assert_eq!(text(&span, "url.full"), Some(url));
        assert_eq!(text(&span, "server.port").unwrap(), address.port().to_string());
        let number = if version == Version::HTTP_2 { "2" } else { "1.1" };
        assert_eq!(text(&span, "network.protocol.version").unwrap(), number);
    }
}

#[tokio::test]
async fn redirects_stay_inside_the_span_of_the_url_that_was_asked_for() {
    let app = Router::new().fallback(async |request: Request<Body>| match request.uri().path() {
        "/first" => Err(Redirect::permanent("/second")),
        "/second" => Err(Redirect::permanent("/third")),
        "/circle" => Err(Redirect::permanent("/circle")),
        // Each hop is sent with the span of the whole call.
        _ => Ok(told(request.headers()).span_id().to_string()),
    });
    let address = serve(app).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let traced = TraceLayer::client(&tracing).layer(client(Version::HTTP_11));

    let mut request = get(format!("http://{address}/first"));
    *request.method_mut() = Method::POST;
    *request.body_mut() = Some("sent again by 308".into());
    let response = traced.clone().oneshot(request).await.unwrap();
    assert_eq!(response.url().path(), "/third", "where it ended");
    let heard = response.text().await.unwrap();
    let span = next(&mut spans).await;
    assert_eq!(summary(&span), "Client | POST | 200 | unset | -");
    assert_eq!(text(&span, "url.full").unwrap(), format!("http://{address}/first"));
    assert_eq!(heard, span.span_id.to_string());

    let error = traced.oneshot(get(format!("http://{address}/circle?sig=secret"))).await;
    assert!(error.unwrap_err().is_redirect());
    let expected = "error: error following redirect: too many redirects | redirect_error";
    assert_eq!(next_summary(&mut spans).await, format!("Client | GET | - | {expected}"));
    assert_none_yet(&tracing, &mut spans).await;
}

#[tokio::test]
async fn a_span_lasts_until_the_body_was_read_or_is_not_wanted_any_more() {
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let traced = TraceLayer::client(&tracing).layer(client(version));
        for is_read in [true, false] {
            let (conductor, body) = conducted();
            let body = Arc::new(Mutex::new(Some(body)));
            let app = Router::new().fallback(async move || body.lock().unwrap().take().unwrap());
            let address = serve(app).await;
            let request = get(format!("http://{address}/"));
            let mut response = traced.clone().oneshot(request).await.unwrap();
            conductor.send(Ok(data("hello"))).unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), "hello");
            assert_none_yet(&tracing, &mut spans).await;
            if is_read {
                drop(conductor);
                assert_eq!(response.bytes().await.unwrap(), "");
            } else {
                drop(response);
            }
            let expected = "Client | GET | 200 | unset | -";
            assert_eq!(next_summary(&mut spans).await, expected, "{version:?}");
        }
    }
}

#[tokio::test]
async fn what_reqwest_fails_with_is_told_apart_without_its_url() {
    let (tracing, mut spans) = TracingService::in_memory();
    let trace = TraceLayer::client(&tracing);
    let refused = get(format!("http://{}/?sig=secret", nobody()));
    trace.layer(client(Version::HTTP_11)).oneshot(refused).await.unwrap_err();
    let span = next_summary(&mut spans).await;
    let start = "Client | GET | - | error: error sending request: client error (Connect): tcp";
    assert!(span.starts_with(start), "{span}");
    assert!(span.ends_with(" | connection_refused") && !span.contains("secret"), "{span}");

    let never = serve(Router::new().fallback(async || pending::<()>().await)).await;
    let mut request = get(format!("http://{never}/?sig=secret"));
    *request.timeout_mut() = Some(Duration::from_millis(20));
    let error = trace.layer(client(Version::HTTP_11)).oneshot(request).await.unwrap_err();
    assert!(error.is_timeout());
    let expected = "error: error sending request: operation timed out | timeout";
    assert_eq!(next_summary(&mut spans).await, format!("Client | GET | - | {expected}"));

    let half = says(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let request = get(format!("http://{half}/"));
    let response = trace.layer(client(Version::HTTP_11)).oneshot(request).await.unwrap();
    response.bytes().await.unwrap_err();
    let span = next_summary(&mut spans).await;
    assert!(span.starts_with("Client | GET | 200 | error: "), "{span}");
    assert!(span.ends_with(" | connection_closed"), "{span}");
}

#[tokio::test]
async fn unrecorded_calls_go_on_in_their_trace() {
    let app = Router::new()
        .fallback(async |headers: HeaderMap| format!("{:02x}", told(&headers).trace_flags()));
    let address = serve(app).await;
    let (tracing, mut spans) = at_rate(0);
    let traced = TraceLayer::client(&tracing).layer(client(Version::HTTP_11));
    for (context, expected) in [(context_with("00", false), "00"), (Default::default(), "02")] {
        let call = traced.clone().oneshot(get(format!("http://{address}/")));
        let response = call.with_context(context).await.unwrap();
        assert!(response.extensions().get::<TraceContext>().is_none());
        assert_eq!(response.text().await.unwrap(), expected);
    }
    assert_none_yet(&tracing, &mut spans).await;
}

#[tokio::test]
async fn a_url_without_a_host_has_no_address() {
    let (tracing, mut spans) = TracingService::in_memory();
    let traced = TraceLayer::client(&tracing).layer(client(Version::HTTP_11));
    for url in ["file:///etc/passwd", "data:text/plain,secret", "foo:bar"] {
        traced.clone().oneshot(get(url)).await.unwrap_err();
        let span = next(&mut spans).await;
        assert_eq!(text(&span, "server.address"), None, "{url}");
        assert_eq!(text(&span, "url.full").unwrap(), "/", "{url}");
    }
}

#[tokio::test]
async fn a_url_that_is_too_long_for_others_is_told_by_its_host() {
    let (tracing, mut spans) = TracingService::in_memory();
    let traced = TraceLayer::client(&tracing).layer(client(Version::HTTP_11));
    let url = format!("http://{}/{}", nobody(), "x".repeat(70_000));
    traced.oneshot(get(&url)).await.unwrap_err();
    let span = next(&mut spans).await;
    assert_eq!(text(&span, "server.address").unwrap(), "127.0.0.1");
    assert!(url.starts_with(&text(&span, "url.full").unwrap()), "{}", summary(&span));
}
