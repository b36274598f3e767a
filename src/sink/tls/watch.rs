//! Reading the files again.
//!
//! By content, on a thread that may block: the time of a file says little where files are links
//! to links, as Kubernetes mounts them. Either everything new is good and taken, or the last good
//! stays.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::files::Files;
use super::{INTERVAL, PATIENCE, Tls, make};
use crate::pipeline;

/// What was seen of the files last.
pub(super) struct Watch {
    seen: Files,
    is_good: bool,
    at: Instant,
}

impl Watch {
    pub(super) fn new(seen: Files) -> Self {
        Self { seen, is_good: true, at: Instant::now() }
    }
}

impl Tls {
    /// Looks at the files if that was not done for some time.
    pub(in crate::sink) async fn refresh_if_due(self: &Arc<Self>) {
        // Whoever holds it is looking.
        let is_due = self.watch.try_lock().is_ok_and(|watch| watch.at.elapsed() >= INTERVAL);
        if is_due {
            self.refresh().await;
        }
    }

    /// Looks at the files, and takes what is new in them.
    pub(super) async fn refresh(self: &Arc<Self>) {
        if self.options.ca_certs.is_empty() && self.options.keypairs.is_empty() {
            return;
        }
        let look = async {
            let mut watch = Arc::clone(&self.watch).lock_owned().await;
            let tls = Arc::clone(self);
            let _ = spawn_blocking(move || tls.look(&mut watch)).await;
        };
        // What is found later is used later.
        let _ = timeout(PATIENCE, look).await;
    }

    fn look(&self, watch: &mut Watch) {
        watch.at = Instant::now();
        let files = Files::read(&self.options);
        if files == watch.seen {
            return;
        }
        let generation = self.generation() + 1;
        match make(&self.options, self.version, &files, generation) {
            Ok(current) => {
                self.current.store(Arc::new(current));
                watch.is_good = true;
                pipeline::info(format_args!(
                    "new certificates are used from now on: {}",
                    files.changed(&watch.seen),
                ));
            }
            Err(problems) => {
                watch.is_good = false;
                pipeline::warn(format_args!(
                    "new certificates cannot be used, and the last good ones still are: {}",
                    problems.join("; "),
                ));
            }
        }
        watch.seen = files;
    }
}
