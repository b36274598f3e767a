//! [`TraceInterceptor`]: the context of a trace, for those who cannot add a layer.

use http::header::HeaderMap;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::context::{BaggageHeader, TraceContext, current};

/// A tonic interceptor that hands a trace on, or takes in a caller's, and records nothing.
///
/// It needs no [`TracingService`](crate::TracingService), refuses no call, and works where a type
/// leaves room for an interceptor only: in `with_interceptor` of generated clients and servers.
///
/// # When to take a layer instead
///
/// Whenever you can. tonic shows an interceptor the metadata of the request and nothing else:
/// neither the path nor the response, its trailers, or its end. So it makes no span, which would
/// have no name, no status and no duration. Use [`TraceLayer`](crate::TraceLayer) to record calls.
///
/// # Example: calling on from a handler
///
/// The service that is called continues the span in whose context the call is made. Under a
/// [`TraceLayer`](crate::TraceLayer) that is the span of the request being served, if the handler
/// has made none of its own.
///
/// ```
/// use tonic::service::interceptor::InterceptedService;
/// use tower_otlp::TraceInterceptor;
///
/// // Of a generated client: `GreeterClient::with_interceptor(channel, interceptor)`.
/// fn intercepted<S>(channel: S) -> InterceptedService<S, TraceInterceptor> {
///     InterceptedService::new(channel, TraceInterceptor::inject())
/// }
/// ```
///
/// # Example: what a handler learns of its caller
///
/// ```
/// use tonic::{Request, Response, Status};
/// use tower_otlp::TraceContext;
///
/// // Behind `GreeterServer::with_interceptor(greeter, TraceInterceptor::extract())`.
/// async fn greet(request: Request<String>) -> Result<Response<String>, Status> {
///     let mut onward = Request::new(());
///     if let Some(caller) = request.extensions().get::<TraceContext>() {
///         println!("in trace {}", caller.trace_id());
///         // As if this service were not there: no span of it is in between.
///         caller.inject(onward.metadata_mut().as_mut());
///     }
///     Ok(Response::new(format!("hello {}", request.into_inner())))
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "an interceptor does nothing until it is given to a client or a server"]
pub struct TraceInterceptor {
    direction: Direction,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Inject,
    Extract,
}

impl TraceInterceptor {
    /// For clients: writes [`TraceContext::current`] into the metadata, in place of a
    /// `traceparent`, `tracestate` and `baggage` that are there.
    ///
    /// Without an active span only baggage is written, if the OpenTelemetry `Context` has any.
    /// Nothing is touched while telemetry is suppressed.
    pub const fn inject() -> Self {
        Self { direction: Direction::Inject }
    }

    /// For servers: puts the caller's [`TraceContext`] into the extensions of the request.
    ///
    /// What came is read as strictly as [everywhere](crate::context). From a caller without a
    /// well-formed `traceparent` there is none in the extensions, and the call goes on. The
    /// OpenTelemetry `Context` stays as it is: spans of the handler are no children of the
    /// caller's, unless they are started in [`TraceContext::to_opentelemetry`].
    pub const fn extract() -> Self {
        Self { direction: Direction::Extract }
    }
}

impl Interceptor for TraceInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        match self.direction {
            Direction::Inject => inject(request.metadata_mut().as_mut()),
            Direction::Extract => {
                if let Some(context) = TraceContext::from_headers(request.metadata().as_ref()) {
                    request.extensions_mut().insert(context);
                }
            }
        }
        Ok(request)
    }
}

fn inject(headers: &mut HeaderMap) {
    if current::is_suppressed() {
        return;
    }
    if let Some(context) = TraceContext::current() {
        context.inject(headers);
        return;
    }
    let baggage = Context::map_current(|cx| BaggageHeader::from_opentelemetry(cx.baggage()));
    if let Some(baggage) = baggage {
        // A map that is full stays as it is, as in `TraceContext::inject`.
        let _ = headers.try_insert("baggage", baggage.to_header_value());
    }
}
