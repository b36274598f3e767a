//! A collector that moves to another address under the same name.

use std::net::Ipv4Addr;
use std::process::Command;
use std::{env, fs};

use tempfile::NamedTempFile;
use tokio::net::TcpSocket;

use super::*;

/// Runs itself again, with a file of names of its own.
#[test]
fn each_connection_asks_for_the_name_again_and_tries_all_its_addresses() {
    let Some(names) = env::var_os(NAMES) else { return run_with_names() };
    let say = |addresses: &[Ipv4Addr]| {
        let lines = addresses.iter().map(|address| format!("{address} {NAME}\n"));
        fs::write(&names, lines.collect::<String>()).unwrap();
    };
    for scheme in ["grpc", "http"] {
        let (port, [first, second, third]) = same_port();
        say(&[FIRST]);
        let collector = Collector::on(first, Script::Ok);
        let tracing = tracing_to(&format!("{scheme}://{NAME}:{port}"));
        let mut served = serve(&tracing, 1);
        assert_eq!(tracing.flush_blocking(LONG), settled(1, 0), "{scheme}");
        assert_eq!(collector.ids(), ids(&served), "{scheme}");
        drop(collector);

        say(&[SECOND]);
        let collector = Collector::on(second, Script::Ok);
        served = serve(&tracing, 1);
        assert_eq!(tracing.flush_blocking(LONG), settled(2, 0), "{scheme}: it has moved");
        assert_eq!(collector.ids(), ids(&served), "{scheme}");
        drop(collector);

        // Whichever is asked first, one of them is not there.
        say(&[FIRST, THIRD, SECOND]);
        let collector = Collector::on(third, Script::Ok);
        served = serve(&tracing, 1);
        assert_eq!(tracing.flush_blocking(LONG), settled(3, 0), "{scheme}: one of three");
        assert_eq!(collector.ids(), ids(&served), "{scheme}");
    }
}

/// Runs the test in a process that sees another `/etc/hosts` than the others.
fn run_with_names() {
    let names = NamedTempFile::new().unwrap();
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        let unshare = unshare.args(["--mount", "--map-root-user", "sh", "-c", script]);
        unshare.arg(names.path()).args(command).env(NAMES, names.path()).output()
    };
    if !unshare(&["true"]).is_ok_and(|output| output.status.success()) {
        return skip("this system lets nobody have names of their own");
    }
    let test = env::current_exe().unwrap();
    let test = [test.to_str().unwrap(), "--exact", TEST];
    let output = unshare(&test).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Sockets of one port at three addresses, where nobody is listening yet.
fn same_port() -> (u16, [TcpSocket; 3]) {
    loop {
        let bind = |address: Ipv4Addr, port: u16| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((address, port).into()).map(|()| socket)
        };
        let first = bind(FIRST, 0).unwrap();
        let port = first.local_addr().unwrap().port();
        // Others may have it there.
        if let (Ok(second), Ok(third)) = (bind(SECOND, port), bind(THIRD, port)) {
            return (port, [first, second, third]);
        }
    }
}

const TEST: &str =
    "sinks::names::each_connection_asks_for_the_name_again_and_tries_all_its_addresses";
/// Where the names are.
const NAMES: &str = "TOWER_OTLP_TEST_NAMES";
const NAME: &str = "collector.test";
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
