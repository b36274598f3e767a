//! Whether the machine let this process run.
//!
//! A client that was not let to run for as long as it waits for an answer gives up an answer that
//! is there. That is its right, and the storm must not count on it.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Whether there was one since then.
pub(super) fn any_since(then: Instant) -> bool {
    let last = watch().lock().unwrap_or_else(PoisonError::into_inner);
    // One that is not over yet is one, too.
    last.hiccup.is_some_and(|when| when >= then) || last.beat.elapsed() > HICCUP
}

struct Last {
    beat: Instant,
    hiccup: Option<Instant>,
}

/// Starts looking, once for the process.
fn watch() -> &'static Mutex<Last> {
    static LAST: OnceLock<Mutex<Last>> = OnceLock::new();
    static BEGUN: OnceLock<()> = OnceLock::new();
    let last = LAST.get_or_init(|| Mutex::new(Last { beat: Instant::now(), hiccup: None }));
    BEGUN.get_or_init(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(BEAT);
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.beat.elapsed() > HICCUP {
                    last.hiccup = Some(Instant::now());
                }
                last.beat = Instant::now();
            }
        });
    });
    last
}

const BEAT: Duration = Duration::from_millis(5);
const HICCUP: Duration = Duration::from_millis(200);
