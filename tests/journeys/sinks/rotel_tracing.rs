//! One request through all kinds of spans, as rotel has it: axum, `#[instrument]`, OpenTelemetry's
//! API, and a call to a service of tonic.

use axum::extract::Path;
use axum::routing::get;
use futures_util::stream;
use http::{HeaderMap, StatusCode, Version};
use opentelemetry::trace::{FutureExt, SpanKind, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SdkTracer;
use tonic::metadata::MetadataMap;
use tracing::instrument;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::rotel::{Rotel, passed_on};
use super::*;
use crate::support::{echo, server};

#[tokio::test]
async fn a_request_through_axum_tracing_opentelemetry_and_tonic_is_one_trace() {
    let collector = Collector::start(Script::Ok);
    let destination = format!("http://{}", collector.address());
    let exporter = ["otlp", "--otlp-exporter-endpoint", &destination];
    let Some(rotel) = Rotel::start(&exporter) else { return };
    let url = format!("grpc://{}", rotel.grpc);
    let [shop, inventory] = [tracing_to(&url), tracing_to(&url)];

    let tracer = shop.tracer_provider().tracer("shop");
    let _subscribed = tracing_subscriber::registry()
        // Without the spans of the libraries that client and servers are made of.
        .with(LevelFilter::INFO)
        .with(tracing_opentelemetry::layer().with_tracer(tracer.clone()))
        .set_default();

    let layer = TraceLayer::server(&inventory);
    let router =
        tonic::transport::Server::builder().layer(layer).add_service(echo::Echo::default());
    let client = echo::Client::connect(echo::serve(router).await).await;
    let app = axum::Router::new()
        .route("/orders/{id}", get(move |Path(id): Path<u64>| order(id, client, tracer)))
        .layer(TraceLayer::server(&shop));
    let address = server::serve(app).await;
    let response = server::fetch(Version::HTTP_2, address, server::get("/orders/7")).await;
    assert_eq!(response.status(), StatusCode::OK);

    assert_eq!(shop.shutdown(LONG).await, settled(3, 0));
    assert_eq!(inventory.shutdown(LONG).await, settled(1, 0));
    let spans = tokio::task::spawn_blocking(move || passed_on(&collector, 4)).await.unwrap();
    assert_eq!(spans.len(), 4);
    let mut parent = Vec::new();
    for (name, kind) in
        [("GET /orders/{id}", 2), ("order", 1), ("call inventory", 3), ("test.Echo/One", 2)]
    {
        let span = spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(span.kind, kind, "{name}");
        assert_eq!(span.parent_span_id, parent, "{name}");
        assert_eq!(span.trace_id, spans[0].trace_id, "{name}");
        parent = span.span_id.clone();
    }
}

#[instrument(skip(inventory, tracer))]
async fn order(id: u64, mut inventory: echo::Client, tracer: SdkTracer) -> String {
    let call = tracer.span_builder("call inventory").with_kind(SpanKind::Client).start(&tracer);
    let count = async {
        let mut headers = HeaderMap::new();
        TraceContext::current().expect("the span of the call").inject(&mut headers);
        let mut request = tonic::Request::new(stream::iter(["ok".to_owned()]));
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let mut answers = inventory.request("/test.Echo/One", request).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        // With the trailers, which end the span of the service.
        assert_eq!(answers.message().await.unwrap(), None, "one answer to {id}");
        answer
    };
    count.with_context(Context::current_with_span(call)).await
}
