//! A program that has an `SdkTracerProvider` already, and exports its spans through tower-otlp.
//!
//!     cargo run --example existing_sdk
//!
//! You should see three spans: of the request, of its handler, and of the nightly job. The job's
//! and the handler's are from the program's provider, with its resource, and all go one way out.

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::convert::Infallible;
use std::error::Error;

use http::{Request, Response};
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tower::{Layer, ServiceExt, service_fn};
use tower_otlp::{TraceLayer, TracingService};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In memory, to be printed. `TracingServiceConfig::start` exports to a collector.
    let (tracing, mut spans) = TracingService::in_memory();

    // What the program has. One line is new, in place of an exporter.
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("billing").build())
        .with_span_processor(tracing.span_processor())
        .build();
    let tracer = provider.tracer("billing::jobs");

    tracer.in_span("nightly", |_| {});

    let handler = service_fn(async |_: Request<String>| {
        tracer.in_span("charge the card", |_| {});
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let service = TraceLayer::server(&tracing).layer(handler);
    service.oneshot(Request::new(String::new())).await?;

    provider.shutdown()?;
    for span in spans.take() {
        let (name, scope, trace, id) = (span.name, span.scope_name, span.trace_id, span.span_id);
        println!("{name:15}  trace {trace}  span {id}");
        println!("{:15}  parent {:?}  scope {scope}", "", span.parent_span_id);
    }
    println!("{}", tracing.shutdown(std::time::Duration::from_secs(5)).await);
    Ok(())
}
