//! The headers that the operator sets. Their values are secrets, each of them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::header_value::header_value;
use super::options::ExportOptions;
use crate::pipeline::warn;

/// The headers of all requests of a sink. Values from files follow the files.
#[derive(Debug)]
pub(super) struct Headers {
    files: Vec<(HeaderName, PathBuf)>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    map: HeaderMap,
    /// When files are looked at again.
    due: Instant,
    /// Whether somebody was told that a file is of no use any more.
    told: bool,
}

impl Headers {
    /// Those of the operator, and over them the protocol's.
    pub(super) fn new(
        options: &ExportOptions,
        user_agent: &'static str,
        protocol: &[(HeaderName, &'static str)],
    ) -> Self {
        let mut map = options.headers.clone();
        map.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(user_agent));
        for (name, value) in protocol {
            map.insert(name, HeaderValue::from_static(value));
        }
        let due = Instant::now() + EVERY;
        Self {
            files: options.header_files.clone(),
            current: Mutex::new(Current { map, due, told: false }),
        }
    }

    /// What the next request says. Tokens expire, so files are read again before a request, if
    /// that was some seconds ago; what is of no use is not taken over.
    pub(super) async fn get(&self, target: &str) -> HeaderMap {
        if self.is_due() {
            let files = self.files.clone();
            let read = spawn_blocking(move || {
                // Nothing else can be read twice.
                let may_block =
                    |file: &Path| file.metadata().is_ok_and(|metadata| !metadata.is_file());
                let files = files.into_iter().filter(|(_, file)| !may_block(file));
                files.map(|(name, file)| (name, read_header_value(&file))).collect::<Vec<_>>()
            });
            self.take_over(read.await.unwrap_or_default(), target);
        }
        self.current().map.clone()
    }

    fn is_due(&self) -> bool {
        if self.files.is_empty() {
            return false;
        }
        let mut current = self.current();
        let now = Instant::now();
        let is_due = now >= current.due;
        if is_due {
            current.due = now + EVERY;
        }
        is_due
    }

    fn take_over(&self, read: Vec<(HeaderName, Result<HeaderValue, String>)>, target: &str) {
        let mut current = self.current();
        let mut wrong = Vec::new();
        for (name, value) in read {
            match value {
                Ok(value) => drop(current.map.insert(name, value)),
                Err(reason) => wrong.push(format!("{name} keeps its last value: {reason}")),
            }
        }
        let is_news = !wrong.is_empty() && !current.told;
        current.told = !wrong.is_empty();
        drop(current);
        if is_news {
            warn(format_args!("{target}: the header {}", wrong.join("; the header ")));
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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

/// How often files are looked at while there is something to export.
const EVERY: Duration = Duration::from_secs(10);
/// Above it servers refuse a request for its headers.
const LARGEST: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_and_what_is_of_no_use_is_not_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let value = |text: &str| header_value(text).unwrap();
        let name = HeaderName::from_static("authorization");
        let options = ExportOptions {
            headers: HeaderMap::from_iter([
                (name.clone(), value("first")),
                (header::USER_AGENT, value("mine")),
                (header::CONTENT_TYPE, value("theirs")),
            ]),
            header_files: vec![(name, file.clone())],
            ..ExportOptions::default()
        };
        let headers = Headers::new(&options, "ours", &[(header::CONTENT_TYPE, "protocol")]);
        let expected = |token: &str| {
            HeaderMap::from_iter([
                (header::AUTHORIZATION, value(token)),
                (header::USER_AGENT, value("mine")),
                (header::CONTENT_TYPE, value("protocol")),
            ])
        };
        let steps: [(u64, Option<&str>, &str, &str); 6] = [
            (0, Some("second"), "first", "not looked at yet"),
            (9, None, "first", "nor now"),
            (1, Some("second"), "second", "after ten seconds"),
            (10, None, "second", "a missing file changes nothing"),
            (10, Some("two\nlines"), "second", "nor does one that is no value"),
            (10, Some("third\n"), "third", "and later it is well again"),
        ];
        for (seconds, content, token, why) in steps {
            match content {
                Some(content) => std::fs::write(&file, content).unwrap(),
                None => drop(std::fs::remove_file(&file)),
            }
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let found = headers.get("a collector").await;
            assert_eq!(found, expected(token), "{why}");
            assert!(found[header::AUTHORIZATION].is_sensitive(), "{why}");
        }
    }
}
