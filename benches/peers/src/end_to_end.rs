//! A server and its exporter on one CPU, what asks it and takes its spans on another.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::around::route;
use crate::exporters::To;
use crate::machine::{self, Cpu};
use crate::setup::Tracing;
use crate::subject::{Mode, Subject};

/// Serves the route, and prints the address. Each line that comes is answered with the CPU time of
/// this process so far. When no more come it exports what waits, and prints the CPU time and the
/// number of exported spans.
pub(crate) fn serve(subject: Subject, mode: Mode, sink: SocketAddr) {
    machine::stay_on(Cpu::First);
    let tracing = Tracing::start(subject, mode, sink, To::Grpc(sink));
    let app = route::layered(subject, mode, &tracing);
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        io::stdin().lines().for_each(|_| println!("{}", machine::of_process()));
        let _ = end.send(());
    });
    let serving = async {
        tokio::select! {
            served = axum::serve(listener, app) => served.expect("a server that goes on"),
            _ = ended => {}
        }
    };
    runtime.block_on(serving);
    drop(runtime);
    let exported = tracing.finish();
    println!("{} {exported}", machine::of_process());
}

/// Asks the server for this time, over 32 connections, and prints the number of answers and the
/// seconds that it took.
///
/// It never sleeps. Otherwise the slower the server, the more often it does, and waking it is the
/// server's work: on a virtual machine such a call costs as much as a request.
pub(crate) fn load(server: SocketAddr, time: Duration) {
    machine::stay_on(Cpu::Last);
    let (answers, began) = (Rc::new(Cell::new(0_u64)), Instant::now());
    let connections = LocalSet::new();
    connections.spawn_local(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let asking: Vec<_> = (0..CONNECTIONS)
        .map(|_| connections.spawn_local(ask(server, began + time, Rc::clone(&answers))))
        .collect();
    // Looks at the connections each time it would have slept.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build();
    connections.block_on(&runtime.expect("a runtime"), async {
        for connection in asking {
            connection.await.expect("no panic");
        }
    });
    println!("{} {}", answers.get(), began.elapsed().as_secs_f64());
}

/// One request after the other. Nothing is parsed, so that it takes less than the server.
async fn ask(server: SocketAddr, until: Instant, answers: Rc<Cell<u64>>) {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let mut buffer = [0; 4 << 10];
    while Instant::now() < until {
        stream.write_all(REQUEST).await.expect("a server that reads");
        let mut read = 0;
        while !buffer[..read].ends_with(ANSWER) {
            let more = stream.read(&mut buffer[read..]).await.expect("an answer");
            assert!(more > 0, "not the answer: {}", String::from_utf8_lossy(&buffer[..read]));
            read += more;
        }
        answers.set(answers.get() + 1);
    }
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

const CONNECTIONS: usize = 32;
const REQUEST: &[u8] = b"GET /users/42?verbose=1&page=3 HTTP/1.1\r\n\
    host: shop.example.com:8080\r\nuser-agent: curl/8.14.1\r\naccept: */*\r\n\r\n";
const ANSWER: &[u8] = b"user 42";
