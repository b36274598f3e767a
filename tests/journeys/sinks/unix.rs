//! Collectors on a Unix domain socket, which has no port and no host.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

#[test]
fn spans_go_over_a_unix_domain_socket() {
    let directory = TempDir::new().unwrap();
    for (socket, url, path) in urls(&directory) {
        let collector = Collector::listen_unix(&socket, Script::Ok);
        let tracing = tracing_to(&url);
        let served = serve(&tracing, 3);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(3, 0), "{url}");
        assert_eq!(collector.ids(), ids(&served), "{url}");
        assert_eq!(collector.received()[0].path, path, "{url}");
    }
}

#[test]
fn a_missing_socket_is_named_and_waited_for() {
    let directory = TempDir::new().unwrap();
    for (socket, url, _) in urls(&directory) {
        let log = Log::about(&socket.display().to_string());
        let tracing = tracing_to(&url);
        let served = serve(&tracing, 1);
        assert_eq!(tracing.flush_blocking(SHORT), pending(1), "{url}");
        let words = format!(
            ": cannot connect: {}: No such file or directory (os error 2); trying again, spans are \
             kept up to 32 MiB",
            socket.display(),
        );
        let lines = wait_for_line(&log, &words);
        assert_eq!(lines.len(), 1, "{url}: {lines:?}");

        let collector = Collector::listen_unix(&socket, Script::Ok);
        assert_eq!(tracing.flush_blocking(LONG), settled(1, 0), "{url}");
        assert_eq!(collector.ids(), ids(&served), "{url}");
    }
}

/// Sockets, their URLs, and where requests are posted.
fn urls(directory: &TempDir) -> [(PathBuf, String, &'static str); 3] {
    let export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let rows = [
        ("unix", "grpc.sock", "", export),
        ("http+unix", "http.sock", "", "/v1/traces"),
        ("http+unix", "elsewhere.sock", "?path=/spans", "/spans"),
    ];
    rows.map(|(scheme, name, rest, path)| {
        let socket = directory.path().join(name);
        let url = format!("{scheme}://{}{rest}", socket.display());
        (socket, url, path)
    })
}
