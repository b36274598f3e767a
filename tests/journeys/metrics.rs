//! What is measured of requests, as an exporter of the OpenTelemetry SDK gets it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get as get_route, post};
use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, HistogramDataPoint, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Server;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_otlp::{TraceLayer, TracingService, TracingServiceConfig};

use crate::support::body::{conducted, data};
use crate::support::echo::{self, Echo, Mute};
use crate::support::panic_quietly;
use crate::support::server::{Client, VERSIONS, fetch, get, request, serve};
use crate::support::spans::{at_rate, next, next_summary, summary};

/// A meter provider, and what it has exported.
pub(crate) struct Meters {
    pub(crate) provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        Self { provider: SdkMeterProvider::builder().with_reader(reader).build(), exporter }
    }

    /// Everything that was measured, in lines: name, attributes, how many; of the requests under
    /// way, and of spans, the number instead.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.each(|name, attributes, value| {
            let attributes: Vec<_> = attributes
                .iter()
                .map(|attribute| format!("{}={}", attribute.key, attribute.value))
                .collect();
            let value = match value {
                Measured::UnderWay(value) => value,
                Measured::Count(value) => value as i64,
                Measured::Histogram(point) => point.count() as i64,
            };
            lines.push(format!("{name} | {} | {value}", attributes.join(" ")));
        });
        lines.sort();
        lines
    }

    /// The sums of the metric of this name, by how many measurements each has.
    pub(crate) fn sums(&self, metric: &str) -> Vec<(u64, f64)> {
        let mut sums = Vec::new();
        self.each(|name, _, value| match value {
            Measured::Histogram(point) if name == metric => sums.push((point.count(), point.sum())),
            _ => {}
        });
        sums.sort_by(|a, b| a.partial_cmp(b).unwrap());
        sums
    }

    /// The instruments that have been used: name, unit, description.
    pub(crate) fn instruments(&self) -> Vec<String> {
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let metrics = exported.iter().flat_map(|all| all.scope_metrics());
        let mut instruments: Vec<_> = metrics
            .flat_map(|scope| scope.metrics())
            .map(|one| format!("{}, {}: {}", one.name(), one.unit(), one.description()))
            .collect();
        instruments.sort();
        instruments
    }

    /// How many requests are under way.
    fn under_way(&self) -> i64 {
        let mut total = 0;
        self.each(|_, _, value| match value {
            Measured::UnderWay(value) => total += value,
            Measured::Count(_) | Measured::Histogram(_) => {}
        });
        total
    }

    fn each(&self, mut look: impl FnMut(&str, &[KeyValue], Measured<'_>)) {
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let Some(last) = exported.last() else { return };
        for metric in last.scope_metrics().flat_map(|scope| scope.metrics()) {
            match metric.data() {
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    assert!(!sum.is_monotonic());
                    for point in sum.data_points() {
                        let attributes: Vec<_> = point.attributes().cloned().collect();
                        look(metric.name(), &attributes, Measured::UnderWay(point.value()));
                    }
                }
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    assert!(sum.is_monotonic());
                    for point in sum.data_points() {
                        let attributes: Vec<_> = point.attributes().cloned().collect();
                        look(metric.name(), &attributes, Measured::Count(point.value()));
                    }
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    for point in histogram.data_points() {
                        let attributes: Vec<_> = point.attributes().cloned().collect();
                        look(metric.name(), &attributes, Measured::Histogram(point));
                    }
                }
                other => panic!("{}: {other:?}", metric.name()),
            }
        }
    }
}

enum Measured<'a> {
    UnderWay(i64),
    Count(u64),
    Histogram(&'a HistogramDataPoint<f64>),
}

#[tokio::test]
async fn every_request_is_measured_with_its_method_route_and_status() {
    let (tracing, _spans) = TracingService::in_memory();
    let meters = Meters::new();
    let app = Router::new()
        .route("/users/{id}", get_route(async || "a user"))
        .route("/fails/{how}", any(async || StatusCode::INTERNAL_SERVER_ERROR))
        .layer(TraceLayer::server(&tracing).metrics(&meters.provider));
    let address = serve(app).await;
    for version in VERSIONS {
        for (method, path) in [
            ("GET", "/users/1"),
            ("GET", "/users/2?verbose=1"),
            ("HEAD", "/users/2"),
            ("DELETE", "/users/2"),
            ("GET", "/nothing"),
            ("GET", "/fails/1"),
            ("PROPFIND", "/fails/2"),
            ("get", "/fails/2"),
        ] {
            fetch(version, address, request(method, path, &[])).await;
        }
    }

    let rows = [
        "http.request.method=DELETE http.response.status_code=405 http.route=/users/{id} {} | 1",
        "http.request.method=GET http.response.status_code=200 http.route=/users/{id} {} | 2",
        "http.request.method=GET http.response.status_code=404 {} | 1",
        "http.request.method=HEAD http.response.status_code=200 http.route=/users/{id} {} | 1",
        "error.type=500 http.request.method=GET http.response.status_code=500 \
         http.route=/fails/{how} {} | 1",
        "error.type=500 http.request.method=_OTHER http.response.status_code=500 \
         http.route=/fails/{how} {} | 2",
    ];
    let mut expected: Vec<_> = ["DELETE", "GET", "HEAD", "_OTHER"]
        .map(|method| {
            format!(
                "http.server.active_requests | http.request.method={method} url.scheme=http | 0"
            )
        })
        .into();
    for version in ["1.1", "2"] {
        let rest = format!("network.protocol.version={version} url.scheme=http");
        let line =
            |row: &str| format!("http.server.request.duration | {}", row.replace("{}", &rest));
        expected.extend(rows.map(line));
    }
    expected.sort();
    assert_eq!(meters.lines(), expected);
}

#[tokio::test]
async fn every_call_is_measured_with_its_method_and_status() {
    let rows = [
        ("/test.Echo/One", "hello", "rpc.method=test.Echo/One rpc.response.status_code=OK"),
        (
            "/test.Echo/One",
            "not found",
            "rpc.method=test.Echo/One rpc.response.status_code=NOT_FOUND",
        ),
        (
            "/test.Echo/Count",
            "disk full",
            "error.type=INTERNAL rpc.method=test.Echo/Count rpc.response.status_code=INTERNAL",
        ),
        (
            "/test.Echo/Count",
            "panic",
            "error.type=panic rpc.method=test.Echo/Count rpc.response.status_code=UNKNOWN",
        ),
        (
            "/test.Mute/503",
            "a",
            "error.type=UNAVAILABLE rpc.method=test.Mute/503 rpc.response.status_code=UNAVAILABLE",
        ),
        (
            "/test.Echo/Nothing",
            "a method that the service does not have",
            "error.type=UNIMPLEMENTED rpc.method=_OTHER rpc.response.status_code=UNIMPLEMENTED",
        ),
        (
            "/test.Nobody/One",
            "a service that the server does not have",
            "error.type=UNIMPLEMENTED rpc.method=_OTHER rpc.response.status_code=UNIMPLEMENTED",
        ),
    ];
    let (tracing, mut spans) = TracingService::in_memory();
    let meters = Meters::new();
    let server = Server::builder()
        .layer(TraceLayer::server(&tracing).metrics(&meters.provider).body_size_metrics(true))
        .add_service(Echo::default())
        .add_service(Mute);
    let address = echo::serve(server).await;
    for (path, message, _) in rows {
        echo::Client::connect(address).await.call(path, &[message]).await;
        next(&mut spans).await;
    }

    let mut expected: Vec<_> = rows
        .map(|(_, _, attributes)| {
            let count = rows.iter().filter(|(_, _, others)| *others == attributes).count();
            format!("rpc.server.call.duration | {attributes} rpc.system.name=grpc | {count}")
        })
        .into();
    expected.sort();
    expected.dedup();
    assert_eq!(meters.lines(), expected, "and nothing of HTTP");
}

#[tokio::test]
async fn names_units_and_boundaries_are_those_of_the_conventions() {
    let (tracing, _spans) = TracingService::in_memory();
    let meters = Meters::new();
    let trace = TraceLayer::server(&tracing).body_size_metrics(true).metrics(&meters.provider);
    let service = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(
            Response::builder().header("grpc-status", "0").body(Body::empty()).unwrap(),
        )
    });
    for content_type in ["text/plain", "application/grpc"] {
        let headers = [("content-type", content_type), ("content-length", "0")];
        let request = request("POST", "/a.B/C", &headers);
        trace.layer(service).oneshot(request).await.unwrap();
    }

    meters.provider.force_flush().unwrap();
    let exported = meters.exporter.get_finished_metrics().unwrap();
    let scopes: Vec<_> = exported[0].scope_metrics().collect();
    assert_eq!(scopes.len(), 1);
    let scope = scopes[0].scope();
    assert_eq!(scope.name(), "tower-otlp");
    assert_eq!(scope.version(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(scope.schema_url(), Some("https://opentelemetry.io/schemas/1.44.0"));

    let mut found: Vec<_> = scopes[0]
        .metrics()
        .map(|metric| {
            let boundaries: Option<Vec<f64>> = match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    histogram.data_points().next().map(|point| point.bounds().collect())
                }
                _ => None,
            };
            (metric.name(), metric.unit(), metric.description(), boundaries)
        })
        .collect();
    found.sort_by_key(|(name, ..)| *name);
    let seconds =
        vec![0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let bytes: Vec<f64> =
        [0].into_iter().chain((3..14).map(|i| 4_u32.pow(i))).map(f64::from).collect();
    let expected = [
        (
            "http.server.active_requests",
            "{request}",
            "Number of active HTTP server requests.",
            None,
        ),
        (
            "http.server.request.body.size",
            "By",
            "Size of HTTP server request bodies.",
            Some(bytes.clone()),
        ),
        (
            "http.server.request.duration",
            "s",
            "Duration of HTTP server requests.",
            Some(seconds.clone()),
        ),
        (
            "http.server.response.body.size",
            "By",
            "Size of HTTP server response bodies.",
            Some(bytes),
        ),
        (
            "rpc.server.call.duration",
            "s",
            "Measures the duration of an incoming Remote Procedure Call (RPC).",
            Some(seconds),
        ),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn requests_are_measured_whether_they_are_recorded_or_not() {
    let disabled = || TracingServiceConfig::disabled().start("journeys").unwrap();
    let rows = [
        (TracingService::in_memory().0, "sampled"),
        (at_rate(0).0, "not sampled"),
        (disabled(), "tracing is disabled"),
    ];
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    for (tracing, reason) in rows {
        let meters = Meters::new();
        let (sender, mut contexts) = mpsc::unbounded_channel();
        let service = service_fn(move |_: Request<Incoming>| {
            sender.send(Context::current()).unwrap();
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::from("hello"))))
        });
        let trace = TraceLayer::server(&tracing).metrics(&meters.provider);
        let address = serve(trace.layer(service)).await;
        fetch(Version::HTTP_11, address, get("/")).await;
        fetch(Version::HTTP_11, address, request("GET", "/", &[("traceparent", parent)])).await;

        let expected = [
            "http.server.active_requests | http.request.method=GET url.scheme=http | 0",
            "http.server.request.duration | http.request.method=GET http.response.status_code=200 \
             network.protocol.version=1.1 url.scheme=http | 2",
        ];
        assert_eq!(meters.lines(), expected, "{reason}");
        contexts.recv().await.unwrap();
        let context = contexts.recv().await.unwrap();
        let trace_id =
            opentelemetry::trace::TraceContextExt::span(&context).span_context().trace_id();
        assert_eq!(trace_id.to_string(), &parent[3..35], "{reason}: the trace goes on");
    }
}

#[tokio::test]
async fn a_duration_is_exactly_that_of_the_span() {
    let (tracing, mut spans) = TracingService::in_memory();
    let meters = Meters::new();
    let trace = TraceLayer::server(&tracing).metrics(&meters.provider);
    let app = Router::new().route("/", get_route(async || "hello")).layer(trace.clone());
    fetch(Version::HTTP_2, serve(app).await, get("/")).await;
    let server = Server::builder().layer(trace).add_service(Echo::default());
    let mut client = echo::Client::connect(echo::serve(server).await).await;
    client.call("/test.Echo/Count", &["ok"]).await;

    for metric in ["http.server.request.duration", "rpc.server.call.duration"] {
        let span = next(&mut spans).await;
        let lasted = span.end_time.duration_since(span.start_time).unwrap();
        assert!(!lasted.is_zero());
        assert_eq!(meters.sums(metric), [(1, lasted.as_secs_f64())], "{}", summary(&span));
    }
}

#[tokio::test]
async fn sizes_of_bodies_are_measured_when_asked_for() {
    let (tracing, mut spans) = TracingService::in_memory();
    let meters = Meters::new();
    let app = Router::new()
        .route("/", any(async |body: axum::body::Bytes| vec![b'x'; 2 * body.len()]))
        .route("/early", post(async || "unread"))
        .route(
            "/streamed",
            get_route(async || {
                Body::from_stream(stream::iter(["12", "345"].map(Ok::<_, Infallible>)))
            }),
        )
        .layer(TraceLayer::server(&tracing).metrics(&meters.provider).body_size_metrics(true));
    let address = serve(app).await;
    // Request, sizes of its body and the response's.
    let post = |path: &str, body: Body| {
        let mut post = request("POST", path, &[]);
        *post.body_mut() = body;
        post
    };
    let chunked = Body::from_stream(stream::iter([Ok::<_, Infallible>("12345")]));
    let rows = [
        (post("/", Body::from("1234")), Some(4.0), 8.0, "both are known"),
        (post("/", chunked), None, 10.0, "a request without Content-Length"),
        (post("/early", Body::from("1234567")), Some(7.0), 6.0, "the service does not read it"),
        (get("/streamed"), None, 5.0, "a response without Content-Length"),
        (request("HEAD", "/streamed", &[]), None, 0.0, "no body passes"),
        (get("/nothing"), None, 0.0, "an empty body"),
    ];
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    let mut client = Client::connect(Version::HTTP_11, address).await;
    for (request, request_size, response_size, reason) in rows {
        client.fetch(request).await.unwrap();
        next(&mut spans).await;
        requests.extend(request_size);
        responses.push(response_size);
        let total = |metric| {
            let sums = meters.sums(metric);
            sums.iter().fold((0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1))
        };
        let expected = (requests.len() as u64, requests.iter().sum());
        assert_eq!(total("http.server.request.body.size"), expected, "{reason}");
        let expected = (responses.len() as u64, responses.iter().sum());
        assert_eq!(total("http.server.response.body.size"), expected, "{reason}");
    }
    let expected = "http.server.response.body.size | http.request.method=POST \
                    http.response.status_code=200 http.route=/ network.protocol.version=1.1 \
                    url.scheme=http | 2";
    assert!(meters.lines().iter().any(|line| line == expected), "{:#?}", meters.lines());
}

#[tokio::test]
async fn of_a_response_that_is_cut_off_counts_what_has_passed() {
    let (tracing, mut spans) = TracingService::in_memory();
    let meters = Meters::new();
    let (sender, mut conductors) = mpsc::unbounded_channel();
    let service = service_fn(move |_: Request<_>| {
        let (conductor, body) = conducted();
        sender.send(conductor).unwrap();
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let trace = TraceLayer::server(&tracing).metrics(&meters.provider).body_size_metrics(true);
    let address = serve(trace.layer(service)).await;
    let mut client = Client::connect(Version::HTTP_11, address).await;

    let mut response = client.send(get("/")).await.unwrap();
    let conductor = conductors.recv().await.unwrap();
    conductor.send(Ok(data("half of"))).unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(meters.under_way(), 1, "the response is still being sent");
    assert_eq!(meters.sums("http.server.request.duration"), [], "so it has no duration");
    client.hang_up().await;

    assert_eq!(next_summary(&mut spans).await, "Server | GET | 200 | error | cancelled");
    assert_eq!(meters.under_way(), 0);
    assert_eq!(meters.sums("http.server.response.body.size"), [(1, 7.0)]);
}

#[tokio::test]
async fn however_a_request_ends_it_is_no_longer_under_way_and_has_been_measured() {
    // Method, path, the duration's error.type and status.
    let rows = [
        ("GET", "/fine", None, Some(200)),
        ("HEAD", "/fine", None, Some(200)),
        ("GET", "/status/204", None, Some(204)),
        ("GET", "/status/304", None, Some(304)),
        ("GET", "/call/panic", Some("panic"), None),
        ("GET", "/future/error", Some("service_error"), None),
        ("GET", "/future/panic", Some("panic"), None),
        ("GET", "/future/cancel", Some("cancelled"), None),
        ("GET", "/body/error", Some("body_error"), Some(200)),
        ("GET", "/body/panic", Some("panic"), Some(200)),
        ("GET", "/body/cancel", Some("cancelled"), Some(200)),
    ];
    for (sampling, rate) in [("sampled", 1_000_000), ("not sampled", 0)] {
        for version in VERSIONS {
            for caught in [false, true] {
                let (tracing, _spans) = at_rate(rate);
                let meters = Meters::new();
                let (sender, mut begun) = mpsc::unbounded_channel();
                let service = service_fn(move |request: Request<_>| {
                    let (held, let_go) = oneshot::channel::<()>();
                    sender.send(let_go).unwrap();
                    let path = request.uri().path().to_owned();
                    if path == "/call/panic" {
                        panic_quietly();
                    }
                    answer(path, held)
                });
                let service = TraceLayer::server(&tracing).metrics(&meters.provider).layer(service);
                let address = if caught {
                    serve(CatchPanicLayer::new().layer(service)).await
                } else {
                    serve(service).await
                };

                let mut expected = BTreeMap::new();
                for (method, path, error_type, status) in rows {
                    let reason = format!("{version:?} {method} {path} {sampling}");
                    let mut client = Client::connect(version, address).await;
                    let sending = client.send(request(method, path, &[]));
                    let answered = tokio::spawn(async { sending.await?.collect().await });
                    let let_go = begun.recv().await.unwrap();
                    if path.ends_with("cancel") {
                        assert_eq!(meters.under_way(), 1, "{reason}");
                        answered.abort();
                        client.hang_up().await;
                    }
                    let _ = answered.await;
                    // Everything runs on this one thread, so what was let go has ended, too.
                    assert!(let_go.await.is_err(), "{reason}: the service and its body are gone");
                    assert_eq!(meters.under_way(), 0, "{reason}");

                    let error_type = error_type.map(|name| format!("error.type={name} "));
                    let status = status.map(|code| format!("http.response.status_code={code} "));
                    let number = if version == Version::HTTP_2 { "2" } else { "1.1" };
                    let attributes = format!(
                        "{}http.request.method={method} {}network.protocol.version={number} \
                         url.scheme=http",
                        error_type.unwrap_or_default(),
                        status.unwrap_or_default(),
                    );
                    *expected.entry(attributes).or_insert(0) += 1;
                    let expected: Vec<_> = expected
                        .iter()
                        .map(|(attributes, count)| {
                            format!("http.server.request.duration | {attributes} | {count}")
                        })
                        .collect();
                    let mut lines = meters.lines();
                    lines.retain(|line| line.starts_with("http.server.request.duration"));
                    assert_eq!(lines, expected, "{reason}");
                }
            }
        }
    }
}

/// Answers as the path says. Service and body hold on to what they are given to hold.
async fn answer(path: String, held: oneshot::Sender<()>) -> Result<Response<Body>, io::Error> {
    match path.as_str() {
        "/future/error" => return Err(io::Error::other("no database")),
        "/future/panic" => panic_quietly(),
        "/future/cancel" => std::future::pending().await,
        _ => {}
    }
    let status = path.strip_prefix("/status/").unwrap_or("200").to_owned();
    let rest = stream::once(async move {
        match path.as_str() {
            "/body/error" => Err(io::Error::other("the disk is gone")),
            "/body/panic" => panic_quietly(),
            "/body/cancel" => std::future::pending().await,
            _ => Ok("the other half"),
        }
    });
    let body = stream::iter([Ok("half of")]).chain(rest).map(move |chunk| {
        let _ = &held;
        chunk
    });
    Ok(Response::builder().status(&*status).body(Body::from_stream(body)).unwrap())
}

#[tokio::test]
async fn a_connection_that_was_upgraded_is_no_longer_a_request_under_way() {
    let (tracing, mut spans) = TracingService::in_memory();
    let meters = Meters::new();
    let echo = service_fn(|mut request: Request<Incoming>| {
        tokio::spawn(async move {
            let tunnel = hyper::upgrade::on(&mut request).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(tunnel));
            tokio::io::copy(&mut reader, &mut writer).await
        });
        let response = Response::builder().status(101);
        let response = response.header("connection", "upgrade").header("upgrade", "echo");
        std::future::ready(response.body(Body::empty()))
    });
    let trace = TraceLayer::server(&tracing).metrics(&meters.provider);
    let mut client = Client::connect(Version::HTTP_11, serve(trace.layer(echo)).await).await;
    let headers = [("connection", "upgrade"), ("upgrade", "echo")];
    let response = client.send(request("GET", "/", &headers)).await.unwrap();
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    tunnel.write_all(b"ping").await.unwrap();
    tunnel.read_exact(&mut [0; 4]).await.unwrap();

    next(&mut spans).await;
    assert_eq!(meters.under_way(), 0, "while the tunnel lives");
    assert_eq!(meters.sums("http.server.request.duration").len(), 1);
}

#[tokio::test]
async fn what_is_never_traced_is_not_measured() {
    let (tracing, _spans) = TracingService::in_memory();
    let meters = Meters::new();
    let service =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = TraceLayer::server(&tracing).metrics(&meters.provider).layer(service);

    service.clone().oneshot(request("POST", "/v1/traces", &[])).await.unwrap();
    let suppressed = Context::enter_telemetry_suppressed_scope();
    service.clone().oneshot(get("/")).now_or_never().unwrap().unwrap();
    drop(suppressed);
    assert_eq!(meters.lines(), [""; 0]);

    service.oneshot(get("/")).await.unwrap();
    assert_eq!(meters.sums("http.server.request.duration").len(), 1, "others are");
}

#[tokio::test]
async fn each_layer_measures_that_is_told_to() {
    let (tracing, _spans) = TracingService::in_memory();
    let (inner, outer) = (Meters::new(), Meters::new());
    let silent = TraceLayer::server(&tracing);
    // One that is made from another does not change it.
    let inside = silent.clone().metrics(&inner.provider);
    let outside = silent.clone().metrics(&*global::meter_provider()).metrics(&outer.provider);
    let service =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    silent.layer(outside.layer(inside.layer(service))).oneshot(get("/")).await.unwrap();

    for meters in [inner, outer] {
        let sums = meters.sums("http.server.request.duration");
        assert_eq!(sums.iter().map(|(count, _)| count).sum::<u64>(), 1);
    }
}
