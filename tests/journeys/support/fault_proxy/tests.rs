use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use super::*;

#[test]
fn without_a_fault_all_bytes_and_the_end_get_through() {
    let (proxy, seen) = proxy();
    let mut client = connect(&proxy);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), (b"hello".to_vec(), None));
    assert_eq!(seen.recv().unwrap(), b"hello");
}

#[test]
fn slow_faults_take_their_time_and_lose_nothing() {
    let delay = Duration::from_millis(30);
    let rows = [
        (Direction::Requests, Fault::Delay { least: delay, most: delay }, "late requests"),
        (Direction::Answers, Fault::Delay { least: delay, most: delay }, "late answers"),
        (Direction::Answers, Fault::Rate(50_000), "2,000 bytes at 50,000 a second"),
        (Direction::Requests, Fault::LateClose(delay), "an end that is passed on late"),
        (Direction::Answers, Fault::LateClose(delay), "the server's end, late"),
    ];
    for (direction, fault, why) in rows {
        let (proxy, _seen) = proxy();
        proxy.set(direction, fault);
        let began = Instant::now();
        let mut client = connect(&proxy);
        client.write_all(&[7; 2_000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), (vec![7; 2_000], None), "{why}");
        assert!(began.elapsed() >= delay, "{why}");
    }
}

#[test]
fn a_connection_is_cut_after_so_many_bytes() {
    use Direction::{Answers, Requests};
    let rows = [
        (Requests, End::Close, &b"hel"[..], None, "the server gets three bytes and echoes them"),
        (Answers, End::Close, b"hello", None, "the client gets three bytes"),
    ];
    for (direction, by, server_got, error, why) in rows {
        let (proxy, seen) = proxy();
        proxy.set(direction, Fault::Cut { after: 3, by });
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        let (got, ended) = read_all(&mut client);
        // What the server answers to what it got may come too late.
        assert!(b"hel".starts_with(&got[..]), "{why}: {got:?}");
        assert!(direction == Requests || got.len() == 3, "{why}: {got:?}");
        assert_eq!(ended, error, "{why}");
        drop(client);
        assert_eq!(seen.recv().unwrap(), server_got, "{why}");
    }
    for direction in [Requests, Answers] {
        let (proxy, _seen) = proxy();
        proxy.set(direction, Fault::Cut { after: 3, by: End::Reset });
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        assert_eq!(read_all(&mut client).1, Some(ErrorKind::ConnectionReset), "{direction:?}");
    }
}

#[test]
fn a_stalled_direction_goes_on_where_it_stopped() {
    for direction in [Direction::Requests, Direction::Answers] {
        let (proxy, _seen) = proxy();
        proxy.set(direction, Fault::Stall { after: 2 });
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        let mut two = [0; 2];
        client.read_exact(&mut two).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let nothing = client.read(&mut [0]).unwrap_err().kind();
        assert_eq!((&two, nothing), (b"he", ErrorKind::WouldBlock), "{direction:?}");

        proxy.heal();
        client.set_read_timeout(None).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), (b"llo".to_vec(), None), "{direction:?}");
    }
}

#[test]
fn garbage_takes_the_place_of_what_was_sent() {
    let (proxy, _seen) = proxy();
    proxy.set(Direction::Answers, Fault::Garbage { after: 2 });
    let mut client = connect(&proxy);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (got, ended) = read_all(&mut client);
    assert_eq!((&got[..2], got.len(), ended), (&b"he"[..], 2 + (4 << 10), None));
    assert!(got[2..].iter().all(|&byte| byte == 0xff));
}

#[test]
fn a_held_connection_is_accepted_and_never_forwarded() {
    let (proxy, seen) = proxy();
    proxy.receive(Arrivals::Hold);
    let mut client = connect(&proxy);
    client.write_all(b"hello").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.end_all(End::Reset);
    client.set_read_timeout(None).unwrap();
    assert_eq!(read_all(&mut client).1, Some(ErrorKind::ConnectionReset));
    drop(proxy);
    assert!(seen.try_recv().is_err(), "the server saw a connection");
}

#[test]
fn a_refused_port_is_opened_again() {
    let (proxy, _seen) = proxy();
    for _ in 0..3 {
        proxy.receive(Arrivals::Refuse);
        let refused = TcpStream::connect(proxy.address()).unwrap_err().kind();
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        proxy.heal();
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), (b"hello".to_vec(), None));
    }
}

#[test]
fn connections_end_when_they_are_told() {
    for (by, ended) in [(End::Close, None), (End::Reset, Some(ErrorKind::ConnectionReset))] {
        let (proxy, seen) = proxy();
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        proxy.end_all(by);
        assert_eq!(read_all(&mut client), (Vec::new(), ended));
        assert_eq!(seen.recv().unwrap(), b"hello");
    }
}

#[test]
fn nothing_reaches_the_client_during_a_pause_and_what_has_is_known() {
    let (proxy, _seen) = proxy();
    let mut client = connect(&proxy);
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let pause = proxy.pause();
    let links = proxy.shared.links.lock().unwrap().clone();
    let [link] = &links.values().collect::<Vec<_>>()[..] else { panic!("one connection") };
    assert!(link.passed(5).is_some() && link.passed(6).is_none());
    client.write_all(b"again").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(link.passed(5).is_some() && link.passed(6).is_none());
    drop(pause);
    client.set_read_timeout(None).unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

/// A proxy of a server that answers what it is sent, and what that server has been sent by
/// connections that have ended.
fn proxy() -> (FaultProxy, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            thread::spawn(move || {
                let (mut seen, mut buffer) = (Vec::new(), [0; 1 << 10]);
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..read]);
                    let _ = stream.write_all(&buffer[..read]);
                }
                tell.send(seen)
            });
        }
    });
    (proxy, told)
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// What comes until the connection ends, and the error if it ended in one.
fn read_all(client: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut got = Vec::new();
    let error = client.read_to_end(&mut got).err().map(|error| error.kind());
    (got, error)
}

const PATIENCE: Duration = Duration::from_secs(30);
