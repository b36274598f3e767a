//! What only the fuzz targets call.

use crate::forward;
use crate::record::incoming::{self, Stamp};

/// A request that says who sent it, and how many spans it has.
pub fn stamp(
    request: &[u8],
    key: &str,
    value: &str,
    max_spans: u64,
) -> Result<(Vec<u8>, u64), String> {
    match incoming::stamp(request, &Stamp::new(key, value), max_spans) {
        Ok(stamped) => Ok((stamped.request, stamped.spans)),
        Err(invalid) => Err(invalid.to_string()),
    }
}

/// OTLP/JSON as protobuf.
pub fn from_json(json: &[u8]) -> Result<Vec<u8>, String> {
    incoming::from_json(json).map_err(|invalid| invalid.to_string())
}

/// What a forwarder reads of a call's message, or of a body, that comes in these pieces.
pub fn receive(
    pieces: Vec<&[u8]>,
    as_call: bool,
    is_gzip: bool,
    most: usize,
) -> Result<Vec<u8>, String> {
    forward::fuzzing::receive(pieces, as_call, is_gzip, most)
}
