//! The exports that are under way.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::pipeline::batch::Batch;
use crate::pipeline::outcome::{Outcome, Sink};
use crate::pipeline::retry::Attempts;

/// An attempt to export a batch.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) batch: Batch,
    /// Those before.
    pub(super) attempts: Attempts,
    /// Whether it began while the peer was down, to see if it still is.
    pub(super) probe: bool,
    /// Whether the pipeline was being shut down when it began.
    pub(super) last: bool,
}

#[derive(Default)]
pub(super) struct Exports {
    under_way: FuturesUnordered<LocalBoxFuture<'static, (Export, Outcome)>>,
    /// The oldest chunk of each.
    oldest: Vec<u64>,
    probes: usize,
}

impl Exports {
    pub(super) fn start(&mut self, export: Export, sink: Arc<dyn Sink>) {
        self.oldest.push(export.batch.oldest());
        self.probes += usize::from(export.probe);
        self.under_way.push(Box::pin(async move {
            let outcome = sink.export(&export.batch).await;
            (export, outcome)
        }));
    }

    /// Waits for the next one that ends. `None` at once when none is under way.
    pub(super) async fn next(&mut self) -> Option<(Export, Outcome)> {
        let (export, outcome) = self.under_way.next().await?;
        self.probes -= usize::from(export.probe);
        let oldest = export.batch.oldest();
        if let Some(index) = self.oldest.iter().position(|&it| it == oldest) {
            self.oldest.swap_remove(index);
        }
        Some((export, outcome))
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether one is under way that shows how it is with the peer.
    pub(super) fn is_probing(&self) -> bool {
        self.probes > 0
    }

    /// The oldest chunk that is under way.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.oldest.iter().copied().min()
    }
}
