//! Ctrl-C, on a thread of its own: it needs nothing of the command's runtime, if there is one.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::process;
use std::sync::mpsc;
use std::thread;

use futures_util::FutureExt;
use tokio::runtime;
use tokio::signal::ctrl_c;
use tokio::sync::oneshot;

use super::exit::INTERRUPTED;

/// From now on `first` is called at Ctrl-C, on a thread of its own. What it is told by then is over:
/// `false` says that there was nothing left to do. Then, and when Ctrl-C comes again, whatever
/// `first` is busy with, the process ends, as it would have without us.
///
/// # Errors
///
/// When the operating system refuses a thread or an event queue.
pub(super) fn watch(first: impl FnOnce() -> bool + Send + 'static) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    let body = move || {
        let runtime = match runtime::Builder::new_current_thread().enable_io().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        runtime.block_on(async {
            let interrupt = match listen() {
                Ok(interrupt) => interrupt,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(()));
            if interrupt.await.is_ok() {
                end_by(first).await;
            }
            process::exit(INTERRUPTED);
        });
    };
    thread::Builder::new().name("tower-otlp-ctrl-c".into()).spawn(body)?;
    told.recv().unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

/// Returns when the process is to end.
async fn end_by(first: impl FnOnce() -> bool + Send + 'static) {
    // Before `first` is called: it may never return.
    let Ok(mut again) = listen() else { return };
    let (tell, told) = oneshot::channel();
    let body = move || {
        let _ = tell.send(first());
    };
    // Without a thread nobody tells anything, and the process ends.
    let _ = thread::Builder::new().name("tower-otlp-end".into()).spawn(body);
    let goes_on = tokio::select! {
        told = told => told.unwrap_or(false),
        _ = &mut again => false,
    };
    if goes_on {
        let _ = again.await;
    }
}

type Interrupt = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// The next Ctrl-C from now on.
fn listen() -> io::Result<Interrupt> {
    let mut interrupt = Box::pin(ctrl_c());
    // The first look begins to listen.
    match interrupt.as_mut().now_or_never() {
        None => Ok(interrupt),
        Some(Ok(())) => Ok(Box::pin(ready(Ok(())))),
        Some(Err(error)) => Err(error),
    }
}
