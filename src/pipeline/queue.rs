//! Sealed chunks that wait for their turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::batch::{Batch, BatchLimits, Chunk, Scope};

/// Chunks by scope, so that one request has all that waits of a scope and fits, whatever came in
/// between. The scope whose oldest chunk has waited longest is next, and none of its chunks
/// overtakes another.
///
/// Whatever is asked of it takes as long for many scopes as for few, or nearly: a program may make
/// up a scope for each span.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The chunks of each scope with their numbers, by that of the oldest.
    lanes: BTreeMap<u64, VecDeque<(u64, Chunk)>>,
    /// The lane of each scope, by its address. It cannot become another's: the chunks keep it.
    by_scope: HashMap<usize, u64>,
    /// Chunks that have come so far: the number of the newest.
    newest: u64,
}

impl Queue {
    pub(super) fn push(&mut self, chunk: Chunk) {
        self.newest += 1;
        let lane = *self.by_scope.entry(address(&chunk.scope)).or_insert(self.newest);
        self.lanes.entry(lane).or_default().push_back((self.newest, chunk));
    }

    /// The number of the chunk that came last.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// How many are left of the chunks up to this number.
    pub(super) fn left_of(&self, number: u64) -> u64 {
        let lanes = self.lanes.range(..=number).map(|(_, lane)| lane);
        lanes.map(|lane| lane.partition_point(|&(it, _)| it <= number) as u64).sum()
    }

    /// Takes chunks of one scope for a request, at least one, and tells their numbers, the smallest
    /// first. `None` when nothing waits.
    pub(super) fn take(&mut self, limits: BatchLimits) -> Option<(Batch, Vec<u64>)> {
        let (_, mut lane) = self.lanes.pop_first()?;
        let scope = address(&lane.front()?.1.scope);
        let taken = Batch::take(&mut lane, limits);
        match lane.front() {
            Some(&(oldest, _)) => {
                self.by_scope.insert(scope, oldest);
                self.lanes.insert(oldest, lane);
            }
            None => drop(self.by_scope.remove(&scope)),
        }
        taken
    }

    pub(super) fn clear(&mut self) {
        self.lanes.clear();
        self.by_scope.clear();
    }
}

fn address(scope: &Arc<Scope>) -> usize {
    Arc::as_ptr(scope).addr()
}

#[cfg(test)]
mod tests;
