use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::oneshot;
use tokio::time;

use super::*;

/// No time passes but what the test says: fifteen seconds are long, and pings more often would be
/// a flood to some servers.
#[tokio::test]
async fn an_idle_connection_whose_peer_has_gone_dark_is_found_out_and_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let (tell, told) = oneshot::channel();
    thread::spawn(move || {
        let _ = tell.send(answer_once(listener.accept().unwrap().0));
        answer_once(listener.accept().unwrap().0)
    });
    let options = ExportOptions::default();
    let client = client(Version::Http2, &uri, &options).unwrap();
    assert_eq!(exchange(&client, post(&uri)).await.unwrap().status, StatusCode::OK);

    time::pause();
    time::sleep(options.requests.timeout.max(PING) + PONG + Duration::from_secs(1)).await;
    time::resume();
    let heard = told.await.unwrap().expect("the client ends the connection");
    let pings = heard.iter().filter(|&&frame| frame == (PING_FRAME, NO_ACK)).count();
    assert_eq!(pings, 1, "{heard:?}");
    assert_eq!(exchange(&client, post(&uri)).await.unwrap().status, StatusCode::OK);
}

fn post(uri: &Uri) -> Request<Pieces> {
    let mut request = Request::new(Pieces::new(VecDeque::from([Bytes::from_static(b"spans")])));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    request
}

/// Answers one request over HTTP/2 and then nothing, not even pings. Returns kind and flags of what
/// came, once the client has ended the connection.
fn answer_once(mut stream: TcpStream) -> io::Result<Vec<(u8, u8)>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[0, 0, 0, SETTINGS_FRAME, 0, 0, 0, 0, 0])?;
    stream.read_exact(&mut [0; PREFACE.len()])?;
    let (mut heard, mut head) = (Vec::new(), [0; 9]);
    loop {
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(heard),
            Err(error) => return Err(error),
        }
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        heard.push((kind, flags));
        if (kind, flags) == (DATA_FRAME, END_STREAM) {
            stream.write_all(&[0, 0, 1, HEADERS_FRAME, END_STREAM | END_HEADERS, 0, 0, 0, 1])?;
            stream.write_all(&[STATUS_200])?;
        }
    }
}

// RFC 9113, 3.4 and 6; RFC 7541, appendix A.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA_FRAME: u8 = 0;
const HEADERS_FRAME: u8 = 1;
const SETTINGS_FRAME: u8 = 4;
const PING_FRAME: u8 = 6;
const NO_ACK: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const STATUS_200: u8 = 0x88;
/// Less than what is left of the time for which an idle connection is kept.
const PATIENCE: Duration = Duration::from_secs(5);
