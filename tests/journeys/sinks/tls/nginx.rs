//! nginx in front of a collector: who has no good client certificate finishes the handshake and is
//! told so by a page.
//!
//! `NGINX` says where the program is, `/usr/sbin/nginx` if nothing does. Without it these tests say
//! that they were skipped, except in CI, where they fail.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tower_otlp::RetryConfig;

use super::super::skip;
use super::*;

#[test]
fn a_refusal_of_nginx_reads_like_one_in_the_handshake() {
    let directory = TempDir::new().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ca_certs = file(&directory, "ca.pem", &ours.pem());
    file(&directory, "clients.pem", &ours.pem());
    ours.server(&["127.0.0.1"]).write(directory.path(), "server");
    let client = ours.client("client").write(directory.path(), "client");
    let strange = theirs.client("client").write(directory.path(), "strange");
    let wants = "answered HTTP 400 Bad Request: the collector wants a client certificate: name \
                 one in https_keypairs";
    let refused = "answered HTTP 400 Bad Request: the collector refused the client certificate of \
                   https_keypairs";
    let rows = [
        (Some(&client), None, "the right client"),
        (None, Some(wants), "no client certificate"),
        (Some(&strange), Some(refused), "a stranger"),
    ];
    let collector = Collector::start(Script::Ok);
    let Some(nginx) = Nginx::start(directory.path(), [collector.address(); 2]) else { return };
    for (scheme, plain, rest) in SCHEMES {
        let url = format!("{scheme}://{}{rest}", nginx.address);
        for (keypair, words, why) in rows {
            let log = Log::about(&url);
            let once = RetryConfig::default().give_up_after(Duration::ZERO);
            let mut config = to(&url).ca_certs([&ca_certs]).retry(once);
            if let Some((key_file, cert_file)) = keypair {
                config = config.keypair(key_file, cert_file);
            }
            let tracing = config.start("tls").unwrap();
            serve(&tracing, 1);
            let stats = tracing.flush_blocking(LONG);
            let Some(words) = words else {
                assert_eq!(stats, settled(1, 0), "{scheme}, {why}: {:?}", log.lines());
                continue;
            };
            assert_eq!(stats, given_up(1), "{scheme}, {why}");
            let line = format!(
                "WARN cannot export to {url}: {words}; trying again, spans are kept up to 32 MiB",
            );
            assert_eq!(log.lines()[0], line, "{scheme}, {why}");
        }
        if plain == "http" {
            let url = format!("{plain}://{}{rest}", nginx.address);
            let log = Log::about(&url);
            let tracing = to(&url).start("tls").unwrap();
            serve(&tracing, 1);
            assert_eq!(tracing.shutdown_blocking(LONG), settled(0, 1));
            let line = format!(
                "WARN cannot export to {url}: answered HTTP 400 Bad Request: the port expects TLS: \
                 write grpcs:// or https:// instead of grpc:// or http://; ",
            );
            assert!(log.lines()[0].starts_with(&line), "{:?}", log.lines());
        }
    }
    assert_eq!(collector.spans().len(), 2);
}

/// nginx, which passes on what comes over mutual TLS.
pub(super) struct Nginx {
    process: Child,
    pub(super) address: SocketAddr,
    /// Who has signed the certificates of its clients.
    issuers: PathBuf,
}

impl Nginx {
    /// Starts nginx with the `clients.pem`, `server.pem` and `server.key` of this directory, in
    /// front of a collector that is here for gRPC and there for HTTP; `None` where it is not
    /// installed.
    pub(super) fn start(directory: &Path, backend: [SocketAddr; 2]) -> Option<Self> {
        let program = std::env::var_os("NGINX").unwrap_or_else(|| "/usr/sbin/nginx".into());
        // Somebody else may take the port before nginx does.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            fs::write(directory.join("nginx.conf"), config(directory, address, backend)).unwrap();
            let started = Command::new(&program)
                .arg("-e")
                .arg(directory.join("error.log"))
                .arg("-p")
                .arg(directory)
                .arg("-c")
                .arg(directory.join("nginx.conf"))
                .stderr(Stdio::null())
                .spawn();
            let process = match started {
                Ok(process) => process,
                Err(error) => {
                    assert!(std::env::var_os("CI").is_none(), "CI needs nginx: {error}");
                    skip("there is no nginx");
                    return None;
                }
            };
            let mut nginx = Self { process, address, issuers: directory.join("issuers.log") };
            if nginx.is_up(&directory.join("pid")) {
                return Some(nginx);
            }
        }
        let log = fs::read_to_string(directory.join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {log}");
    }

    /// It writes its own id when it has the port: until then, whoever answers is somebody else.
    fn is_up(&mut self, pid: &Path) -> bool {
        let start = Instant::now();
        let id = self.process.id().to_string();
        while self.process.try_wait().unwrap().is_none() && start.elapsed() < LONG {
            if fs::read_to_string(pid).is_ok_and(|found| found.trim() == id) {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Has it read its certificates again. Old workers end when their requests have.
    pub(super) fn reload(&self) {
        self.signal("-HUP").unwrap();
    }

    /// Waits until a client was served whose certificate this authority has signed.
    pub(super) fn wait_for_client_of(&self, authority: &str) {
        let start = Instant::now();
        let issuer = format!("CN={authority}");
        while !fs::read_to_string(&self.issuers).is_ok_and(|log| log.contains(&issuer)) {
            assert!(start.elapsed() < LONG, "no client of {authority} was served");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) -> io::Result<()> {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args([name, &id]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its workers behind.
        let _ = self.signal("-TERM");
        let _ = self.process.wait();
    }
}

fn config(directory: &Path, address: SocketAddr, [grpc, http]: [SocketAddr; 2]) -> String {
    let place = directory.display();
    // Its workers would not be allowed to read the directory as anybody else.
    let user = if directory.metadata().unwrap().uid() == 0 { "user root;" } else { "" };
    let mut config = format!(
        "{user} pid {place}/pid; error_log {place}/error.log; daemon off; worker_processes 1;\n\
         events {{}}\nhttp {{\n\
         log_format issuer '$ssl_client_i_dn'; access_log {place}/issuers.log issuer;\n",
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(config, "{kind}_temp_path {place}/{kind};");
    }
    let _ = write!(
        config,
        "server {{ listen {address} ssl http2;\n\
         ssl_certificate {place}/server.pem; ssl_certificate_key {place}/server.key;\n\
         ssl_verify_client on; ssl_client_certificate {place}/clients.pem;\n\
         location / {{ grpc_pass grpc://{grpc}; }}\n\
         location /v1/traces {{ proxy_pass http://{http}; }} }} }}\n",
    );
    config
}
