//! Sealed chunks that wait for their turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::batch::{Batch, BatchLimits, Chunk, Part};
use super::scope::Scope;

/// Chunks by scope, so that one request has all that waits of a scope and fits, whatever came in
/// between. The scope whose oldest chunk has waited longest is next, and none of its chunks
/// overtakes another.
///
/// Whatever is asked of it takes as long for many scopes as for few, or nearly: a program may make
/// up a scope for each span.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What waits of each scope, by the number of the oldest chunk.
    lanes: BTreeMap<u64, Lane>,
    /// The lane of each scope, by its address. It cannot become another's: the lane keeps it.
    by_scope: HashMap<usize, u64>,
    /// Chunks that have come so far: the number of the newest.
    newest: u64,
}

/// What waits of one scope, the oldest first.
#[derive(Debug)]
struct Lane {
    scope: Arc<Scope>,
    parts: VecDeque<Part>,
}

impl Queue {
    pub(super) fn push(&mut self, Chunk { scope, bytes, claim }: Chunk) {
        self.newest += 1;
        let part = Part { number: self.newest, bytes: bytes.into(), claim };
        let lane = *self.by_scope.entry(address(&scope)).or_insert(self.newest);
        let lane = self.lanes.entry(lane);
        lane.or_insert_with(|| Lane { scope, parts: VecDeque::new() }).parts.push_back(part);
    }

    /// The number of the chunk that came last.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The number of the chunk that has waited longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lanes.first_key_value().map(|(&number, _)| number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Takes spans of one scope for a request. `None` when nothing waits.
    pub(super) fn take(&mut self, limits: BatchLimits) -> Option<Batch> {
        let (_, mut lane) = self.lanes.pop_first()?;
        let batch = Batch::take(&lane.scope, &mut lane.parts, limits);
        self.put_back(lane);
        batch
    }

    /// Takes what has waited longest, a chunk or what is left of one.
    pub(super) fn take_oldest(&mut self) -> Option<Part> {
        let (_, mut lane) = self.lanes.pop_first()?;
        let part = lane.parts.pop_front();
        self.put_back(lane);
        part
    }

    pub(super) fn clear(&mut self) {
        self.lanes.clear();
        self.by_scope.clear();
    }

    fn put_back(&mut self, lane: Lane) {
        let scope = address(&lane.scope);
        match lane.parts.front() {
            Some(&Part { number, .. }) => {
                self.by_scope.insert(scope, number);
                self.lanes.insert(number, lane);
            }
            None => drop(self.by_scope.remove(&scope)),
        }
    }
}

fn address(scope: &Arc<Scope>) -> usize {
    Arc::as_ptr(scope).addr()
}

#[cfg(test)]
mod tests;
