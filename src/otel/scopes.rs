//! The instrumentation scopes of the SDK's tracers, each encoded once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::{InstrumentationScope, KeyValue};

use crate::pipeline::{Scope, SharedResource};
use crate::record::encode_scope;

/// The scopes of one resource.
///
/// Every thread keeps those that it used last in a [`Recent`], so that a span that ends touches
/// nothing that other threads write to.
#[derive(Debug)]
pub(super) struct Scopes {
    /// Tells these scopes from others in a [`Recent`]. Not an address: that may be used again.
    id: u64,
    resource: SharedResource,
    known: RwLock<HashMap<InstrumentationScope, Arc<Scope>>>,
}

/// The scopes that one thread used last.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<(u64, InstrumentationScope, Arc<Scope>)>);

impl Scopes {
    pub(super) fn new(resource: SharedResource) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), resource, known: RwLock::default() }
    }

    /// Those of another resource with which the same tracing service exports.
    pub(super) fn another(&self, attributes: &mut Vec<KeyValue>, schema_url: &str) -> Self {
        Self::new(self.resource.another(attributes, schema_url))
    }

    pub(super) fn get<'a>(
        &self,
        scope: &InstrumentationScope,
        recent: &'a mut Recent,
    ) -> &'a Arc<Scope> {
        let Recent(recent) = recent;
        let at = recent.iter().position(|(id, known, _)| *id == self.id && known == scope);
        let at = at.unwrap_or_else(|| {
            if recent.len() == MAX_RECENT {
                recent.clear();
            }
            recent.push((self.id, scope.clone(), self.shared(scope)));
            recent.len() - 1
        });
        &recent[at].2
    }

    /// The one that all threads use: spans go out together when their scope is the same `Arc`.
    fn shared(&self, scope: &InstrumentationScope) -> Arc<Scope> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(scope) {
            return Arc::clone(known);
        }
        drop(known);

        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() == MAX_KNOWN {
            // Somebody makes up scopes. Those in use are soon known again.
            known.clear();
        }
        Arc::clone(known.entry(scope.clone()).or_insert_with(|| self.encode(scope)))
    }

    fn encode(&self, scope: &InstrumentationScope) -> Arc<Scope> {
        let attributes: Vec<_> = scope.attributes().cloned().collect();
        let version = scope.version().unwrap_or_default();
        let schema_url = scope.schema_url().unwrap_or_default();
        let encoded = encode_scope(scope.name(), version, &attributes, schema_url);
        Arc::new(Scope::ours(self.resource.clone(), encoded))
    }
}

/// Scopes that a thread remembers. Programs have one for each instrumented library.
const MAX_RECENT: usize = 16;
/// Scopes that all threads remember together.
const MAX_KNOWN: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn whatever_differs_is_another_scope() {
        let scopes = Scopes::new(SharedResource::default());
        let named = |name: &'static str| InstrumentationScope::builder(name);
        let attribute = |value: &'static str| [KeyValue::new("a", value)];
        let table = [
            named("a").build(),
            named("b").build(),
            named("a").with_version("1").build(),
            named("a").with_version("2").build(),
            named("a").with_schema_url("https://example.org/1").build(),
            named("a").with_attributes(attribute("1")).build(),
            named("a").with_attributes(attribute("2")).build(),
        ];

        let mut recent = Recent::default();
        let mut addresses = HashSet::new();
        for scope in &table {
            let first = Arc::clone(scopes.get(scope, &mut recent));
            assert!(Arc::ptr_eq(&first, scopes.get(scope, &mut recent)), "again: {scope:?}");
            let other_thread = &mut Recent::default();
            assert!(Arc::ptr_eq(&first, scopes.get(scope, other_thread)), "elsewhere: {scope:?}");
            assert!(addresses.insert(Arc::as_ptr(&first)), "another one: {scope:?}");
        }
    }

    #[test]
    fn another_resource_makes_another_scope() {
        let scope = InstrumentationScope::builder("a").build();
        let mut recent = Recent::default();
        let resources = ["a", "b"].map(|resource| Scopes::new(SharedResource::new(resource)));
        let found = resources.map(|scopes| scopes.get(&scope, &mut recent).resource());
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn scopes_without_end_take_bounded_memory() {
        let scopes = Scopes::new(SharedResource::default());
        let mut recent = Recent::default();
        for n in 0..3 * MAX_KNOWN {
            let scope = InstrumentationScope::builder(n.to_string()).build();
            scopes.get(&scope, &mut recent);
        }
        assert!(recent.0.len() <= MAX_RECENT);
        assert!(scopes.known.read().unwrap().len() <= MAX_KNOWN);
    }
}
