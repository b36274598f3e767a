//! Reading protobuf without trusting it: one message's fields in order, borrowed, bounded.
//!
//! Nothing is allocated and nothing is copied, so a hostile length costs no memory. Groups
//! (deprecated, and absent from OTLP), overlong varints and field number 0 are refused.

use std::fmt;

use super::wire;

/// The fields of one protobuf message, in wire order.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// What one field holds, by wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Bytes that have not been read yet: what is left of the message.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    // As a call, it takes longer to hand over the result than to read it.
    #[inline(always)]
    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let number = key >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        // Ahead of the others, and not by a jump table: it is the most frequent by far.
        if key & 7 == wire::LENGTH {
            let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
            return Ok((number, Value::Bytes(self.take(len)?)));
        }
        let value = match key & 7 {
            wire::VARINT => Value::Varint(self.varint()?),
            wire::FIXED64 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            wire::FIXED32 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        // Almost all tags, lengths and enums take one byte.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        // Of the others most take two: a span's length, its flags.
        if let [low, high @ 1..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7);
        }
        self.long_varint()
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit, and a last byte of zero is padding.
                if (i == 9 && byte > 1) || (i > 0 && byte == 0) {
                    return Err(Malformed);
                }
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            // Nothing after a framing error can be trusted.
            self.rest = &[];
        }
        Some(field)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a valid protobuf message")
    }
}

impl std::error::Error for Malformed {}

/// How deep attribute values may be nested, so that a hostile message cannot use up the stack.
pub(crate) const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_nothing_malformed_passes() {
        type Expected<'a> = Result<Vec<(u32, Value<'a>)>, Malformed>;
        let rows: &[(&[u8], Expected<'_>, &str)] = &[
            (b"", Ok(vec![]), "an empty message is a message"),
            (
                b"\x08\x96\x01\x12\x02hi\x1d\x01\0\0\0\x21\x02\0\0\0\0\0\0\0",
                Ok(vec![
                    (1, Value::Varint(150)),
                    (2, Value::Bytes(b"hi")),
                    (3, Value::Fixed32(1)),
                    (4, Value::Fixed64(2)),
                ]),
                "one of each wire type",
            ),
            (b"\x12\x03hi", Err(Malformed), "length beyond the end"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err(Malformed), "huge length"),
            (b"\x08\x96", Err(Malformed), "varint cut off"),
            (b"\x08\x80\x00", Err(Malformed), "overlong varint"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", Err(Malformed), "varint of 65 bits"),
            (b"\x00\x00", Err(Malformed), "field number 0"),
            (b"\x0b\x0c", Err(Malformed), "groups are refused"),
            (b"\x0e", Err(Malformed), "wire type 6 does not exist"),
            (b"\x21\x00", Err(Malformed), "fixed64 cut off"),
        ];
        for (message, expected, why) in rows {
            let fields: Expected<'_> = Fields::new(message).collect();
            assert_eq!(&fields, expected, "{why}");
        }
    }

    #[test]
    fn nothing_is_read_after_an_error() {
        let mut fields = Fields::new(b"\x0b\x08\x01");
        assert_eq!(fields.next(), Some(Err(Malformed)));
        assert_eq!(fields.next(), None);
    }
}
