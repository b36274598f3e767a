//! Rotating files of OTLP/JSON lines, as the OpenTelemetry "OTLP File Exporter" has them.
//!
//! Each line is one `TracesData` object, whole: lines are written with one call, a write that
//! fails half-way is rolled back, and a line that would pass the size limit starts the next file.
//! Files are `<unix-nanos>-<random>.trace` with mode 0600 in a directory of mode 0700, made when
//! the first span comes: a process without spans leaves nothing behind. Old files are not
//! deleted.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::task::spawn_blocking;

use crate::pipeline::{Batch, Failure, Outcome, Sink};
use crate::record::clock::unix_nanos;
use crate::record::json::JsonWriter;

/// Writes batches to files in one directory.
#[derive(Debug)]
pub(crate) struct FileSink {
    // Behind a lock only because the write runs on a thread that may block: there is one at a
    // time.
    writer: Arc<Mutex<Writer>>,
    target: String,
}

#[derive(Debug)]
struct Writer {
    directory: PathBuf,
    limit: u64,
    open: Option<Open>,
    json: JsonWriter,
    lines: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines in the file.
    len: u64,
}

impl FileSink {
    /// `limit` is the size in bytes that a file does not grow beyond, unless one line alone does;
    /// `target` is the URL as the operator wrote it.
    pub(crate) fn new(directory: PathBuf, limit: u64, target: String) -> Self {
        let writer =
            Writer { directory, limit, open: None, json: JsonWriter::default(), lines: Vec::new() };
        Self { writer: Arc::new(Mutex::new(writer)), target }
    }
}

impl Sink for FileSink {
    fn concurrency(&self) -> usize {
        1
    }

    fn export<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        let writer = Arc::clone(&self.writer);
        let requests: Vec<_> = batch.requests().collect();
        Box::pin(async {
            // A disk may hang for minutes; the worker, and the deadlines it keeps, do not.
            let written = spawn_blocking(move || {
                writer.lock().unwrap_or_else(PoisonError::into_inner).write(&requests)
            });
            match written.await {
                Ok(Ok(())) => Outcome::DELIVERED,
                Ok(Err(failure)) => Outcome::Failed(failure),
                Err(error) => Outcome::Failed(Failure(format!("the file writer {error}"))),
            }
        })
    }

    fn target(&self) -> &str {
        &self.target
    }
}

impl Writer {
    /// Writes each request as a line, all or none of them.
    fn write(&mut self, requests: &[Vec<u8>]) -> Result<(), Failure> {
        // A file that someone moved or deleted would take spans that nobody finds.
        if self.open.as_ref().is_some_and(|open| fs::symlink_metadata(&open.path).is_err()) {
            self.open = None;
        }
        // Where each file's share of the batch began: what a failure has to undo.
        let mut begun = Vec::new();
        let written = requests.iter().try_for_each(|request| self.write_line(request, &mut begun));
        if written.is_err() {
            // With the whole batch reported as lost, no part of it may be found later.
            for (path, len) in begun {
                // A file that the batch began goes: tried again each second, a full disk would
                // fill with empty ones.
                let _ = if len == 0 {
                    fs::remove_file(path)
                } else {
                    OpenOptions::new().write(true).open(path).and_then(|f| f.set_len(len))
                };
            }
            // Whatever is wrong with this file, the next batch tries another.
            self.open = None;
        }
        written
    }

    fn write_line(
        &mut self,
        request: &[u8],
        begun: &mut Vec<(PathBuf, u64)>,
    ) -> Result<(), Failure> {
        self.lines.clear();
        self.json
            .write_traces(request, &mut self.lines)
            .map_err(|error| Failure(format!("a span is {error}")))?;
        let line = self.lines.len() as u64;
        if self.open.as_ref().is_some_and(|open| open.len > 0 && open.len + line > self.limit) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(create(&self.directory)?),
        };
        if begun.last().is_none_or(|(path, _)| *path != open.path) {
            begun.push((open.path.clone(), open.len));
        }
        open.file.write_all(&self.lines).map_err(|error| {
            Failure(format!("cannot write to {}: {error}", open.path.display()))
        })?;
        open.len += line;
        Ok(())
    }
}

fn create(directory: &Path) -> Result<Open, Failure> {
    let failure = |path: &Path, error: io::Error| {
        Failure(format!("cannot create {}: {error}", path.display()))
    };
    create_directory(directory).map_err(|error| failure(directory, error))?;
    let nanos = unix_nanos(SystemTime::now());
    let name = format!("{nanos}-{:08x}.trace", random());
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(|error| failure(&path, error))?;
    Ok(Open { file, path, len: 0 })
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Keeps files apart that are made within one reading of the clock, by this process or another.
fn random() -> u32 {
    // Seeded by the operating system for each process, and changed with each call.
    RandomState::new().hash_one(std::process::id()) as u32
}
