//! What waits to go out, and what of it goes next.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::exports::Export;
use crate::pipeline::batch::{Batch, BatchLimits, Chunk};
use crate::pipeline::ledger::Claim;
use crate::pipeline::options::{PipelineOptions, RetryPolicy};
use crate::pipeline::queue::Queue;
use crate::pipeline::retry::{Attempts, Peer};

/// Chunks that wait for their first attempt, and batches that wait for another one.
///
/// Chunks stay apart until there is a request for them, so that those which come while the peer
/// is down go out together. A batch that has been tried stays what it is: the peer may have had
/// part of it.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Queue,
    /// In the order in which they failed.
    retries: VecDeque<Retry>,
    peer: Peer,
    policy: RetryPolicy,
    /// Bytes become less when the peer finds them too many.
    limits: BatchLimits,
    /// There is no later any more.
    closing: bool,
    chance: SmallRng,
}

/// A batch that waits for another attempt.
#[derive(Debug)]
struct Retry {
    batch: Batch,
    attempts: Attempts,
    due: Instant,
}

/// What became of a batch that could not be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    GivenUp,
    ShutDown,
}

impl Outbox {
    pub(super) fn new(options: &PipelineOptions) -> Self {
        Self {
            queue: Queue::default(),
            retries: VecDeque::new(),
            peer: Peer::Up,
            policy: options.retry,
            limits: options.batch,
            closing: false,
            // Seeded by the operating system, as its keys are.
            chance: SmallRng::seed_from_u64(RandomState::new().build_hasher().finish()),
        }
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        self.queue.push(chunk);
    }

    /// What may go out now. `probing` tells whether a probe is under way.
    pub(super) fn next(&mut self, now: Instant, probing: bool) -> Option<Export> {
        let (batch, attempts) = if self.is_free() {
            self.take_due(now).or_else(|| self.take_new(now))
        } else if probing {
            None
        } else {
            self.take_probe(now)
        }?;
        Some(Export { batch, attempts, probe: !self.peer.is_up(), last: self.closing })
    }

    /// From when on there is something for [`next`](Self::next), if nothing else happens.
    pub(super) fn next_at(&self, probing: bool) -> Option<Instant> {
        if self.is_free() {
            return self.retries.iter().map(|retry| retry.due).min();
        }
        let Peer::Down { until, .. } = self.peer else { return None };
        let waits = !(self.queue.is_empty() && self.retries.is_empty());
        let ends = self.retries.iter().map(|retry| self.policy.end(retry.attempts));
        (!probing && waits).then(|| ends.fold(until, Instant::min))
    }

    /// The peer has answered an export, with whatever.
    pub(super) fn answered(&mut self, probe: bool) {
        self.peer.answers(probe);
    }

    pub(super) fn peer_is_up(&self) -> bool {
        self.peer.is_up()
    }

    /// Takes back what could not be exported, for a reason that may pass.
    pub(super) fn try_again(
        &mut self,
        export: Export,
        asked: Option<Duration>,
        now: Instant,
    ) -> Fate {
        let Export { batch, attempts, probe, last } = export;
        let chance = self.chance.random();
        self.peer.fails(probe, &self.policy, asked, now, chance);
        if last {
            // Counted by its claims, as all that is left at the end.
            drop(batch);
            return Fate::ShutDown;
        }
        let end = self.policy.end(attempts);
        if now >= end {
            batch.into_claims().for_each(Claim::exhaust);
            return Fate::GivenUp;
        }
        let attempts = Attempts { failed: attempts.failed.saturating_add(1), ..attempts };
        let pause = self.policy.pause(attempts.failed, asked, chance);
        let due = if self.closing { now } else { end.min(now + pause) };
        self.retries.push_back(Retry { batch, attempts, due });
        Fate::Kept
    }

    /// Takes back, in halves, what was too large for the peer. They go out at once. What is cut
    /// from now on is smaller: the peer is told no, and not each time.
    ///
    /// # Errors
    ///
    /// When it is a single span, which is given back.
    pub(super) fn split(&mut self, export: Export) -> Result<(), Batch> {
        let Export { batch, attempts, .. } = export;
        let half = batch.len() / 2;
        let [first, second] = batch.split()?;
        self.limits.bytes = self.limits.bytes.min(half.max(SMALLEST_LIMIT));
        for batch in [second, first] {
            // Before all that is due, so that few are split at a time.
            self.retries.push_front(Retry { batch, attempts, due: attempts.first });
        }
        Ok(())
    }

    /// Everything is due now, and so is a probe.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.retries.iter_mut().for_each(|retry| retry.due = retry.due.min(now));
        if let Peer::Down { until, .. } = &mut self.peer {
            *until = now.min(*until);
        }
    }

    /// From now on each batch has one attempt, whatever the peer does.
    pub(super) fn close(&mut self, now: Instant) {
        self.closing = true;
        self.hurry(now);
    }

    /// Drops what has waited longest, at least so many bytes of spans, or what there is.
    pub(super) fn evict(&mut self, bytes: usize) {
        let mut freed = 0;
        while freed < bytes {
            let claims = self.take_oldest();
            if claims.is_empty() {
                return;
            }
            for claim in claims {
                freed += claim.bytes();
                claim.evict();
            }
        }
    }

    /// The number of the chunk that came last.
    pub(super) fn newest(&self) -> u64 {
        self.queue.newest()
    }

    /// The oldest chunk that waits, or part of which does.
    pub(super) fn oldest(&self) -> Option<u64> {
        let retries = self.retries.iter().map(|retry| retry.batch.oldest());
        retries.chain(self.queue.oldest()).min()
    }

    /// Drops all, whose claims count it.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.retries.clear();
    }

    /// Whether all that is due may go out.
    fn is_free(&self) -> bool {
        self.closing || self.peer.is_up()
    }

    fn take_new(&mut self, now: Instant) -> Option<(Batch, Attempts)> {
        Some((self.queue.take(self.limits)?, Attempts { failed: 0, first: now }))
    }

    /// The batch that has been due for longest, or, when it is our turn, such a one of ours.
    fn take_due(&mut self, now: Instant) -> Option<(Batch, Attempts)> {
        let retries = self.retries.iter().enumerate().filter(|(_, it)| it.due <= now);
        let is_our_turn = self.queue.is_our_turn();
        let (index, _) =
            retries.min_by_key(|(_, it)| (is_our_turn && it.batch.is_others(), it.due))?;
        self.take_again(index)
    }

    /// A batch whose last attempt is due, or when it is time to see how the peer is, one by turns:
    /// of those that have failed the one that did so first, or one of those that have not been
    /// tried. None that the peer never answers keeps the others waiting.
    fn take_probe(&mut self, now: Instant) -> Option<(Batch, Attempts)> {
        let Peer::Down { failed, until } = self.peer else { return None };
        let ended = self.retries.iter().position(|it| self.policy.end(it.attempts) <= now);
        if now < until {
            self.go_again(ended?)
        } else if let Some(index) = ended {
            self.take_again(index).or_else(|| self.take_new(now))
        } else if failed % 2 == 1 {
            self.take_new(now).or_else(|| self.take_again(0))
        } else {
            self.take_again(0).or_else(|| self.take_new(now))
        }
    }

    fn take_oldest(&mut self) -> Vec<Claim> {
        let numbers = self.retries.iter().map(|retry| retry.batch.oldest()).enumerate();
        match numbers.min_by_key(|&(_, number)| number) {
            Some((index, number)) if self.queue.oldest().is_none_or(|it| number <= it) => {
                let retry = self.take_retry(index);
                retry.into_iter().flat_map(|(batch, _)| batch.into_claims()).collect()
            }
            _ => self.queue.take_oldest().map(|part| part.claim).into_iter().collect(),
        }
    }

    /// A batch for another attempt. None of others in place of our own spans that have not been
    /// tried, when it is their turn: as long as the peer answers for ours, it does not matter what
    /// it makes of those of others.
    fn take_again(&mut self, index: usize) -> Option<(Batch, Attempts)> {
        let batch = &self.retries.get(index)?.batch;
        if batch.is_others() && self.queue.is_our_turn() && self.queue.has_ours() {
            return None;
        }
        self.go_again(index)
    }

    fn go_again(&mut self, index: usize) -> Option<(Batch, Attempts)> {
        let (batch, attempts) = self.take_retry(index)?;
        self.queue.goes_again(&batch);
        Some((batch, attempts))
    }

    fn take_retry(&mut self, index: usize) -> Option<(Batch, Attempts)> {
        self.retries.remove(index).map(|retry| (retry.batch, retry.attempts))
    }
}

/// However small a peer wants its requests, they are made no smaller ahead of time: one that
/// refuses all, whatever their size, is not to be sent each span alone.
const SMALLEST_LIMIT: usize = 64 << 10;
