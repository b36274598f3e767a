//! OTLP's partial success: what a backend did not take of a request that it answered well.

use super::answer::quote;
use crate::pipeline::Outcome;
use crate::record::walk::{Fields, Malformed, Value};

/// Reads an `ExportTraceServiceResponse`.
pub(super) fn outcome(response: &[u8]) -> Result<Outcome, Malformed> {
    let mut rejected = 0;
    let mut message = "";
    for field in Fields::new(response) {
        let (PARTIAL_SUCCESS, Value::Bytes(partial)) = field? else { continue };
        for field in Fields::new(partial) {
            match field? {
                // A negative count is as meaningless as it is on the wire.
                (REJECTED_SPANS, Value::Varint(count)) => {
                    rejected = u64::try_from(count.cast_signed()).unwrap_or(0);
                }
                (ERROR_MESSAGE, Value::Bytes(text)) => {
                    message = std::str::from_utf8(text).map_err(|_| Malformed)?;
                }
                _ => {}
            }
        }
    }
    Ok(Outcome::Delivered { rejected, message: quote(message) })
}

/// Field of `ExportTraceServiceResponse`.
const PARTIAL_SUCCESS: u32 = 1;
/// Fields of `ExportTracePartialSuccess`.
const REJECTED_SPANS: u32 = 1;
const ERROR_MESSAGE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_read_whatever_it_says() {
        type Row<'a> = (&'a [u8], Result<(u64, &'a str), Malformed>, &'a str);
        let long = [b"\x0a\xaf\x02\x12\xac\x02", &[b'x'; 300][..]].concat();
        let cut = format!("{}…", "x".repeat(200));
        let rows: [Row<'_>; 9] = [
            (b"", Ok((0, "")), "an empty response is full success"),
            (b"\x0a\x00", Ok((0, "")), "and so is an empty partial success"),
            (b"\x0a\x02\x08\x03", Ok((3, "")), "a count alone"),
            (b"\x0a\x04\x12\x02hi", Ok((0, "hi")), "a warning"),
            (b"\x0a\x06\x12\x04a\nb\0", Ok((0, "a b ")), "on one line"),
            (&long, Ok((0, &cut)), "as much as a line of the log holds"),
            (b"\x0a\x04\x12\x02\xff\xfe", Err(Malformed), "a message that is no text"),
            (
                b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                Ok((0, "")),
                "a negative count",
            ),
            (b"<html>", Err(Malformed), "no protobuf"),
        ];
        for (response, expected, why) in rows {
            let found = outcome(response).map(|outcome| match outcome {
                Outcome::Delivered { rejected, message } => (rejected, message),
                Outcome::Failed(failure) => panic!("{failure}"),
            });
            let expected = expected.map(|(rejected, message)| (rejected, message.to_owned()));
            assert_eq!(found, expected, "{why}");
        }
    }
}
