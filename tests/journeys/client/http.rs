//! Spans of HTTP requests by hyper-util's client: what they say, and when they end.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get as get_route;
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_otlp::{TraceContext, TraceLayer, TracingService};

use super::{legacy, told};
use crate::support::server::{VERSIONS, serve};
use crate::support::spans::{next, summary, text};

#[tokio::test]
async fn every_status_ends_its_span_as_its_caller_sees_it() {
    let app = Router::new().fallback(async |uri: http::Uri| {
        StatusCode::from_bytes(uri.path().trim_start_matches('/').as_bytes()).unwrap()
    });
    let address = serve(app).await;
    let rows = [
        (200, "Client | GET | 200 | unset | -"),
        (204, "Client | GET | 204 | unset | -"),
        (308, "Client | GET | 308 | unset | -"),
        (400, "Client | GET | 400 | error | 400"),
        (404, "Client | GET | 404 | error | 404"),
        (500, "Client | GET | 500 | error | 500"),
        (599, "Client | GET | 599 | error | 599"),
        (600, "Client | GET | 600 | error | 600"),
    ];
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        for (status, expected) in rows {
            let request = Request::get(format!("http://{address}/{status}"));
            let request = request.body(Body::empty()).unwrap();
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status);
            let ids = response.extensions().get::<TraceContext>().cloned();
            response.into_body().collect().await.unwrap();

            let span = next(&mut spans).await;
            assert_eq!(summary(&span), expected, "{version:?}");
            assert_eq!(ids.unwrap().span_id(), span.span_id, "its caller can name it");
        }
    }
}

#[tokio::test]
async fn a_request_tells_its_span_and_its_span_tells_the_request() {
    let app = Router::new().route(
        "/{*path}",
        get_route(async |Path(_): Path<String>, request: Request<Body>| {
            let context = told(request.headers());
            format!("{} {}", context.trace_id(), context.span_id())
        }),
    );
    let address = serve(app).await;
    for version in VERSIONS {
        let (tracing, mut spans) = TracingService::in_memory();
        let client = TraceLayer::client(&tracing).layer(legacy(version));
        let request = Request::get(format!("http://user:pw@{address}/a/b?x=1&sig=secret"));
        let request = request.body(Body::empty()).unwrap();
        let response = client.oneshot(request).await.unwrap();
        assert!(!response.headers().contains_key("server-timing"), "that is for servers to write");
        let body = response.into_body().collect().await.unwrap().to_bytes();

        let span = next(&mut spans).await;
        assert_eq!(body, format!("{} {}", span.trace_id, span.span_id), "{version:?}");
        assert_eq!((span.parent_span_id, span.flags), (None, 0x103));
        let number = if version == Version::HTTP_2 { "2" } else { "1.1" };
        let expected = [
            ("http.request.method", "GET".to_owned()),
            ("url.full", format!("http://REDACTED:REDACTED@{address}/a/b?x=1&sig=REDACTED")),
            ("server.address", "127.0.0.1".to_owned()),
            ("server.port", address.port().to_string()),
            ("network.protocol.version", number.to_owned()),
            ("http.response.status_code", "200".to_owned()),
        ];
        let keys: Vec<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, expected.each_ref().map(|(key, _)| *key), "{version:?}");
        for (key, value) in expected {
            assert_eq!(text(&span, key), Some(value), "{version:?}");
        }
    }
}
