//! What only the fuzz targets call.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;

use super::accounts::{Accounts, Visit};
use super::limits::ForwardLimits;
use super::receive::{body, gunzip, message};
use super::refusal::Refusal;

/// Reads what comes in these pieces: the message of a call, or a body. `is_gzip` says whether its
/// sender has said that it is packed. At most so many bytes are taken, and none is held afterwards.
pub(crate) fn receive(
    pieces: Vec<&[u8]>,
    as_call: bool,
    is_gzip: bool,
    most: usize,
) -> Result<Vec<u8>, String> {
    // What is packed, and twice what is not.
    let room = 3 * most;
    let limits = ForwardLimits::default().message_bytes(most).bytes_in_flight_of_each(room);
    let accounts = Arc::new(Accounts::new(limits.resolve(4 * room), Arc::default()));
    let visit = accounts.admit("me").expect("the first one");
    let mut read = pin!(read(pieces, as_call, is_gzip, &visit));
    let found = loop {
        // It leaves others their turn.
        if let Some(found) = (&mut read).now_or_never() {
            break found;
        }
    };
    visit.hold().grow(room).expect("all is let go");
    found.map_err(|refusal| refusal.words().into_owned())
}

async fn read(
    pieces: Vec<&[u8]>,
    as_call: bool,
    is_gzip: bool,
    visit: &Visit,
) -> Result<Vec<u8>, Refusal> {
    let pieces = pieces.into_iter().map(Bytes::copy_from_slice);
    let pieces = stream::iter(pieces).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let pieces = StreamBody::new(pieces);
    let (is_packed, received) = if as_call {
        let message = message(pieces, visit).await?;
        (message.is_compressed, message.bytes)
    } else {
        (is_gzip, body(pieces, visit).await?)
    };
    match (is_packed, is_gzip) {
        (false, _) => Ok(received.bytes().to_vec()),
        (true, true) => Ok(gunzip(&received, visit).await?.bytes().to_vec()),
        (true, false) => Err(Refusal::Invalid("it is compressed, and said not to be".into())),
    }
}
