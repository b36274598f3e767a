//! Mutual TLS as operators have it: nginx before rotel.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tower_otlp::TraceContext;

use super::super::rotel::{Rotel, passed_on};
use super::super::{ids, wait_for_line};
use super::nginx::Nginx;
use super::*;

#[test]
fn the_section_exports_over_mutual_tls_through_nginx() {
    for scheme in ["grpcs", "https"] {
        let Some(setting) = Setting::start() else { return };
        let url = setting.url(scheme);
        let tracing = setting.tracing(&url);
        let log = Log::about(&url);
        let served = serve(&tracing, 3);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(3, 0), "{url}: {:?}", log.lines());
        passed_on(&setting.collector, 3);
        assert_eq!(setting.collector.ids(), ids(&served), "{url}");
    }
}

/// All of it is replaced while a thousand requests a second are served: the authority that both
/// sides believe, the server's certificate and the client's.
#[test]
fn certificates_are_swapped_under_load_and_nothing_is_lost() {
    for scheme in ["grpcs", "https"] {
        let Some(setting) = Setting::start() else { return };
        let url = setting.url(scheme);
        let tracing = setting.tracing(&url);
        let log = Log::about(&url);
        let enough = AtomicBool::new(false);
        let served = thread::scope(|scope| {
            let producer = scope.spawn(|| load(&tracing, &enough));
            setting.nginx.wait_for_client_of("before");
            // Each side believes both before either shows the new.
            setting.believe(&["before", "after"]);
            setting.nginx.reload();
            setting.show("after");
            setting.nginx.reload();
            setting.nginx.wait_for_client_of("after");
            setting.believe(&["after"]);
            setting.nginx.reload();
            wait_for_500_more(&tracing, &log);
            enough.store(true, Ordering::Relaxed);
            producer.join().unwrap()
        });
        let stats = tracing.shutdown_blocking(LONG);
        assert_eq!(stats, settled(served.len() as u64, 0), "{url}: {:?}", log.lines());
        passed_on(&setting.collector, served.len());
        assert_eq!(setting.collector.ids(), ids(&served), "{url}");
    }
}

/// nginx refuses with an answer whom it does not believe, also over connections that last, and
/// believes the same client a moment later.
#[test]
fn a_client_that_nginx_does_not_believe_for_a_while_loses_nothing() {
    for scheme in ["grpcs", "https"] {
        let Some(setting) = Setting::start() else { return };
        let url = setting.url(scheme);
        let tracing = setting.tracing(&url);
        let log = Log::about(&url);
        let enough = AtomicBool::new(false);
        let served = thread::scope(|scope| {
            let producer = scope.spawn(|| load(&tracing, &enough));
            setting.nginx.wait_for_client_of("before");
            setting.believe_clients_of("after");
            setting.nginx.reload();
            let refused = "answered HTTP 400 Bad Request: the collector refused the client \
                           certificate of https_keypairs; trying again, spans are kept up to 32 MiB";
            wait_for_line(&log, refused);
            setting.believe_clients_of("before");
            setting.nginx.reload();
            wait_for_500_more(&tracing, &log);
            enough.store(true, Ordering::Relaxed);
            producer.join().unwrap()
        });
        let stats = tracing.shutdown_blocking(LONG);
        assert_eq!(stats, settled(served.len() as u64, 0), "{url}: {:?}", log.lines());
        passed_on(&setting.collector, served.len());
        assert_eq!(setting.collector.ids(), ids(&served), "{url}");
    }
}

/// A thousand requests a second, until it is enough.
fn load(tracing: &TracingService, enough: &AtomicBool) -> Vec<TraceContext> {
    let mut served = Vec::new();
    let mut next = Instant::now();
    while !enough.load(Ordering::Relaxed) {
        served.extend(serve(tracing, 1));
        next += Duration::from_millis(1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    served
}

/// Waits until all spans of now and others after them are delivered.
fn wait_for_500_more(tracing: &TracingService, log: &Log) {
    let begin = tracing.stats().accepted;
    let deadline = Instant::now() + LONG;
    while tracing.stats().delivered < begin + 500 {
        assert!(Instant::now() < deadline, "{:?}", log.lines());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Rotel behind nginx, with certificates of the authority `before`.
struct Setting {
    nginx: Nginx,
    _rotel: Rotel,
    collector: Collector,
    authorities: [(&'static str, Authority); 2],
    files: TempDir,
}

impl Setting {
    fn start() -> Option<Self> {
        let collector = Collector::start(Script::Ok);
        let destination = format!("http://{}", collector.address());
        let rotel = Rotel::start(&["otlp", "--otlp-exporter-endpoint", &destination])?;
        let files = tempfile::tempdir().unwrap();
        let authorities = ["before", "after"].map(|name| (name, Authority::new(name)));
        write_certificates(files.path(), &authorities, &["before"]);
        write_identities(files.path(), &authorities, "before");
        let nginx = Nginx::start(files.path(), [rotel.grpc, rotel.http])?;
        Some(Self { nginx, _rotel: rotel, collector, authorities, files })
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.nginx.address.port())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Started with the section as an operator writes it.
    fn tracing(&self, url: &str) -> TracingService {
        let path = |name| self.file(name).display().to_string();
        let document = format!(
            "tracing_service:
  enabled: yes
  exporter_url: {url}
  sampling_rate_per_million: 1000000
  ca_certs:
    - {}
  https_keypairs:
    - key_file: {}
      cert_file: {}
",
            path("ca.pem"),
            path("client.key"),
            path("client.pem"),
        );
        TracingServiceConfig::from_yaml_str(&document).unwrap().start("sinks").unwrap()
    }

    /// Both sides are to believe these authorities.
    fn believe(&self, names: &[&str]) {
        write_certificates(self.files.path(), &self.authorities, names);
    }

    /// nginx is to believe clients of this authority, and of no other.
    fn believe_clients_of(&self, name: &str) {
        let (_, authority) = self.authorities.iter().find(|(known, _)| *known == name).unwrap();
        replace(self.files.path(), "clients.pem", &authority.pem());
    }

    /// Both sides are to show what this authority has signed.
    fn show(&self, name: &str) {
        write_identities(self.files.path(), &self.authorities, name);
    }
}

fn write_certificates(directory: &Path, authorities: &[(&str, Authority)], names: &[&str]) {
    let named = authorities.iter().filter(|(name, _)| names.contains(name));
    let pem: String = named.map(|(_, authority)| authority.pem()).collect();
    replace(directory, "ca.pem", &pem);
    replace(directory, "clients.pem", &pem);
}

/// Key and chain are two files: in between, the pair does not match, and is not taken.
fn write_identities(directory: &Path, authorities: &[(&str, Authority)], name: &str) {
    let (_, authority) = authorities.iter().find(|(known, _)| *known == name).unwrap();
    for (name, identity) in
        [("server", authority.server(&["localhost"])), ("client", authority.client("service"))]
    {
        let aside = tempfile::tempdir_in(directory).unwrap();
        let (key_file, cert_file) = identity.write(aside.path(), name);
        for file in [key_file, cert_file] {
            fs::rename(&file, directory.join(file.file_name().unwrap())).unwrap();
        }
    }
}

fn replace(directory: &Path, name: &str, text: &str) {
    let aside = directory.join(format!("{name}.new"));
    fs::write(&aside, text).unwrap();
    fs::rename(aside, directory.join(name)).unwrap();
}
