//! Values as JSON: text, digits, ids.

use std::io::Write as _;

pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    // As a signed number, a byte beyond ASCII is below the space too. No early exit, and no
    // `bool` in between: this way the compiler looks at 16 bytes at a time.
    let special = text.iter().fold(0, |special, &b| {
        special | u8::from((b as i8) < 0x20) | u8::from(b == b'"') | u8::from(b == b'\\')
    });
    if special == 0 {
        out.extend_from_slice(text);
    } else {
        for chunk in text.utf8_chunks() {
            put_escaped(out, chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

fn put_escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        match rest[0] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control @ ..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex(control));
            }
            quote_or_backslash => out.extend_from_slice(&[b'\\', quote_or_backslash]),
        }
        text = &rest[1..];
    }
    out.extend_from_slice(text);
}

pub(super) fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        out.extend_from_slice(&hex(byte));
    }
    out.push(b'"');
}

fn hex(byte: u8) -> [u8; 2] {
    let digits = b"0123456789abcdef";
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 0xf)]]
}

pub(super) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let mut four = [18, 12, 6, 0].map(|shift| digits[(bits >> shift & 0x3f) as usize]);
        four[group.len() + 1..].fill(b'=');
        out.extend_from_slice(&four);
    }
    out.push(b'"');
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    put_decimal(out, value.unsigned_abs());
}

pub(super) fn put_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

pub(super) fn put_double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    } else {
        // `Debug` gives the fewest digits that read back as the same number, and, unlike
        // `Display`, an exponent rather than 300 zeros.
        write!(out, "{value:?}").expect("a Vec takes every write");
    }
}
