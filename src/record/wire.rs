//! Writing the protobuf wire format: varints, tags and length-delimited fields.
//!
//! Only what OTLP needs. Lengths are computed before the bytes are written, so that nothing is
//! ever moved to make room for a length prefix.

/// Wire type of varint fields: `bool`, `int32`, `int64`, `uint32`, `uint64`, enums.
pub(crate) const VARINT: u32 = 0;
/// Wire type of `fixed64` and `double` fields.
pub(crate) const FIXED64: u32 = 1;
/// Wire type of length-delimited fields: `string`, `bytes`, messages.
pub(crate) const LENGTH: u32 = 2;
/// Wire type of `fixed32` and `float` fields.
pub(crate) const FIXED32: u32 = 5;

/// Bytes that `value` takes as a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    // Seven payload bits a byte; zero still takes one.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes that a length-delimited field of `len` payload bytes takes, tag included.
pub(crate) const fn delimited_len(field: u32, len: usize) -> usize {
    varint_len((field << 3) as u64) + varint_len(len as u64) + len
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
pub(crate) fn put_tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    put_varint(out, u64::from(field << 3 | wire_type));
}

/// Writes the head of a length-delimited field; the caller writes exactly `len` bytes after it.
#[inline]
pub(crate) fn put_len(out: &mut Vec<u8>, field: u32, len: usize) {
    put_tag_and_varint(out, field << 3 | LENGTH, len as u64);
}

#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_len(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

#[inline]
pub(crate) fn put_uint(out: &mut Vec<u8>, field: u32, value: u64) {
    put_tag_and_varint(out, field << 3 | VARINT, value);
}

#[inline]
pub(crate) fn put_fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    put_tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub(crate) fn put_fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    put_tag(out, field, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Most tags and lengths are one byte each, and then written as one.
#[inline]
fn put_tag_and_varint(out: &mut Vec<u8>, tag: u32, value: u64) {
    if tag < 0x80 && value < 0x80 {
        return out.extend_from_slice(&[tag as u8, value as u8]);
    }
    put_varint(out, tag.into());
    put_varint(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_len_is_what_put_varint_writes() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value:#x}");
            }
        }
    }
}
