//! Ctrl-C, on a thread of its own: it needs nothing of the command's runtime, if there is one.

use std::io;
use std::pin::pin;
use std::process;
use std::sync::mpsc;
use std::thread;

use futures_util::FutureExt;
use tokio::runtime;
use tokio::signal::ctrl_c;

use super::exit::INTERRUPTED;

/// From now on `first` is called at Ctrl-C. What it is told by then is over: `false` says that
/// there was nothing left to do. Then, and when Ctrl-C comes again, the process ends, as it would
/// have without us.
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
            let mut interrupt = pin!(ctrl_c());
            // The first look begins to listen.
            let listening = match interrupt.as_mut().now_or_never() {
                Some(Err(error)) => Err(error),
                Some(Ok(())) | None => Ok(()),
            };
            let is_listening = listening.is_ok();
            let _ = tell.send(listening);
            if is_listening && interrupt.await.is_ok() && first() {
                let _ = ctrl_c().await;
            }
            if is_listening {
                process::exit(INTERRUPTED);
            }
        });
    };
    thread::Builder::new().name("tower-otlp-ctrl-c".into()).spawn(body)?;
    told.recv().unwrap_or_else(|gone| Err(io::Error::other(gone)))
}
