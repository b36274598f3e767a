//! Bytes that JSON has as text.

use crate::record::wire::put_len;

/// Writes the bytes of hexadecimal digits as a field. `None` if they are something else.
pub(super) fn hex(text: &str, field: u32, out: &mut Vec<u8>) -> Option<()> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    put_len(out, field, pairs.len());
    for &[high, low] in pairs {
        out.push(digit(high)? << 4 | digit(low)?);
    }
    Some(())
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).map(|digit| digit as u8)
}

/// Writes the bytes of base64 as a field, be it the standard alphabet or that of URLs, with
/// padding or without. `None` if it is something else.
pub(super) fn base64(text: &str, field: u32, out: &mut Vec<u8>) -> Option<()> {
    let padded = text.as_bytes();
    let digits = match padded {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
        digits => digits,
    };
    let is_cut = digits.len() < padded.len() && !padded.len().is_multiple_of(4);
    if digits.len() % 4 == 1 || is_cut {
        return None;
    }
    put_len(out, field, digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for (i, &digit) in group.iter().enumerate() {
            bits |= sextet(digit)? << (18 - 6 * i);
        }
        // One byte less than there are digits.
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(())
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}
