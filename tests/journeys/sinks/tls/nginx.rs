//! nginx in front of a collector: who has no good client certificate finishes the handshake and is
//! told so by a page.
//!
//! `NGINX` says where the program is, `/usr/sbin/nginx` if nothing does. Without it this test says
//! that it was skipped.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::skip;
use super::*;

#[test]
fn a_refusal_of_nginx_reads_like_one_in_the_handshake() {
    let directory = TempDir::new().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ca_certs = file(&directory, "ca.pem", &ours.pem());
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
    let Some(nginx) = Nginx::start(&directory, &collector) else { return };
    for (scheme, plain, rest) in SCHEMES {
        let url = format!("{scheme}://{}{rest}", nginx.address);
        for (keypair, words, why) in rows {
            let log = Log::about(&url);
            let mut config = to(&url).ca_certs([&ca_certs]);
            if let Some((key_file, cert_file)) = keypair {
                config = config.keypair(key_file, cert_file);
            }
            let tracing = config.start("tls").unwrap();
            serve(&tracing, 1);
            let stats = tracing.shutdown_blocking(LONG);
            let Some(words) = words else {
                assert_eq!(stats, settled(1, 0), "{scheme}, {why}: {:?}", log.lines());
                continue;
            };
            assert_eq!(stats, settled(0, 1), "{scheme}, {why}");
            let line = format!("WARN cannot export to {url}: {words}; ");
            assert!(log.lines()[0].starts_with(&line), "{scheme}, {why}: {:?}", log.lines());
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

struct Nginx {
    process: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start(directory: &TempDir, collector: &Collector) -> Option<Self> {
        let program = std::env::var_os("NGINX").unwrap_or_else(|| "/usr/sbin/nginx".into());
        let place = directory.path().display();
        // Somebody else may take the port before nginx does.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut config = format!("pid {place}/pid; error_log {place}/error.log;\n");
            config.push_str("daemon off; master_process off; events {}\nhttp { access_log off;\n");
            for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
                let _ = writeln!(config, "{kind}_temp_path {place}/{kind};");
            }
            let backend = collector.address();
            let _ = write!(
                config,
                "server {{ listen {address} ssl http2;\n\
                 ssl_certificate {place}/server.pem; ssl_certificate_key {place}/server.key;\n\
                 ssl_verify_client on; ssl_client_certificate {place}/ca.pem;\n\
                 location / {{ grpc_pass grpc://{backend}; }}\n\
                 location /v1/traces {{ proxy_pass http://{backend}; }} }} }}\n",
            );
            let config = file(directory, "nginx.conf", &config);
            let started = Command::new(&program)
                .arg("-e")
                .arg(directory.path().join("error.log"))
                .arg("-p")
                .arg(directory.path())
                .arg("-c")
                .arg(config)
                .stderr(Stdio::null())
                .spawn();
            let Ok(process) = started else {
                skip("there is no nginx");
                return None;
            };
            let mut nginx = Self { process, address };
            if nginx.is_up() {
                return Some(nginx);
            }
        }
        let log = fs::read_to_string(directory.path().join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {log}");
    }

    fn is_up(&mut self) -> bool {
        let start = Instant::now();
        while self.process.try_wait().unwrap().is_none() && start.elapsed() < LONG {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
