//! The headers that the operator sets. Their values are secrets, each of them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::Mutex as ReadLock;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::header_value::header_value;
use super::options::RequestOptions;
use crate::pipeline::warn;

/// The headers of all requests of a sink. Values from files follow the files.
#[derive(Debug)]
pub(super) struct Headers {
    current: Arc<Mutex<Current>>,
    /// Held by whoever reads them.
    files: Arc<ReadLock<Vec<HeaderFile>>>,
    /// How long a request waits for the files.
    patience: Duration,
}

#[derive(Debug)]
struct Current {
    map: HeaderMap,
    /// When files are looked at again.
    due: Instant,
}

#[derive(Debug)]
struct HeaderFile {
    name: HeaderName,
    path: PathBuf,
    /// What was said of it last; empty while it is of use.
    told: String,
}

impl Headers {
    /// Those of the operator, and over them the protocol's.
    pub(super) fn new(
        options: &RequestOptions,
        user_agent: &'static str,
        protocol: &[(HeaderName, &'static str)],
    ) -> Self {
        let mut map = options.headers.clone();
        map.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(user_agent));
        for (name, value) in protocol {
            map.insert(name, HeaderValue::from_static(value));
        }
        let files = options.header_files.iter().cloned();
        let files = files.map(|(name, path)| HeaderFile { name, path, told: String::new() });
        Self {
            current: Arc::new(Mutex::new(Current { map, due: Instant::now() + EVERY })),
            files: Arc::new(ReadLock::new(files.collect())),
            patience: options.patience(),
        }
    }

    /// What the next request says. Tokens expire, so files are read again before a request, if
    /// that was some seconds ago; what is of no use is not taken over.
    pub(super) async fn get(&self, target: &str) -> HeaderMap {
        self.get_by(read_again, target).await
    }

    async fn get_by(
        &self,
        read: impl Fn(&Path) -> Option<Result<HeaderValue, String>> + Send + 'static,
        target: &str,
    ) -> HeaderMap {
        // Whoever holds it is reading: a disk that hangs has one thread, and not all of them.
        if let Ok(mut files) = Arc::clone(&self.files).try_lock_owned()
            && !files.is_empty()
            && self.is_due()
        {
            let current = Arc::clone(&self.current);
            let target = target.to_owned();
            let look = spawn_blocking(move || {
                for file in &mut *files {
                    if let Some(value) = read(&file.path) {
                        file.take_over(value, &current, &target);
                    }
                }
            });
            // What is read later is used later.
            let _ = timeout(self.patience, look).await;
        }
        lock(&self.current).map.clone()
    }

    fn is_due(&self) -> bool {
        let mut current = lock(&self.current);
        let now = Instant::now();
        let is_due = now >= current.due;
        if is_due {
            current.due = now + EVERY;
        }
        is_due
    }
}

/// Says through which forwarders the spans have come. What is no value of a header is left out:
/// spans that may go in a circle are better than none.
pub(super) fn put_via(headers: &mut HeaderMap, via: Option<Bytes>) {
    if let Some(via) = via.and_then(|via| HeaderValue::from_maybe_shared(via).ok()) {
        headers.insert(VIA, via);
    }
}

impl HeaderFile {
    fn take_over(
        &mut self,
        value: Result<HeaderValue, String>,
        current: &Mutex<Current>,
        target: &str,
    ) {
        let reason = match value {
            Ok(value) => {
                lock(current).map.insert(&self.name, value);
                String::new()
            }
            Err(reason) => reason,
        };
        if !reason.is_empty() && reason != self.told {
            let name = &self.name;
            warn(format_args!("{target}: the header {name} keeps its last value: {reason}"));
        }
        self.told = reason;
    }
}

fn lock(current: &Mutex<Current>) -> MutexGuard<'_, Current> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value that a file holds now, unless it is none that can be read twice.
fn read_again(file: &Path) -> Option<Result<HeaderValue, String>> {
    let may_block = file.metadata().is_ok_and(|metadata| !metadata.is_file());
    (!may_block).then(|| read_header_value(file))
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

/// For the forwarder that a request may be sent to.
const VIA: HeaderName = HeaderName::from_static("tower-otlp-via");
/// How often files are looked at while there is something to export.
const EVERY: Duration = Duration::from_secs(10);
/// Above it servers refuse a request for its headers.
const LARGEST: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

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

    #[test]
    fn a_via_that_is_no_value_of_a_header_is_left_out() {
        let rows: [(&[u8], Option<&str>, &str); 5] = [
            (b"a1b2, c3d4", Some("a1b2, c3d4"), "a value"),
            (b"a\r\nx-admin: 1", None, "another header"),
            (b"a\nb", None, "a second line"),
            (b"a\0b", None, "a control character"),
            (b"\x7f", None, "another one"),
        ];
        for (via, expected, why) in rows {
            let mut headers = HeaderMap::new();
            put_via(&mut headers, Some(Bytes::from_static(via)));
            let found = headers.get("tower-otlp-via").map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_and_what_is_of_no_use_is_not_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let value = |text: &str| header_value(text).unwrap();
        let name = HeaderName::from_static("authorization");
        let options = RequestOptions {
            headers: HeaderMap::from_iter([
                (name.clone(), value("first")),
                (header::USER_AGENT, value("mine")),
                (header::CONTENT_TYPE, value("theirs")),
            ]),
            header_files: vec![(name, file.clone())],
            ..RequestOptions::default()
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

    #[tokio::test]
    async fn a_disk_that_hangs_keeps_one_reader_and_no_request() {
        let name = HeaderName::from_static("authorization");
        let options = RequestOptions {
            headers: HeaderMap::from_iter([(name.clone(), header_value("first").unwrap())]),
            header_files: vec![(name, PathBuf::from("token"))],
            timeout: Duration::from_millis(40),
        };
        let headers = Headers::new(&options, "ours", &[]);
        let (answer, answers) = mpsc::channel();
        let answers = Arc::new(Mutex::new(answers));
        let readers = Arc::new(AtomicUsize::new(0));
        let get = async || {
            lock(&headers.current).due = Instant::now();
            let (answers, readers) = (Arc::clone(&answers), Arc::clone(&readers));
            let read = move |_: &Path| {
                readers.fetch_add(1, Ordering::Relaxed);
                answers.lock().unwrap().recv().ok()
            };
            let map = headers.get_by(read, "a collector").await;
            map[header::AUTHORIZATION].to_str().unwrap().to_owned()
        };
        for _ in 0..20 {
            assert_eq!(get().await, "first", "the last value");
        }
        answer.send(Ok(header_value("second").unwrap())).unwrap();
        drop(headers.files.lock().await);
        assert_eq!(readers.load(Ordering::Relaxed), 1);

        answer.send(Err("gone".to_owned())).unwrap();
        assert_eq!(get().await, "second", "what was read too late");
        drop(headers.files.lock().await);
        assert_eq!(readers.load(Ordering::Relaxed), 2, "and the next is read as ever");
    }
}
