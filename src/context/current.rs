//! The thread's current OpenTelemetry `Context`, where there may be none.
//!
//! OpenTelemetry keeps it in a thread-local, and panics if it is asked for after that was
//! destroyed: in the destructor of another thread-local, where a panic aborts the process. What
//! we do for log lines, and for futures and bodies that are dropped, may be done there.

use std::cell::Cell;
use std::panic::catch_unwind;

use opentelemetry::Context;

/// Whether the thread has a current context. `false` only while the thread is torn down.
pub(crate) fn is_reachable() -> bool {
    match STATE.get() {
        State::Unknown => try_reach(),
        State::There => true,
        State::Gone => false,
    }
}

/// Whether nothing is to be recorded, nor handed on.
pub(crate) fn is_suppressed() -> bool {
    !is_reachable() || Context::is_current_telemetry_suppressed()
}

#[derive(Clone, Copy)]
enum State {
    Unknown,
    There,
    Gone,
}

thread_local! {
    // Needs no destructor, so it is there to the last.
    static STATE: Cell<State> = const { Cell::new(State::Unknown) };
    static SENTINEL: Sentinel = const { Sentinel };
}

/// Thread-locals are destroyed in the opposite order to that in which they were first used, so what
/// is used after OpenTelemetry's is destroyed before it.
struct Sentinel;

impl Drop for Sentinel {
    fn drop(&mut self) {
        STATE.set(State::Gone);
    }
}

/// The API has no other way to ask. It panics only in a thread that had a context, never came here,
/// and does so at its end: then the panic hook is run, once.
#[cold]
fn try_reach() -> bool {
    let is_there =
        catch_unwind(|| Context::map_current(|_| ())).is_ok() && SENTINEL.try_with(|_| ()).is_ok();
    STATE.set(if is_there { State::There } else { State::Gone });
    is_there
}
