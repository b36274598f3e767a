//! Certificates that are replaced while the exporter runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use super::super::ids;
use super::super::script::Answer;
use super::*;
use crate::support::pki::write_key;

/// A directory as Kubernetes mounts a secret: the files are links into a directory that is a link
/// itself, and is replaced.
struct Mount {
    directory: TempDir,
    round: usize,
}

impl Mount {
    fn new(authorities: &str, client: &Identity) -> Self {
        let mut mount = Self { directory: TempDir::new().unwrap(), round: 0 };
        mount.replace(authorities, client);
        for name in ["ca.pem", "tls.key", "tls.pem"] {
            symlink(Path::new("..data").join(name), mount.path(name)).unwrap();
        }
        mount
    }

    fn replace(&mut self, authorities: &str, client: &Identity) {
        self.round += 1;
        let data = format!("..data_{}", self.round);
        fs::create_dir(self.path(&data)).unwrap();
        fs::write(self.path(&data).join("ca.pem"), authorities).unwrap();
        write_key(&self.path(&data).join("tls.key"), &client.key.serialize_pem());
        fs::write(self.path(&data).join("tls.pem"), client.pem()).unwrap();
        symlink(&data, self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
        if self.round > 1 {
            let before = format!("..data_{}", self.round - 1);
            fs::remove_dir_all(self.path(&before)).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, url: &str) -> TracingService {
        let config = to(url).ca_certs([self.path("ca.pem")]);
        config.keypair(self.path("tls.key"), self.path("tls.pem")).start("tls").unwrap()
    }

    fn log(&self) -> Log {
        Log::about(&self.directory.path().display().to_string())
    }
}

/// Authority, collector and client of one generation.
struct Generation {
    authority: Authority,
    server: Identity,
    client: Identity,
}

impl Generation {
    fn new(name: &str) -> Self {
        let authority = Authority::new(name);
        let server = authority.server(&["127.0.0.1"]);
        let client = authority.client("client");
        Self { authority, server, client }
    }

    /// A server of this generation that takes clients of these.
    fn server(&self, clients_of: &[&Self]) -> Arc<ServerConfig> {
        let clients_of: Vec<_> =
            clients_of.iter().map(|generation| generation.authority.der()).collect();
        Server { clients_of: &clients_of, ..Server::new(&self.server) }.config()
    }
}

#[test]
fn the_next_connection_is_made_with_the_files_that_are_there_then() {
    for (scheme, _, rest) in SCHEMES {
        let mut now = Generation::new("0");
        let mut mount = Mount::new(&now.authority.pem(), &now.client);
        let collector = Collector::start(Script::Ok);
        collector.use_tls(now.server(&[&now]));
        let tracing = mount.start(&format!("{scheme}://{}{rest}", collector.address()));
        for round in 1..=3 {
            let log = mount.log();
            serve(&tracing, 1);
            assert_eq!(tracing.flush_blocking(LONG), settled(2 * round - 1, 0), "{scheme}");
            assert_eq!(log.lines(), [""; 0], "nothing has changed");

            now = Generation::new(&round.to_string());
            mount.replace(&now.authority.pem(), &now.client);
            collector.use_tls(now.server(&[&now]));
            collector.disconnect();
            serve(&tracing, 1);
            assert_eq!(tracing.flush_blocking(LONG), settled(2 * round, 0), "{scheme}");
            let names = ["ca.pem", "tls.key", "tls.pem"];
            let names = names.map(|name| mount.path(name).display().to_string());
            let expected =
                format!("INFO new certificates are used from now on: {}", names.join(", "));
            assert_eq!(log.lines(), [expected], "{scheme}");
        }
    }
}

#[test]
fn what_is_not_good_is_told_once_and_the_last_good_stays() {
    for (scheme, _, rest) in SCHEMES {
        let good = Generation::new("good");
        let mount = Mount::new(&good.authority.pem(), &good.client);
        let collector = Collector::start(Script::Ok);
        collector.use_tls(good.server(&[&good]));
        let tracing = mount.start(&format!("{scheme}://{}{rest}", collector.address()));
        let deliver = |total| {
            collector.disconnect();
            serve(&tracing, 1);
            assert_eq!(tracing.flush_blocking(LONG), settled(total, 0), "{scheme}");
        };
        let log = mount.log();
        let warning = |key: &str, name: &str, reason: &str| {
            format!(
                "WARN new certificates cannot be used, and the last good ones still are: \
                 tracing_service.{key}: {}: {reason}",
                mount.path(name).display(),
            )
        };
        let key = fs::read(mount.path("tls.key")).unwrap();

        // Half a new pair, for as long as the other half is not there.
        write_key(&mount.path("tls.key"), &good.authority.client("2").key.serialize_pem());
        (1..=3).for_each(&deliver);
        let reason = format!(
            "it is not the key of the first certificate in {}",
            mount.path("tls.pem").display(),
        );
        let mut expected = vec![warning("keypairs[0].key_file", "tls.key", &reason)];
        assert_eq!(log.lines(), expected);

        // Another mistake is news.
        fs::write(mount.path("ca.pem"), "").unwrap();
        fs::write(mount.path("tls.key"), &key).unwrap();
        (4..=5).for_each(&deliver);
        expected.push(warning("ca_certs[0]", "ca.pem", "it is empty"));
        assert_eq!(log.lines(), expected);

        // A file that is gone is no file.
        fs::remove_file(mount.path("ca.pem")).unwrap();
        (6..=7).for_each(&deliver);
        let gone = "No such file or directory (os error 2)";
        expected.push(warning("ca_certs[0]", "ca.pem", gone));
        assert_eq!(log.lines(), expected);

        fs::write(mount.path("ca.pem"), good.authority.pem()).unwrap();
        (8..=9).for_each(&deliver);
        let names = ["ca.pem", "tls.key", "tls.pem"];
        let names = names.map(|name| mount.path(name).display().to_string());
        expected.push(format!(
            "INFO the certificates that are in use are those of the files again: {}",
            names.join(", "),
        ));
        assert_eq!(log.lines(), expected);
    }
}

#[test]
fn connections_that_last_are_replaced_when_the_files_change() {
    // Side by side, for each takes until the files are looked at.
    thread::scope(|scope| {
        for (scheme, _, rest) in SCHEMES {
            scope.spawn(move || {
                let (old, new) = (Generation::new("old"), Generation::new("new"));
                let mut mount = Mount::new(&old.authority.pem(), &old.client);
                let collector = Collector::start(Script::Ok);
                collector.use_tls(old.server(&[&old]));
                let tracing = mount.start(&format!("{scheme}://{}{rest}", collector.address()));
                serve(&tracing, 1);
                assert_eq!(tracing.flush_blocking(LONG), settled(1, 0), "{scheme}");

                collector.use_tls(new.server(&[&new]));
                mount.replace(&new.authority.pem(), &new.client);
                let start = Instant::now();
                let mut served = 1;
                while collector.connections() == 1 {
                    assert!(start.elapsed() < LONG, "{scheme}: the first connection is kept");
                    serve(&tracing, 1);
                    served += 1;
                    assert_eq!(tracing.flush_blocking(LONG), settled(served, 0), "{scheme}");
                    thread::sleep(PAUSE);
                }
                assert_eq!(collector.connections(), 2, "{scheme}: and the second one is");
            });
        }
    });
}

#[test]
fn no_span_is_lost_while_certificates_are_replaced() {
    for (scheme, _, rest) in SCHEMES {
        let close = Answer::protobuf(200, "").header("connection", "close");
        let collector = match scheme {
            // Each request has a connection of its own.
            "https" => Collector::start(close),
            _ => Collector::start(Script::Ok),
        };
        let mut now = Generation::new("0");
        let mut mount = Mount::new(&now.authority.pem(), &now.client);
        collector.use_tls(now.server(&[&now]));
        let tracing = mount.start(&format!("{scheme}://{}{rest}", collector.address()));
        let log = mount.log();
        let mut served = Vec::new();
        for round in 1..=5 {
            let next = Generation::new(&round.to_string());
            let both = now.authority.pem() + &next.authority.pem();
            thread::scope(|scope| {
                let load = scope.spawn(|| {
                    let mut served = Vec::new();
                    for _ in 0..20 {
                        served.extend(serve(&tracing, 600));
                        tracing.flush_blocking(LONG);
                    }
                    served
                });
                // What both sides believe comes before what either shows.
                collector.use_tls(now.server(&[&now, &next]));
                mount.replace(&both, &now.client);
                mount.replace(&both, &next.client);
                served.extend(load.join().unwrap());
            });
            collector.use_tls(next.server(&[&next]));
            collector.disconnect();
            served.extend(serve(&tracing, 600));
            tracing.flush_blocking(LONG);
            mount.replace(&next.authority.pem(), &next.client);
            now = next;
        }
        let stats = tracing.shutdown_blocking(LONG);
        assert_eq!(stats, settled(5 * 21 * 600, 0), "{scheme}: {:?}", log.lines());
        assert_eq!(collector.ids(), ids(&served), "{scheme}");
    }
}

/// Between two exports of a service that is not busy.
const PAUSE: Duration = Duration::from_millis(200);
