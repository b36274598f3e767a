//! Sealed chunks that wait for their turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::batch::{Batch, BatchLimits, Chunk, Part};
use super::scope::Scope;

/// Chunks by scope, so that one request has all that waits of a scope and fits, whatever came in
/// between. The scope whose oldest chunk has waited longest is next, and none of its chunks
/// overtakes another. But two requests of others in a row are not made while spans of this program
/// wait: a sender of many requests in scopes without number delays those by one request each. Nor
/// does one whose requests have to be made again and again.
///
/// Whatever is asked of it takes as long for many scopes as for few, or nearly: a program may make
/// up a scope for each span.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What waits of each scope of this program.
    ours: Lanes,
    /// What waits of each scope of others.
    others: Lanes,
    /// Whether the last batch was of others.
    others_went: bool,
    /// The lane of each scope, by its address. It cannot become another's: the lane keeps it.
    by_scope: HashMap<usize, u64>,
    /// Chunks that have come so far: the number of the newest.
    newest: u64,
}

/// By the number of the oldest chunk.
type Lanes = BTreeMap<u64, Lane>;

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
        let lane = self.lanes_of(&scope).entry(lane);
        lane.or_insert_with(|| Lane { scope, parts: VecDeque::new() }).parts.push_back(part);
    }

    /// The number of the chunk that came last.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The number of the chunk that has waited longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        [&self.ours, &self.others].into_iter().filter_map(first).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.others.is_empty()
    }

    /// Takes spans of one scope for a request. `None` when nothing waits.
    pub(super) fn take(&mut self, limits: BatchLimits) -> Option<Batch> {
        let mut lane = self.pop(self.others_went)?;
        self.others_went = lane.scope.is_others();
        let batch = Batch::take(&lane.scope, &mut lane.parts, limits);
        self.put_back(lane);
        batch
    }

    /// What was taken before goes once more.
    pub(super) fn goes_again(&mut self, batch: &Batch) {
        self.others_went = batch.is_others();
    }

    /// Whether the next request is to be of this program, if there is one.
    pub(super) fn is_our_turn(&self) -> bool {
        self.others_went
    }

    /// Whether spans of this program wait.
    pub(super) fn has_ours(&self) -> bool {
        !self.ours.is_empty()
    }

    /// Takes what has waited longest, a chunk or what is left of one.
    pub(super) fn take_oldest(&mut self) -> Option<Part> {
        let mut lane = self.pop(false)?;
        let part = lane.parts.pop_front();
        self.put_back(lane);
        part
    }

    pub(super) fn clear(&mut self) {
        self.ours.clear();
        self.others.clear();
        self.by_scope.clear();
    }

    /// Takes the lane that has waited longest, or such a one of this program if that is to go first.
    fn pop(&mut self, ours_first: bool) -> Option<Lane> {
        let is_ours = match (first(&self.ours), first(&self.others)) {
            (Some(ours), Some(others)) => ours_first || ours < others,
            (ours, _) => ours.is_some(),
        };
        let lanes = if is_ours { &mut self.ours } else { &mut self.others };
        lanes.pop_first().map(|(_, lane)| lane)
    }

    fn put_back(&mut self, lane: Lane) {
        let scope = address(&lane.scope);
        match lane.parts.front() {
            Some(&Part { number, .. }) => {
                self.by_scope.insert(scope, number);
                self.lanes_of(&lane.scope).insert(number, lane);
            }
            None => drop(self.by_scope.remove(&scope)),
        }
    }

    fn lanes_of(&mut self, scope: &Scope) -> &mut Lanes {
        match scope {
            Scope::Ours { .. } => &mut self.ours,
            Scope::Others { .. } => &mut self.others,
        }
    }
}

fn first(lanes: &Lanes) -> Option<u64> {
    lanes.first_key_value().map(|(&number, _)| number)
}

fn address(scope: &Arc<Scope>) -> usize {
    Arc::as_ptr(scope).addr()
}

#[cfg(test)]
mod tests;
