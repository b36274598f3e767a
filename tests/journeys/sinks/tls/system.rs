//! The certificate authorities of the system. Where they are is said by the environment, which is
//! that of a process: each test runs itself again.

use std::env;
use std::process::Command;

use super::*;

#[test]
fn without_ca_certs_the_authorities_of_the_system_count() {
    const NAME: &str = "sinks::tls::system::without_ca_certs_the_authorities_of_the_system_count";
    if let Ok(url) = env::var(URL) {
        let log = Log::about(&url);
        let tracing = to(&url).start("tls").unwrap();
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{:?}", log.lines());
        return;
    }
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let system = file(&directory, "system.pem", &authority.pem());
    for (scheme, _, rest) in SCHEMES {
        let collector = Collector::start(Script::Ok);
        collector.use_tls(Server::new(&authority.server(&["127.0.0.1"])).config());
        run(NAME, &format!("{scheme}://{}{rest}", collector.address()), &system);
        assert_eq!(collector.spans().len(), 1, "{scheme}");
    }
}

#[test]
fn a_system_without_authorities_is_an_error_at_start_unless_they_are_named() {
    const NAME: &str = "sinks::tls::system::a_system_without_authorities_is_an_error_at_start_unless_they_are_named";
    let directory = TempDir::new().unwrap();
    if let Ok(url) = env::var(URL) {
        let error = to(&url).start("tls").unwrap_err().to_string();
        let (start, end) = error.split_once(" (").unwrap();
        let start_expected = "tracing_service.ca_certs: this system has no certificate authorities";
        assert_eq!(start, start_expected, "{error}");
        let end_expected = "): install them, or name files with those of the collector here";
        assert!(end.contains("/nowhere") && end.ends_with(end_expected), "{error}");
        let ours = file(&directory, "ours.pem", &Authority::new("ours").pem());
        drop(to(&url).ca_certs([ours]).start("tls").unwrap());
        return;
    }
    run(NAME, "grpcs://collector", &directory.path().join("nowhere"));
}

/// Runs a test as a process with these authorities.
fn run(name: &str, url: &str, authorities: &Path) {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name])
        .env_remove("SSL_CERT_DIR")
        .env("SSL_CERT_FILE", authorities)
        .env(URL, url)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{url}: {output}");
}

const URL: &str = "TOWER_OTLP_TEST_URL";
