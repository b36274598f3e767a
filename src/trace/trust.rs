//! Whom a server layer believes.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::head::RequestHead;
use crate::context::Network;
use crate::sampling::{Budget, RemoteParent};

/// What the word of callers counts for, and for how many.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    remote_parent: RemoteParent,
    /// In place of `remote_parent`.
    by: Option<Arc<Judge>>,
    /// Of callers who want to be recorded.
    budget: Option<Arc<Budget>>,
    /// Who are believed when they speak for others.
    proxies: Arc<[Network]>,
}

type Judge = dyn Fn(&RequestHead<'_>) -> RemoteParent + Send + Sync;

impl Trust {
    pub(crate) fn new(
        remote_parent: RemoteParent,
        per_second: Option<NonZeroU32>,
        proxies: &[Network],
    ) -> Self {
        Self { remote_parent, by: None, budget: per_second.map(budget), proxies: proxies.into() }
    }

    /// Also in place of a judge.
    pub(super) fn with_remote_parent(self, remote_parent: RemoteParent) -> Self {
        Self { remote_parent, by: None, ..self }
    }

    pub(super) fn judge_by(
        &mut self,
        judge: impl Fn(&RequestHead<'_>) -> RemoteParent + Send + Sync + 'static,
    ) {
        self.by = Some(Arc::new(judge));
    }

    pub(super) fn limit(&mut self, per_second: NonZeroU32) {
        self.budget = Some(budget(per_second));
    }

    pub(super) fn believe(&mut self, proxies: Arc<[Network]>) {
        self.proxies = proxies;
    }

    pub(super) fn proxies(&self) -> &[Network] {
        &self.proxies
    }

    pub(super) fn in_caller(&self, request: &RequestHead<'_>) -> RemoteParent {
        self.by.as_ref().map_or(self.remote_parent, |judge| judge(request))
    }

    /// Whether one more caller may have a trace recorded. `now` is asked only where that is
    /// limited.
    pub(super) fn allows(&self, now: impl FnOnce() -> u64) -> bool {
        self.budget.as_ref().is_none_or(|budget| budget.take(now()))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("remote_parent", &self.remote_parent)
            .field("budget", &self.budget)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

fn budget(per_second: NonZeroU32) -> Arc<Budget> {
    Arc::new(Budget::per_second(per_second))
}
