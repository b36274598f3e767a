//! Reading the files again.
//!
//! By content, on a thread that may block: the time of a file says little where files are links
//! to links, as Kubernetes mounts them. Either everything new is good and taken, or the last good
//! stays.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::files::Files;
use super::{INTERVAL, Tls, make};
use crate::pipeline;

/// What was seen of the files last.
pub(super) struct Watch {
    /// Those that are in use.
    good: Files,
    /// What was said of others that came after them; empty if there are none.
    told: String,
    /// Keys that were warned of.
    exposed: HashSet<PathBuf>,
    at: Instant,
}

impl Watch {
    /// With files that are in use from now on.
    pub(super) fn new(good: Files) -> Self {
        let mut exposed = HashSet::new();
        warn_of_exposed_keys(&good, &mut exposed);
        Self { good, told: String::new(), exposed, at: Instant::now() }
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
        let _ = timeout(self.patience, look).await;
    }

    fn look(&self, watch: &mut Watch) {
        watch.at = Instant::now();
        let files = Files::read(&self.options);
        if files == watch.good {
            if !std::mem::take(&mut watch.told).is_empty() {
                pipeline::info(format_args!(
                    "the certificates that are in use are those of the files again: {}",
                    files.names(),
                ));
            }
            return;
        }
        let generation = self.generation() + 1;
        match make(&self.options, self.version, &files, generation) {
            Ok(current) => {
                self.current.store(Arc::new(current));
                pipeline::info(format_args!(
                    "new certificates are used from now on: {}",
                    files.changed(&watch.good),
                ));
                warn_of_exposed_keys(&files, &mut watch.exposed);
                watch.told.clear();
                watch.good = files;
            }
            // Tried again each time: it may be for something else than the files.
            Err(problems) => {
                let problems = problems.join("; ");
                if problems != watch.told {
                    pipeline::warn(format_args!(
                        "new certificates cannot be used, and the last good ones still are: \
                         {problems}",
                    ));
                    watch.told = problems;
                }
            }
        }
    }
}

/// Warns of each key once.
fn warn_of_exposed_keys(files: &Files, warned: &mut HashSet<PathBuf>) {
    for path in files.exposed_keys() {
        if warned.insert(path.clone()) {
            pipeline::warn(format_args!(
                "the private key in {} can be read by other users: take the permission from them \
                 (chmod 600)",
                path.display(),
            ));
        }
    }
}
