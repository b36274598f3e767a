//! The value of a header that the operator sets: a secret.

use http::HeaderValue;

/// A text as the value of a header, without the blanks around it, marked sensitive.
///
/// # Errors
///
/// What is wrong with it, in words that do not quote it.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err("must not be empty");
    }
    // `HeaderValue` takes tabs and bytes that are no text, too.
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    match HeaderValue::from_str(text) {
        Ok(mut value) if text.bytes().all(is_printable) => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => Err("must be one line of printable ASCII characters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_one_line_of_printable_ascii_and_sensitive() {
        const EMPTY: Result<&str, &str> = Err("must not be empty");
        const LINE: Result<&str, &str> = Err("must be one line of printable ASCII characters");
        let rows = [
            ("Bearer a.b-c_d~e", Ok("Bearer a.b-c_d~e"), "as it is"),
            (" a b\r\n", Ok("a b"), "as an editor ends a file"),
            ("", EMPTY, "nothing"),
            (" \n", EMPTY, "nothing but blanks"),
            ("a\nb", LINE, "a second line would be another header"),
            ("a\tb", LINE, "a tab inside"),
            ("a\0", LINE, "a control character"),
            ("é", LINE, "servers do not agree on what this is"),
            ("\u{feff}a", LINE, "a byte order mark"),
        ];
        for (text, expected, why) in rows {
            let value = header_value(text);
            let found = value.as_ref().map(|value| value.to_str().unwrap()).map_err(|wrong| *wrong);
            assert_eq!(found, expected, "{text:?}: {why}");
            assert!(value.is_err() || value.is_ok_and(|value| value.is_sensitive()), "{why}");
        }
    }
}
