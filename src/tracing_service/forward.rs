//! What a tracing service gives to those who take others' spans.

use std::sync::Arc;

use http::request::Parts;

use super::TracingService;
use crate::forward::{Identity, Instance, SpanForwarder};

impl TracingService {
    /// A receiver of other programs' spans, which are exported with those of this one.
    ///
    /// `identity` says who sends a request, or that nobody may: it is asked for each one, before
    /// anything of its body is read. To take spans of everybody takes the words
    /// [`SpanForwarder::allow_anonymous`].
    ///
    /// With tracing disabled, senders are told so, and stop. It goes on to refuse requests after
    /// the shutdown. See the [module documentation](crate::forward) for examples.
    pub fn forwarder(
        &self,
        identity: impl Fn(&Parts) -> Identity + Send + Sync + 'static,
    ) -> SpanForwarder {
        let instance = self.instance.get_or_init(|| {
            let instance = Instance::new();
            self.resource.shared().set_via(instance.via());
            instance
        });
        let intake = self.pipeline.is_some().then(|| Arc::clone(&self.intake));
        SpanForwarder::new(intake, instance.clone(), Arc::new(identity))
    }
}
