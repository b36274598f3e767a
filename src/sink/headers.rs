//! The values of headers that the operator sets: secrets, each of them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

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

/// The value that a file holds.
///
/// # Errors
///
/// What is wrong with the file, in words that do not quote it.
pub(crate) fn read_header_value(file: &Path) -> Result<HeaderValue, String> {
    let shown = file.display();
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{shown} is larger than {LARGEST} bytes, too large for a header"));
    }
    // What is not UTF-8 is not ASCII either.
    let text = String::from_utf8_lossy(&bytes);
    header_value(&text).map_err(|wrong| format!("the content of {shown} {wrong}"))
}

/// Above it servers refuse a request for its headers.
const LARGEST: u64 = 8 << 10;

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

    #[test]
    fn a_file_is_named_and_not_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let shown = file.display();
        let read = || read_header_value(&file).map(|value| value.to_str().unwrap().to_owned());

        assert_eq!(
            read(),
            Err(format!("{shown} cannot be read: No such file or directory (os error 2)"))
        );
        let largest = "x".repeat(LARGEST as usize);
        let line = format!("the content of {shown} must be one line of printable ASCII characters");
        let rows: [(&[u8], Result<String, String>, &str); 6] = [
            (b"hunter2\n", Ok("hunter2".to_owned()), "a line"),
            (b"", Err(format!("the content of {shown} must not be empty")), "nothing yet"),
            (b"hunter2\nhunter3\n", Err(line.clone()), "two lines"),
            (b"hunter2\xff", Err(line), "no text"),
            (largest.as_bytes(), Ok(largest.clone()), "the largest"),
            (
                &[b'x'; LARGEST as usize + 1],
                Err(format!("{shown} is larger than 8192 bytes, too large for a header")),
                "larger",
            ),
        ];
        for (content, expected, why) in rows {
            std::fs::write(&file, content).unwrap();
            assert_eq!(read(), expected, "{why}");
        }
    }
}
