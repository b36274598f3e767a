//! Filters for [`TraceLayer::filter`](crate::TraceLayer::filter): requests that need no trace.
//!
//! ```
//! use tower_otlp::trace::filter;
//! use tower_otlp::{TraceLayer, TracingService};
//!
//! let (tracing, _spans) = TracingService::in_memory();
//! let layer = TraceLayer::server(&tracing)
//!     .filter(filter::no_health_checks)
//!     .filter(filter::no_path_prefix("/static"));
//! ```

use super::head::RequestHead;
use crate::sampling::{grpc_service, has_prefix};

/// Leaves out what asks for health over HTTP, by the paths that are usual for it (`/health`,
/// `/healthz`, `/livez`, `/readyz`, and what is below them), and gRPC's own
/// [health checks](no_grpc_health).
#[must_use]
pub fn no_health_checks(request: &RequestHead<'_>) -> bool {
    let path = request.uri().path();
    no_grpc_health(request) && !HEALTH.iter().any(|prefix| has_prefix(path, prefix))
}

/// Leaves out the calls of `grpc.health.v1.Health`.
#[must_use]
pub fn no_grpc_health(request: &RequestHead<'_>) -> bool {
    grpc_service(request.uri().path()) != "grpc.health.v1.Health"
}

/// Leaves out requests whose path is `prefix` or goes on after it with another segment: `/static`
/// leaves out `/static` and `/static/app.js`, not `/statics`.
pub fn no_path_prefix(
    prefix: impl Into<String>,
) -> impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static {
    let prefix = prefix.into();
    move |request| !has_prefix(request.uri().path(), &prefix)
}

const HEALTH: [&str; 4] = ["/health", "/healthz", "/livez", "/readyz"];

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn health_checks_are_told_by_their_paths() {
        let rows = [
            ("/healthz", false, "Kubernetes"),
            ("/livez?verbose", false, "with a query"),
            ("/readyz/etcd", false, "one of several"),
            ("/health", false, "usual elsewhere"),
            ("/healthy", true, "another word"),
            ("/users/healthz", true, "not at the root"),
            ("/grpc.health.v1.Health/Check", false, "gRPC"),
            ("/grpc.health.v1.Health/Watch", false, "gRPC, streamed"),
            ("/grpc.health.v1.HealthExtra/Check", true, "another service"),
        ];
        for (uri, traced, why) in rows {
            let request = Request::get(uri).body(()).unwrap();
            let head = RequestHead::incoming(&request);
            assert_eq!(no_health_checks(&head), traced, "{uri}: {why}");
        }
        let request = Request::get("/static/app.js").body(()).unwrap();
        let head = RequestHead::incoming(&request);
        assert!(!no_path_prefix("/static")(&head));
        assert!(no_path_prefix("/stat")(&head));
    }
}
