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
    /// The same when the batch began that is being written.
    begin: u64,
}

impl FileSink {
    /// `limit` is the size in bytes that a file does not grow beyond, unless one line alone does;
    /// `target` is the URL as the operator wrote it.
    pub(crate) fn new(directory: PathBuf, limit: u64, target: String) -> Self {
        let writer =
            Writer { directory, limit, open: None, json: JsonWriter::default(), lines: Vec::new() };
        Self { writer: Arc::new(Mutex::new(writer)), target }
    }

    /// Makes a file in the directory, and removes it.
    #[cfg(feature = "clap")]
    pub(crate) fn try_out(directory: &Path) -> Result<(), Failure> {
        create(directory)?.undo().map_err(|error| cannot("remove", directory, &error))
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
                Err(error) => {
                    Outcome::Failed(Failure::for_good(format!("the file writer {error}")))
                }
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
        self.open = self.open.take().and_then(Open::still_there);
        let mut full = Vec::new();
        let written = requests.iter().try_for_each(|request| self.write_line(request, &mut full));
        self.lines.shrink_to(LINES_KEPT);
        written.map_err(|failure| {
            // What is written once more later must not be found twice. Whatever is wrong with the
            // file, the next batch tries another.
            let undone = full.into_iter().chain(self.open.take()).map(Open::undo);
            match undone.collect::<io::Result<()>>() {
                Ok(()) => failure,
                Err(error) => Failure {
                    reason: format!("{failure}; some of it may be in a file: {error}"),
                    ..failure
                },
            }
        })
    }

    /// Writes one line. Files that it makes way for are added to `full`.
    fn write_line(&mut self, request: &[u8], full: &mut Vec<Open>) -> Result<(), Failure> {
        self.lines.clear();
        self.json
            .write_traces(request, &mut self.lines)
            .map_err(|error| Failure::for_good(format!("a span is {error}")))?;
        let line = self.lines.len() as u64;
        full.extend(self.open.take_if(|open| open.len > 0 && open.len + line > self.limit));
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(create(&self.directory)?),
        };
        open.file
            .write_all(&self.lines)
            .map_err(|error| cannot("write", &self.directory, &error))?;
        open.len += line;
        Ok(())
    }
}

impl Open {
    /// The file at the begin of a batch, unless someone moved or replaced it: it would take spans
    /// that nobody finds.
    fn still_there(mut self) -> Option<Self> {
        let held = self.file.metadata().ok()?;
        let found = fs::symlink_metadata(&self.path).ok()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if (held.dev(), held.ino()) != (found.dev(), found.ino()) {
                return None;
            }
        }
        #[cfg(not(unix))]
        let _ = found;
        self.len = held.len();
        self.begin = held.len();
        Some(self)
    }

    /// Takes the batch back. A file that it began goes: tried again each second, a full disk would
    /// fill with empty ones.
    fn undo(self) -> io::Result<()> {
        if self.begin == 0 { fs::remove_file(&self.path) } else { self.file.set_len(self.begin) }
    }
}

fn create(directory: &Path) -> Result<Open, Failure> {
    let failure = |error| cannot("create", directory, &error);
    create_directory(directory).map_err(failure)?;
    let nanos = unix_nanos(SystemTime::now());
    let path = directory.join(format!("{nanos}-{:08x}.trace", random()));
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(failure)?;
    Ok(Open { file, path, len: 0, begin: 0 })
}

/// Names the directory and not the file, whose name is new each time: the same trouble is to read
/// the same, so that it is said once. A full disk may be emptied, and what is forbidden allowed.
fn cannot(act: &str, directory: &Path, error: &io::Error) -> Failure {
    Failure::for_now(format!("cannot {act} a file in {}: {error}", directory.display()))
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Bytes of the buffer for lines that are kept from one batch to the next.
const LINES_KEPT: usize = 1 << 20;

/// Keeps files apart that are made within one reading of the clock, by this process or another.
fn random() -> u32 {
    // Seeded by the operating system for each process, and changed with each call.
    RandomState::new().hash_one(std::process::id()) as u32
}
