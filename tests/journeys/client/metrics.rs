//! What is measured of requests that leave.

use axum::Router;
use axum::body::Body;
use axum::routing::get as get_route;
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use tonic::transport::{Channel, Server};
use tower::{Layer, ServiceExt};
use tower_otlp::{TraceLayer, TracingService, TracingServiceConfig};

use super::failures::says;
use super::{get, legacy, nobody, read};
use crate::metrics::Meters;
use crate::support::echo::{self, Echo};
use crate::support::server::{VERSIONS, serve};
use crate::support::spans::{at_rate, next};

#[tokio::test]
async fn every_request_is_measured_by_whom_it_went_to_and_how_it_ended() {
    let app = Router::new()
        .route("/", get_route(async || "hello"))
        .route("/fails", get_route(async || StatusCode::INTERNAL_SERVER_ERROR));
    let address = serve(app).await;
    let nobody = nobody();
    for version in VERSIONS {
        // Sampled or not, and with tracing disabled.
        for tracing in [
            at_rate(1_000_000).0,
            at_rate(0).0,
            TracingServiceConfig::disabled().start("journeys").unwrap(),
        ] {
            let meters = Meters::new();
            let layer = TraceLayer::client(&tracing).metrics(&meters.provider);
            let client = layer.body_size_metrics(true).layer(legacy(version));
            for path in ["/", "/?again", "/fails", "/nothing"] {
                read(client.clone().oneshot(get(address, path)).await.unwrap()).await.unwrap();
            }
            client.clone().oneshot(get(nobody, "/")).await.unwrap_err();
            // One whose body nobody reads: what is not wanted has not failed.
            drop(client.clone().oneshot(get(address, "/")).await.unwrap());

            let version = if version == Version::HTTP_2 { "2" } else { "1.1" };
            let answered = |error_type: &str, status, count| {
                format!(
                    "{error_type}http.request.method=GET http.response.status_code={status} \
                     network.protocol.version={version} server.address=127.0.0.1 \
                     server.port={} | {count}",
                    address.port(),
                )
            };
            let ends = [
                answered("", 200, 3),
                answered("error.type=404 ", 404, 1),
                answered("error.type=500 ", 500, 1),
            ];
            let refused = format!(
                "error.type=connection_refused http.request.method=GET \
                 server.address=127.0.0.1 server.port={} | 1",
                nobody.port(),
            );
            let mut expected: Vec<_> = ["request.duration", "response.body.size"]
                .iter()
                .flat_map(|name| ends.iter().map(move |end| format!("http.client.{name} | {end}")))
                .chain([format!("http.client.request.duration | {refused}")])
                .collect();
            expected.sort();
            assert_eq!(meters.lines(), expected, "{tracing:?}");
        }
    }
}

#[tokio::test]
async fn every_call_is_measured_with_its_method_and_status_and_target() {
    let address = echo::serve(Server::builder().add_service(Echo::default())).await;
    let (tracing, _spans) = TracingService::in_memory();
    let meters = Meters::new();
    let layer = TraceLayer::client(&tracing).metrics(&meters.provider).target("dns:///echo:443");
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = echo::Client::over(layer.layer(channel));
    for (path, message) in [
        ("/test.Echo/One", "hello"),
        ("/test.Echo/One", "not found"),
        ("/test.Echo/Count", "two, and three"),
        ("/test.Echo/Nothing", "a method that its server does not have is still one called"),
    ] {
        client.call(path, &[message]).await;
    }

    let line = |method, error_type, status| {
        format!(
            "rpc.client.call.duration | {error_type}rpc.method=test.Echo/{method} \
             rpc.response.status_code={status} rpc.system.name=grpc server.address=echo \
             server.port=443 | 1"
        )
    };
    let mut expected = [
        line("One", "", "OK"),
        line("One", "error.type=NOT_FOUND ", "NOT_FOUND"),
        line("Count", "", "OK"),
        line("Nothing", "error.type=UNIMPLEMENTED ", "UNIMPLEMENTED"),
    ];
    expected.sort();
    assert_eq!(meters.lines(), expected);
}

#[tokio::test]
async fn the_size_of_what_is_sent_is_measured_where_the_layer_can_see_it() {
    let address = serve(Router::new().fallback(async |body: Bytes| body)).await;
    let (tracing, _spans) = TracingService::in_memory();
    for version in VERSIONS {
        for declared in [false, true] {
            let meters = Meters::new();
            let layer = TraceLayer::client(&tracing).metrics(&meters.provider);
            let client = layer.body_size_metrics(true).layer(legacy(version));
            let mut request = Request::post(format!("http://{address}/"));
            if declared {
                request = request.header("content-length", "5");
            }
            let request = request.body(Body::from("hello")).unwrap();
            read(client.oneshot(request).await.unwrap()).await.unwrap();
            let sent = meters.sums("http.client.request.body.size");
            assert_eq!(sent, Vec::from_iter(declared.then_some((1, 5.0))), "{version:?}");
            assert_eq!(meters.sums("http.client.response.body.size"), [(1, 5.0)]);
        }
    }
    #[cfg(feature = "reqwest")]
    {
        let meters = Meters::new();
        let layer = TraceLayer::client(&tracing).metrics(&meters.provider);
        let client = layer.body_size_metrics(true).layer(reqwest::Client::new());
        let url: reqwest::Url = format!("http://{address}/").parse().unwrap();
        for body in [None, Some("hello")] {
            let mut request = reqwest::Request::new(reqwest::Method::POST, url.clone());
            *request.body_mut() = body.map(Into::into);
            client.clone().oneshot(request).await.unwrap().bytes().await.unwrap();
        }
        assert_eq!(meters.sums("http.client.request.body.size"), [(1, 5.0)]);
    }
}

#[tokio::test]
async fn what_was_read_of_a_response_is_measured_and_no_more() {
    let address = says(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let (tracing, _spans) = TracingService::in_memory();
    let meters = Meters::new();
    let layer = TraceLayer::client(&tracing).metrics(&meters.provider).body_size_metrics(true);
    let client = layer.layer(legacy(Version::HTTP_11));
    read(client.oneshot(get(address, "/")).await.unwrap()).await.unwrap_err();
    assert_eq!(meters.sums("http.client.response.body.size"), [(1, 4.0)]);
}

#[tokio::test]
async fn the_duration_is_that_of_the_span() {
    let address = serve(Router::new().route("/", get_route(async || "hello"))).await;
    let (tracing, mut spans) = TracingService::in_memory();
    let meters = Meters::new();
    let layer = TraceLayer::client(&tracing).metrics(&meters.provider);
    let client = layer.layer(legacy(Version::HTTP_11));
    read(client.oneshot(get(address, "/")).await.unwrap()).await.unwrap();

    let span = next(&mut spans).await;
    let duration = span.end_time.duration_since(span.start_time).unwrap().as_secs_f64();
    assert_eq!(meters.sums("http.client.request.duration"), [(1, duration)]);
}
