//! A TCP proxy between a client and a server, which does to their connections what networks do.
//!
//! Each direction of all connections has a [`Fault`], which can be replaced at any time; counts of
//! bytes begin anew with each. What happens to connections that come is an [`Arrivals`].
//!
//! A test that must know what the client has been told asks a connection's [`Link`] how many
//! bytes of answers got through, and [pauses](FaultProxy::pause) the answers while it looks.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, watch};
use tokio::time::sleep;

/// A running proxy, on a thread of its own. Gone when dropped, with all its connections.
pub(crate) struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Every piece takes from `least` to `most`.
    Delay { least: Duration, most: Duration },
    /// No more bytes than so many in a second.
    Rate(u32),
    /// After so many bytes none, for as long as this lasts. Then it goes on where it stopped.
    Stall { after: u64 },
    /// After so many bytes the connection ends.
    Cut { after: u64, by: End },
    /// After so many bytes comes what nobody sent.
    Garbage { after: u64 },
    /// The end of the stream is passed on late.
    LateClose(Duration),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// With all that was sent before (FIN).
    Close,
    /// At once, and what the other side has not read yet may be lost (RST).
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Direction {
    Requests,
    Answers,
}

/// What happens to connections that come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrivals {
    Forward,
    /// They are accepted, and the server never hears of them.
    Hold,
    /// Nobody listens.
    Refuse,
}

/// A connection.
pub(crate) struct Link {
    pub(crate) began: Instant,
    /// Bytes of answers that the client has been sent, and when there were so many.
    passed: Mutex<Vec<(u64, Instant)>>,
    ended: watch::Sender<Option<End>>,
}

impl Link {
    /// When the client had been sent so many bytes of answers. None are sent during a
    /// [pause](FaultProxy::pause).
    pub(crate) fn passed(&self, bytes: u64) -> Option<Instant> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.get(passed.partition_point(|&(sum, _)| sum < bytes)).map(|&(_, when)| when)
    }

    fn new() -> Self {
        Self { began: Instant::now(), passed: Mutex::default(), ended: watch::Sender::new(None) }
    }

    fn pass(&self, bytes: u64) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = passed.last().map_or(0, |&(sum, _)| sum) + bytes;
        passed.push((sum, Instant::now()));
    }
}

/// While this lives, no client is sent anything.
pub(crate) struct Pause(
    #[expect(dead_code, reason = "held for its lock")] OwnedRwLockWriteGuard<()>,
);

struct Shared {
    upstream: SocketAddr,
    faults: watch::Sender<Faults>,
    arrivals: watch::Sender<Arrivals>,
    /// What the listener does by now.
    listening: watch::Sender<Arrivals>,
    /// Of all connections to the server, by the port they come from.
    links: Mutex<HashMap<u16, Arc<Link>>>,
    held: Mutex<Vec<Arc<Link>>>,
    /// Read by whoever sends to a client.
    gate: Arc<RwLock<()>>,
}

#[derive(Clone, Copy, Default)]
struct Faults {
    requests: Numbered,
    answers: Numbered,
}

impl Faults {
    fn of(&self, direction: Direction) -> Numbered {
        match direction {
            Direction::Requests => self.requests,
            Direction::Answers => self.answers,
        }
    }
}

/// A fault, and which of all that were set: the same once more begins anew.
#[derive(Clone, Copy, Default)]
struct Numbered(u64, Fault);

impl FaultProxy {
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Bound without listening, the port stays ours while nobody listens. Not to be shared by
        // `SO_REUSEADDR`, which others set, too.
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseport(true).unwrap();
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = reserved.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            faults: watch::Sender::default(),
            arrivals: watch::Sender::new(Arrivals::Forward),
            listening: watch::Sender::new(Arrivals::Refuse),
            links: Mutex::default(),
            held: Mutex::default(),
            gate: Arc::default(),
        });
        runtime.spawn(Arc::clone(&shared).accept(reserved, address));
        let proxy = Self { shared, address, runtime: Some(runtime) };
        proxy.receive(Arrivals::Forward);
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, on all connections.
    pub(crate) fn set(&self, direction: Direction, fault: Fault) {
        self.shared.faults.send_modify(|faults| {
            let numbered = match direction {
                Direction::Requests => &mut faults.requests,
                Direction::Answers => &mut faults.answers,
            };
            *numbered = Numbered(numbered.0 + 1, fault);
        });
    }

    /// For connections that come from now on. Those that were held are reset, unless the next
    /// ones are held, too.
    pub(crate) fn receive(&self, arrivals: Arrivals) {
        self.shared.arrivals.send_replace(arrivals);
        let mut listening = self.shared.listening.subscribe();
        let there = listening.wait_for(|now| *now == arrivals);
        drop(self.runtime().block_on(there).expect("the sender is here"));
        if arrivals != Arrivals::Hold {
            self.shared.end_held(End::Reset);
        }
    }

    /// No fault, and connections are forwarded.
    pub(crate) fn heal(&self) {
        self.set(Direction::Requests, Fault::None);
        self.set(Direction::Answers, Fault::None);
        self.receive(Arrivals::Forward);
    }

    /// Ends all connections.
    pub(crate) fn end_all(&self, by: End) {
        for link in self.shared.links.lock().unwrap_or_else(PoisonError::into_inner).values() {
            link.ended.send_replace(Some(by));
        }
        self.shared.end_held(by);
    }

    /// Lets no client be sent anything until the pause is dropped.
    pub(crate) fn pause(&self) -> Pause {
        Pause(self.runtime().block_on(Arc::clone(&self.shared.gate).write_owned()))
    }

    /// A way to find the connections that the server sees.
    pub(crate) fn links(&self) -> Links {
        Links(Arc::clone(&self.shared))
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("present until dropped")
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // An ordinary drop would wait, which is not allowed within a runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The connections of a proxy.
#[derive(Clone)]
pub(crate) struct Links(Arc<Shared>);

impl Links {
    /// The connection that the server sees come from this port.
    pub(crate) fn of(&self, port: u16) -> Option<Arc<Link>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner).get(&port).cloned()
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, _reserved: TcpSocket, address: SocketAddr) {
        let mut wanted = self.arrivals.subscribe();
        let mut listener = None;
        loop {
            let arrivals = *wanted.borrow_and_update();
            if arrivals == Arrivals::Refuse {
                listener = None;
            } else if listener.is_none() {
                listener = Some(listen(address).unwrap());
            }
            self.listening.send_replace(arrivals);
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                Ok((client, _)) = accepted => {
                    let link = Arc::new(Link::new());
                    if arrivals == Arrivals::Hold {
                        self.held().push(Arc::clone(&link));
                    }
                    tokio::spawn(Arc::clone(&self).connection(client, link, arrivals));
                }
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_held(&self, by: End) {
        for link in self.held().drain(..) {
            link.ended.send_replace(Some(by));
        }
    }

    async fn connection(
        self: Arc<Self>,
        mut client: TcpStream,
        link: Arc<Link>,
        arrivals: Arrivals,
    ) {
        let _ = client.set_nodelay(true);
        let mut ended = link.ended.subscribe();
        if arrivals == Arrivals::Hold {
            let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| *end);
            return finish(client, end.unwrap_or(End::Reset)).await;
        }
        // Bound first, so that the server finds the link when it sees the connection.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let port = socket.local_addr().unwrap().port();
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(port, Arc::clone(&link));
        let Ok(mut server) = socket.connect(self.upstream).await else {
            return finish(client, End::Reset).await;
        };
        let _ = server.set_nodelay(true);
        let end = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let requests = self.pump(Direction::Requests, from_client, to_server, &link);
            let answers = self.pump(Direction::Answers, from_server, to_client, &link);
            tokio::select! {
                end = async { tokio::try_join!(requests, answers) } => end.err(),
                end = ended.wait_for(Option::is_some) => end.ok().and_then(|end| *end),
            }
        };
        if end == Some(End::Reset) {
            let _ = server.set_zero_linger();
        }
        drop(server);
        finish(client, end.unwrap_or(End::Close)).await;
    }

    /// Passes bytes on until there are no more, or the connection has to end.
    async fn pump(
        &self,
        direction: Direction,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        link: &Link,
    ) -> Result<(), End> {
        let mut faults = self.faults.subscribe();
        let mut random = SmallRng::seed_from_u64(0);
        let (mut number, mut count) = (0, 0);
        let mut buffer = [0; 16 << 10];
        let mut is_garbage = false;
        loop {
            let Numbered(newest, fault) = faults.borrow_and_update().of(direction);
            if number != newest {
                (number, count) = (newest, 0);
            }
            let room = match fault {
                // What follows garbage is read, and goes nowhere.
                _ if is_garbage => usize::MAX,
                Fault::Stall { after } | Fault::Garbage { after } | Fault::Cut { after, .. } => {
                    usize::try_from(after.saturating_sub(count)).unwrap_or(usize::MAX)
                }
                // In small pieces, for a rate is one only over many of them.
                Fault::Rate(_) => 1 << 10,
                Fault::None | Fault::Delay { .. } | Fault::LateClose(_) => usize::MAX,
            };
            let room = room.min(buffer.len());
            match fault {
                Fault::Cut { by, .. } if room == 0 => return Err(by),
                Fault::Garbage { .. } if room == 0 && !is_garbage => {
                    is_garbage = true;
                    let _open = self.gate.read().await;
                    to.write_all(&[0xff; 4 << 10]).await.map_err(|_| End::Close)?;
                    continue;
                }
                _ => {}
            }
            let read = async {
                if room == 0 {
                    std::future::pending().await
                } else {
                    from.read(&mut buffer[..room]).await
                }
            };
            let read = tokio::select! {
                changed = faults.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Err(End::Close),
                },
                read = read => read.map_err(|_| End::Close)?,
            };
            match fault {
                Fault::Delay { least, most } => sleep(random.random_range(least..=most)).await,
                Fault::Rate(rate) => {
                    sleep(Duration::from_secs(read as u64) / rate).await;
                }
                Fault::LateClose(late) if read == 0 => sleep(late).await,
                _ => {}
            }
            if read == 0 {
                let _ = to.shutdown().await;
                return Ok(());
            }
            if !is_garbage {
                let _open = match direction {
                    Direction::Requests => None,
                    Direction::Answers => Some(self.gate.read().await),
                };
                // It may have been told to end while nothing could be sent.
                let ended = *link.ended.borrow();
                if let Some(end) = ended {
                    return Err(end);
                }
                // Or garbage may have been asked for, of which the client may see nothing but the
                // garbage if it comes together with what is before it.
                let newest = faults.borrow().of(direction).1;
                if newest == (Fault::Garbage { after: 0 }) {
                    continue;
                }
                to.write_all(&buffer[..read]).await.map_err(|_| End::Close)?;
                if direction == Direction::Answers {
                    link.pass(read as u64);
                }
            }
            count += read as u64;
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn finish(mut client: TcpStream, end: End) {
    match end {
        End::Reset => drop(client.set_zero_linger()),
        End::Close => {
            let _ = client.shutdown().await;
            // Closed with bytes unread, the connection would be reset.
            let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
        }
    }
}

#[cfg(test)]
mod tests;
