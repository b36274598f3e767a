//! Requests that take back their own span.
//!
//! Who serves a request may find that it is none to be traced: whoever receives spans would make a
//! new one of each request that brings some. It says so while it runs, and the layer around it,
//! which watches it run, forgets the request. Nothing else of the two needs to know of the other,
//! and it holds for a request that is given up, too, as dropping it is also done under watch.

use std::cell::Cell;

/// Says that the request that is being served on this thread is not to be traced. To be called
/// whenever what serves it runs: it may have been handed to another task in between.
#[cfg_attr(
    not(any(feature = "forward", test)),
    expect(dead_code, reason = "only a forwarder serves what is not to be traced")
)]
pub(crate) fn mark() {
    MARKED.set(true);
}

/// Whether that was said, under the innermost watch.
pub(crate) fn is_marked() -> bool {
    MARKED.get()
}

/// A piece of somebody's work on this thread, as long as it is not ended.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Whether whoever is around this one was told already.
    before: bool,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        Self { before: MARKED.replace(false) }
    }

    /// Whether a mark was made meanwhile. It is one for all who watch, also around this one.
    pub(crate) fn end(self) -> bool {
        let found = MARKED.get();
        MARKED.set(found || self.before);
        found
    }
}

thread_local! {
    // Needs no destructor, so it is there to the last.
    static MARKED: Cell<bool> = const { Cell::new(false) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_seen_by_all_who_watch_and_by_none_after_them() {
        let outer = Watch::begin();
        let unmarked = Watch::begin();
        assert!(!unmarked.end(), "nobody has marked anything");
        let inner = Watch::begin();
        mark();
        assert!(inner.end());
        let next = Watch::begin();
        assert!(!next.end(), "that was another request's");
        assert!(outer.end(), "of which one was within");
        let later = Watch::begin();
        assert!(!later.end(), "on the same thread");
    }
}
